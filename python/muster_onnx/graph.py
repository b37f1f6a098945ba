"""A graph of ONNX under construction: nodes are added one by one, each gives the name of its value."""
import numpy
from onnx import TensorProto, helper, numpy_helper

ELEMENTS = {numpy.dtype("<f8"): TensorProto.DOUBLE, numpy.dtype("<f4"): TensorProto.FLOAT}


class Graph:
    """Collects the parts of an onnx.GraphProto. Names of values are unique."""

    def __init__(self):
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self._count = 0

    def input(self, name, element, shape):
        """Shapes may have names for sizes that are free."""
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        return name

    def output(self, value, name, element, shape):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, element, shape))

    def weight(self, name, array):
        """A trained tensor under its own name."""
        self.initializers.append(numpy_helper.from_array(numpy.asarray(array, order="C"), name))
        return name

    def constant(self, values, dtype=numpy.int64):
        return self.weight(self._name("constant"), numpy.array(values, dtype=dtype))

    def add(self, kind, *inputs, domain="", **attributes):
        """Adds a node with one output."""
        name = self._name(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def cast(self, value, element):
        return self.add("Cast", value, to=element)

    def linear(self, x, weight, bias):
        """x [..., inputs] times weight [outputs, inputs], as the weights are kept, plus bias."""
        return self.add("Add", self.add("MatMul", x, self.add("Transpose", weight, perm=[1, 0])), bias)

    def _name(self, kind):
        self._count += 1
        return f"muster_{kind}_{self._count}"  # no weight is called so
