"""From weights to a model of ONNX."""
import json

import onnx
from onnx import TensorProto, helper

from muster_onnx.graph import Graph
from muster_onnx.networks import Transformer, as_network_type, build_mlp
from muster_onnx.series import Gru, as_windows
from muster_onnx.tables import Table, are_texts
from muster_onnx.weights import WeightsError, is_whole

# The oldest ones that have what is used, so that many runtimes can run it.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
FILE_BYTES_MAX = 2_000_000_000  # protobuf ends at 2 GiB
TABLE_TASKS = ("regression", "binary", "multiclass")


def build_table(graph, weights):
    """Gives the facts for the metadata."""
    task = weights.metadata["task"]
    if task not in TABLE_TASKS:
        raise WeightsError(f"a table has no task {task}")
    table = Table(weights.preprocessing)
    row, columns = table.encode(graph)
    row = as_network_type(graph, weights, row)
    forecast = weights.metadata["family"] == "gru"
    if forecast:
        outputs, count = Gru(graph, weights).build(as_windows(graph, row, table.windows["length"]), columns)
    else:
        outputs, count = build_mlp(graph, weights, row, columns)
    answer = table.finish(graph, graph.cast(outputs, TensorProto.DOUBLE), count, task)
    graph.output(answer, "outputs", TensorProto.DOUBLE, ["windows" if forecast else "rows", count])
    return table.facts()


def build_text(graph, weights):
    """The same of a language model."""
    text = weights.preprocessing.get("text")
    if weights.metadata["task"] != "language" or not isinstance(text, dict):
        raise WeightsError("the family transformer reads text")
    vocabulary, sequence, unit = text.get("vocabulary"), text.get("sequence"), text.get("unit")
    if not are_texts(vocabulary) or not is_whole(sequence) or not isinstance(unit, str):
        raise WeightsError("preprocessing: the text is malformed")
    tokens = graph.input("tokens", TensorProto.INT64, ["rows", "tokens"])
    scores = Transformer(graph, weights).build(tokens, len(vocabulary), sequence)
    answer = graph.add("LogSoftmax", graph.cast(scores, TensorProto.DOUBLE), axis=2)
    graph.output(answer, "outputs", TensorProto.DOUBLE, ["rows", "tokens", len(vocabulary)])
    return {"unit": unit, "sequence": sequence, "vocabulary": vocabulary}


FAMILIES = {"mlp": build_table, "gru": build_table, "transformer": build_text}


def build_model(weights):
    """Builds an onnx.ModelProto with the numbers of the archive. Raises WeightsError."""
    family = weights.metadata["family"]
    if family == "torchscript":
        raise WeightsError("there is no ONNX of a network that its user brought: only who has its Python can make one, "
                           "with torch.onnx.export; safetensors has its weights")
    if family not in FAMILIES:
        raise WeightsError(f"there is no ONNX for the family {family}, only for {', '.join(FAMILIES)}")
    if sum(tensor.nbytes for tensor in weights.tensors.values()) > FILE_BYTES_MAX:
        raise WeightsError("the weights are larger than an ONNX file can be (2 GB); safetensors has no such limit")
    graph = Graph()
    facts = {**{key: weights.metadata[key] for key in ("muster", "recipe", "task", "family")},
             **FAMILIES[family](graph, weights)}
    made = helper.make_model(
        helper.make_graph(graph.nodes, "muster", graph.inputs, graph.outputs, graph.initializers),
        producer_name="muster", ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)])
    helper.set_model_props(made, {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                                  for key, value in facts.items()})
    onnx.checker.check_model(made, full_check=True)
    return made
