"""The networks of the families, out of their weights."""
import math

import numpy
from onnx import TensorProto

from muster_onnx.graph import ELEMENTS
from muster_onnx.weights import WeightsError

NORM_EPSILON = 1e-5


def all_taken(weights, names):
    """A tensor that no part of the network reads says that this is another network."""
    left = weights.tensors.keys() - names
    if left:
        raise WeightsError(f"the family {weights.metadata['family']} has no tensor {sorted(left)[0]}")


def build_mlp(graph, weights, x, columns):
    """(outputs, their number) of rows [rows, columns]. Linear layers with relu between."""
    layers = len(weights.tensors) // 2
    all_taken(weights, {f"{kind}_{layer}" for kind in ("weight", "bias") for layer in range(layers)})
    for layer in range(layers):
        weight = weights.take(f"weight_{layer}", None, columns)
        columns = weight.shape[0]
        bias = weights.take(f"bias_{layer}", columns)
        x = graph.add("Gemm", x, graph.weight(f"weight_{layer}", weight), graph.weight(f"bias_{layer}", bias), transB=1)
        if layer + 1 < layers:
            x = graph.add("Relu", x)
    return x, columns


class Transformer:
    """A decoder that predicts the next token: what src/worker/family_transformer.cpp trains."""

    def __init__(self, graph, weights):
        self.graph, self.weights = graph, weights
        self.width = weights.take("layers.0.token", None, None).shape[1]
        self.element = ELEMENTS[weights.type]
        self.taken = set()

    def build(self, tokens, vocabulary, sequence):
        """Scores [rows, tokens, vocabulary] of the next tokens."""
        positions = self._positions(tokens)
        x = self.graph.add("Gather", self._weight("layers.0.token", vocabulary, self.width), tokens)
        turns, future = self._turns(positions, sequence), self._future(positions)
        last = max(self._place(name) for name in self.weights.tensors)
        for block in range(1, last):
            x = self._decoder(x, f"layers.{block}.", turns, future)
        head = f"layers.{last}."
        x = self._linear(self._norm(x, head + "norm"), head, vocabulary, self.width)
        all_taken(self.weights, self.taken)
        return x

    @staticmethod
    def _place(name):
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "layers" or not parts[1].isascii() or not parts[1].isdigit():
            raise WeightsError(f"the family transformer has no tensor {name}")
        return int(parts[1])

    def _weight(self, name, *shape):
        self.taken.add(name)
        return self.graph.weight(name, self.weights.take(name, *shape))

    def _scalar(self, value):
        return self.graph.constant(value, self.weights.type)

    def _positions(self, tokens):
        """0, 1, ... for each token of a row."""
        count = self.graph.add("Gather", self.graph.add("Shape", tokens), self.graph.constant(1))
        return self.graph.add("Range", self.graph.constant(0), count, self.graph.constant(1))

    def _future(self, positions):
        """[tokens, tokens]: whether the column comes after the row and must not be seen from there."""
        rows = self.graph.add("Unsqueeze", positions, self.graph.constant([1]))
        columns = self.graph.add("Unsqueeze", positions, self.graph.constant([0]))
        return self.graph.add("Greater", columns, rows)

    def _norm(self, x, name):
        return self.graph.add("LayerNormalization", x, self._weight(name + "_weight", self.width),
                              self._weight(name + "_bias", self.width), axis=-1, epsilon=NORM_EPSILON)

    def _linear(self, x, prefix, outputs, inputs):
        return self.graph.linear(x, self._weight(prefix + "weight", outputs, inputs), self._weight(prefix + "bias", outputs))

    def _decoder(self, x, prefix, turns, future):
        add = self.graph.add
        x = add("Add", x, self._attention(self._norm(x, prefix + "norm_1"), prefix, turns, future))
        h = self._linear(self._norm(x, prefix + "norm_2"), prefix + "up_", 4 * self.width, self.width)
        return add("Add", x, self._linear(self._gelu(h), prefix + "down_", self.width, 4 * self.width))

    def _turns(self, positions, sequence):
        """Cosine and sine [tokens, width of a head / 2] of the angles of each place: each pair of numbers has its speed."""
        tables = {}

        def of(width):
            if width not in tables:
                speed = numpy.exp(numpy.arange(width // 2, dtype=self.weights.type) * (-math.log(10000.0) / (width // 2)))
                angle = numpy.arange(sequence, dtype=self.weights.type)[:, None] * speed
                tables[width] = [self.graph.add("Gather", self.graph.constant(table, self.weights.type), positions)
                                 for table in (numpy.cos(angle), numpy.sin(angle))]
            return tables[width]
        return of

    def _turned(self, x, width, cosine, sine):
        """Queries or keys [rows, heads, tokens, width], pairs of numbers turned by their angles."""
        add, constant = self.graph.add, self.graph.constant
        pairs = add("Reshape", x, constant([0, 0, 0, width // 2, 2]))
        first, second = (add("Gather", pairs, constant(i), axis=4) for i in range(2))
        turned = (add("Sub", add("Mul", first, cosine), add("Mul", second, sine)),
                  add("Add", add("Mul", first, sine), add("Mul", second, cosine)))
        turned = add("Concat", *(add("Unsqueeze", each, constant([4])) for each in turned), axis=4)
        return add("Reshape", turned, constant([0, 0, 0, width]))

    def _attention(self, x, prefix, turns, future):
        add, constant = self.graph.add, self.graph.constant
        heads = self.weights.settings.get(prefix + "heads")
        if not isinstance(heads, int) or heads < 1 or self.width % (2 * heads) != 0:
            raise WeightsError(f"settings: {prefix}heads is {heads!r}, twice which does not divide the width {self.width}")
        h = self._linear(x, prefix + "attention_", 3 * self.width, self.width)
        h = add("Reshape", h, constant([0, 0, 3, heads, self.width // heads]))  # 0: as it was
        h = add("Transpose", h, perm=[2, 0, 3, 1, 4])
        queries, keys, values = (add("Gather", h, constant(i), axis=0) for i in range(3))
        queries, keys = (self._turned(each, self.width // heads, *turns(self.width // heads)) for each in (queries, keys))
        scores = add("MatMul", queries, add("Transpose", keys, perm=[0, 1, 3, 2]))
        scores = add("Mul", scores, self._scalar(1 / math.sqrt(self.width // heads)))
        shares = add("Softmax", add("Where", future, self._scalar(-math.inf), scores), axis=-1)
        h = add("Transpose", add("MatMul", shares, values), perm=[0, 2, 1, 3])
        h = add("Reshape", h, constant([0, 0, self.width]))
        return self._linear(h, prefix + "out_", self.width, self.width)

    def _gelu(self, x):
        """x times the normal distribution's probability of less than x. onnxruntime knows erf in float32 only."""
        add, cast = self.graph.add, self.graph.cast
        erf = add("Mul", x, self._scalar(math.sqrt(0.5)))
        erf = cast(add("Erf", cast(erf, TensorProto.FLOAT)), self.element)
        return add("Mul", add("Mul", x, self._scalar(0.5)), add("Add", erf, self._scalar(1.0)))


def as_network_type(graph, weights, x):
    """Encoded rows are float32, weights may be wider."""
    return graph.cast(x, TensorProto.DOUBLE) if weights.type == numpy.float64 else x
