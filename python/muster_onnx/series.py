"""The family gru: networks that read windows of consecutive rows."""
import numpy

from muster_onnx.networks import all_taken
from muster_onnx.weights import WeightsError

GATES = 3


def as_windows(graph, rows, length):
    """[windows, length, columns] of encoded rows [rows, columns]: one for each row that ends one."""
    count = graph.add("Gather", graph.add("Shape", rows), graph.constant(0))
    count = graph.add("Sub", count, graph.constant(length - 1))
    firsts = graph.add("Range", graph.constant(0), count, graph.constant(1))
    offsets = graph.constant([list(range(length))])
    return graph.add("Gather", rows, graph.add("Add", graph.add("Unsqueeze", firsts, graph.constant([1])), offsets), axis=0)


def gates_of_onnx(array):
    """PyTorch keeps the gates as reset, update, new; ONNX as update, reset, new."""
    reset, update, new = numpy.split(array, GATES)
    return numpy.concatenate([update, reset, new])


class Gru:
    """Gated recurrent units and a linear layer: what src/worker/family_gru.cpp trains."""

    def __init__(self, graph, weights):
        self.graph, self.weights = graph, weights
        self.layers, self.width = weights.settings.get("layers"), weights.settings.get("width")
        if not all(isinstance(each, int) and each > 0 for each in (self.layers, self.width)):
            raise WeightsError(f"settings: {self.layers!r} layers of {self.width!r} units are no network")
        self.taken = set()

    def build(self, windows, columns):
        """(outputs [windows, outputs], their number)."""
        add, constant = self.graph.add, self.graph.constant
        newest = add("Gather", windows, constant(-1), axis=1)
        x = add("Transpose", windows, perm=[1, 0, 2])  # oldest row first
        for layer in range(self.layers):
            states = self._layer(x, layer, columns if layer == 0 else self.width)
            x = add("Squeeze", states, constant([1]))  # of one direction
        last = add("Gather", x, constant(-1), axis=0)
        head = self._take("head_weight", None, self.width)
        outputs = head.shape[0]
        answer = self.graph.linear(last, self.graph.weight("head_weight", head),
                                   self.graph.weight("head_bias", self._take("head_bias", outputs)))
        past = self.graph.weight("newest_weight", self._take("newest_weight", outputs, columns))
        answer = add("Add", answer, add("MatMul", newest, add("Transpose", past, perm=[1, 0])))
        all_taken(self.weights, self.taken)
        return answer, outputs

    def _take(self, name, *shape):
        self.taken.add(name)
        return self.weights.take(name, *shape)

    def _layer(self, x, layer, inputs):
        """States [rows, 1, windows, width]."""
        size = GATES * self.width
        own, back = (gates_of_onnx(self._take(f"weight_{kind}_l{layer}", size, count))
                     for kind, count in (("ih", inputs), ("hh", self.width)))
        biases = [gates_of_onnx(self._take(f"bias_{kind}_l{layer}", size)) for kind in ("ih", "hh")]
        names = [self.graph.weight(f"{name}_l{layer}", array[numpy.newaxis])
                 for name, array in (("weight_ih", own), ("weight_hh", back), ("bias", numpy.concatenate(biases)))]
        return self.graph.add("GRU", x, *names, hidden_size=self.width, linear_before_reset=1)
