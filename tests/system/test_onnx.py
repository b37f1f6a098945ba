"""muster_onnx alone: what it makes of weights, and that it believes nothing of a file."""
import json
import math
import pathlib
import struct
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBER = {"name": "x", "kind": "number", "fill": 0.0, "mean": 0.0, "scale": 1.0, "missing_flag": False}
CATEGORY = {"name": "c", "kind": "category", "categories": ["a"], "missing_flag": False}
TARGET = {"name": "y", "mean": 0.0, "scale": 1.0, "categories": []}


def metadata(**changes):
    """Those of y = weight x + bias; None removes one."""
    made = {"muster": "1", "recipe": "r@d", "task": "regression", "family": "mlp", "settings": "{}",
            "preprocessing": json.dumps({"inputs": [NUMBER], "target": TARGET}), **changes}
    return {key: value for key, value in made.items() if value is not None}


def preprocessing(**changes):
    return {"preprocessing": json.dumps({"inputs": [NUMBER], "target": TARGET, **changes})}


def entry(begin, end, *shape, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


GOOD = {"weight_0": entry(0, 4, 1, 1), "bias_0": entry(4, 8, 1)}
NUMBERS = struct.pack("<2f", 2.0, 0.5)


def file_of(header, numbers=NUMBERS):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def convert(folder, content):
    (folder / "weights").write_bytes(content)
    return subprocess.run([sys.executable, ROOT / "python" / "muster_onnx", folder / "weights", folder / "model.onnx"],
                          capture_output=True, text=True, timeout=60, check=False)


def test_requirements_are_those_that_are_tested():
    def pinned(path):
        return {line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")}

    assert pinned("python/muster_onnx/requirements.txt") <= pinned("packaging/python.txt")


@pytest.fixture(autouse=True)
def packages():
    pytest.importorskip("onnx", reason="onnx is not installed (packaging/python.txt)")


def test_weights_become_a_model_that_runs(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (packaging/python.txt)")
    import numpy
    import onnx

    done = convert(tmp_path, file_of({"__metadata__": metadata(), **GOOD}))
    assert done.returncode == 0 and done.stdout == "" and done.stderr == "", done.stderr
    model = onnx.load(tmp_path / "model.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17), ("ai.onnx.ml", 3)]
    assert {each.name for each in model.graph.initializer} >= {"weight_0", "bias_0"}
    opened = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [each.name for each in opened.get_inputs()] == ["numbers"]
    assert opened.run(None, {"numbers": numpy.array([[1.0], [3.0]])})[0].tolist() == [[2.5], [6.5]]


def test_numbers_are_transformed_as_in_training(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (packaging/python.txt)")
    import numpy

    number = {**NUMBER, "clip": [-20.0, 10.0], "log": True}
    done = convert(tmp_path, file_of({"__metadata__": metadata(**preprocessing(inputs=[number])), **GOOD}))
    assert done.returncode == 0, done.stderr
    opened = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    outputs = opened.run(None, {"numbers": numpy.array([[20.0], [-3.0]])})[0]
    assert outputs[:, 0].tolist() == pytest.approx([2 * math.log(11) + 0.5, -2 * math.log(4) + 0.5])


@pytest.mark.parametrize("content,words", [
    (b"", "shorter"), (b"no weights", "shorter"), (struct.pack("<Q", 2**63) + b"{}", "shorter"), (file_of(b"{]"), "no JSON"),
    (file_of(b"[" * 100_000), "no JSON"), (file_of(b"[]"), "no JSON object"), (file_of(b'"\xff"'), "UTF-8"),
    (file_of(b'{"weight_0": {}, "weight_0": {}}'), "stands twice"), (file_of(GOOD), "no metadata"),
    (file_of({"__metadata__": {"muster": 1}, **GOOD}), "no metadata"),
    (file_of({"__metadata__": metadata(muster="2"), **GOOD}), "another version"),
    (file_of({"__metadata__": metadata(task=None), **GOOD}), "lack task"),
    (file_of({"__metadata__": metadata()}, b""), "no tensors"),
    (file_of({"__metadata__": metadata(), **GOOD}, NUMBERS[:7]), "does not fit"),
    (file_of({"__metadata__": metadata(), **GOOD}, NUMBERS + b"x"), "longer"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": entry(0, 4, 1)}), "overlap"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": entry(4, 8, 2)}), "bias_0"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": entry(4, 8, -1)}), "bias_0"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": entry(4, 8, 2**62, 4)}), "bias_0"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": entry(4, 8, 4, dtype="I8")}), "I8"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": entry(4, 8, 1, dtype=["F32"])}), "bias_0"),
    (file_of({"__metadata__": metadata(), **GOOD, "bias_0": [4, 8]}), "malformed")], ids=lambda each: each if isinstance(each, str) else "")
def test_a_file_that_is_not_of_the_format_is_refused(tmp_path, content, words):
    done = convert(tmp_path, content)
    assert done.returncode == 4 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["weights"]


@pytest.mark.parametrize("changes,words", [
    ({"family": "forest"}, "forest"), ({"family": "transformer"}, "reads text"), ({"task": "language"}, "language"),
    ({"settings": "[]"}, "settings"), ({"preprocessing": "{"}, "preprocessing"), (preprocessing(inputs=[]), "no inputs"),
    (preprocessing(inputs=[{**NUMBER, "scale": "1"}]), "malformed"), (preprocessing(inputs=[NUMBER, NUMBER]), "one name"),
    (preprocessing(inputs=[NUMBER, CATEGORY]), "weight_0"), (preprocessing(inputs=[{**CATEGORY, "categories": ["a", "a"]}]), "malformed"),
    (preprocessing(inputs=[{**CATEGORY, "categories": []}]), "no columns"), (preprocessing(target={}), "target"),
    (preprocessing(inputs=[{**NUMBER, "mean": float("nan")}]), "malformed")], ids=lambda each: each if isinstance(each, str) else "")
def test_metadata_that_do_not_fit_are_refused(tmp_path, changes, words):
    done = convert(tmp_path, file_of({"__metadata__": metadata(**changes), **GOOD}))
    assert done.returncode == 4 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["weights"]


@pytest.mark.parametrize("tensors,words", [
    ({"other": entry(0, 4, 1, 1), "bias_0": entry(4, 8, 1)}, "other"),
    ({"weight_0": entry(0, 8, 1, 2)}, "weight_0"), ({"weight_0": entry(0, 4, 1), "bias_0": entry(4, 8, 1)}, "weight_0"),
    ({"layers.0.token": entry(0, 8, 1, 2)}, "layers.0.token")])
def test_tensors_of_another_network_are_refused(tmp_path, tensors, words):
    done = convert(tmp_path, file_of({"__metadata__": metadata(), **tensors}))
    assert done.returncode == 4 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("tensors,words", [
    ({"layers.0.token": entry(0, 8, 1, 2)}, "layers.0.norm_weight"), ({"weight_0": entry(0, 8, 1, 2)}, "layers.0.token"),
    ({"layers.0.token": entry(0, 4, 1, 1), "layers.x.weight": entry(4, 8, 1, 1)}, "layers.x.weight")])
def test_a_transformer_that_lacks_tensors_is_refused(tmp_path, tensors, words):
    facts = {"family": "transformer", "task": "language",
             "preprocessing": json.dumps({"text": {"unit": "byte", "sequence": 1, "vocabulary": ["a"]}})}
    done = convert(tmp_path, file_of({"__metadata__": metadata(**facts), **tensors}))
    assert done.returncode == 4 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
