"""muster model export: a trained model in the formats of others, with the same numbers."""
import hashlib
import json
import math
import os
import struct
import subprocess
import sys

import pytest
import torch

from harness import BIN, muster, request_attributes, request_dn, text_recipe

TYPES = {"F64": torch.float64, "F32": torch.float32}


def read_safetensors(path):
    """({name: tensor}, metadata): as the format's description says, without its library."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, numbers = json.loads(content[8:8 + length]), content[8 + length:]
    metadata = header.pop("__metadata__")
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, after = entry["data_offsets"]
        assert begin == end, f"a gap or an overlap before {name}"
        end = after
        tensors[name] = torch.frombuffer(bytearray(numbers[begin:after]), dtype=TYPES[entry["dtype"]]).reshape(entry["shape"])
    assert end == len(numbers)
    return tensors, metadata


def weights_of(archive):
    return {name.removeprefix("body."): value for name, value in torch.jit.load(str(archive)).named_parameters()}


def export(site, model, path, *options):
    """What the verb says about the file, checked against it."""
    said = site.run_json("model", "export", model, "--out", path, *options)
    assert said["path"] == str(path) and said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [each.name for each in path.parent.iterdir()].count(path.name) == 1
    assert not list(path.parent.glob("*.tmp")), "a temporary file is left"
    return said


@pytest.fixture(scope="module")
def table_archive(site, finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "model.pt"
    export(site, finished, path)
    return path


@pytest.fixture(scope="module")
def text_archive(site, tmp_path_factory):
    site.add_recipe(text_recipe("export-text", model={"family": "transformer", "layers": 2, "width": 16, "heads": 2}))
    requirement = {"inferenceOutputName": "next_character", "performanceMetric": "log_loss", "performanceScore": 5.0}
    site.client().put(request_dn("export-text"), request_attributes(aIMLInferenceName="muster:export-text",
                                                                    performanceRequirements=[requirement]))
    site.wait_status("export-text", "FINISHED")
    site.wait_connected()
    path = tmp_path_factory.mktemp("text") / "model.pt"
    export(site, "export-text", path)
    return path


# safetensors.


@pytest.mark.parametrize("kind", ["table", "text"])
def test_weights_are_those_of_the_archive(site, kind, request, tmp_path):
    archive = request.getfixturevalue(f"{kind}_archive")
    said = export(site, archive, tmp_path / "model.safetensors", "--format", "safetensors")
    assert said["archive"] == str(archive)
    tensors, metadata = read_safetensors(tmp_path / "model.safetensors")
    expected = weights_of(archive)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    model = torch.jit.load(str(archive))
    assert metadata["recipe"] == model.recipe and metadata["task"] == model.task and metadata["format"] == "pt"
    preprocessing = json.loads(metadata["preprocessing"])
    assert preprocessing["target"]["name"] == model.target_name
    if kind == "table":
        assert [each["name"] for each in preprocessing["inputs"]] == model.input_names
    else:
        assert preprocessing["text"]["vocabulary"] == model.vocabulary


@pytest.mark.parametrize("kind", ["table", "text"])
def test_the_library_of_the_format_reads_the_weights(site, kind, request, tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed (packaging/python.txt)")
    archive = request.getfixturevalue(f"{kind}_archive")
    path = tmp_path / "model.safetensors"
    export(site, archive, path, "--format", "safetensors")
    expected = weights_of(archive)
    with safetensors.safe_open(str(path), framework="pt") as file:
        assert set(file.keys()) == set(expected)
        assert all(torch.equal(file.get_tensor(name), value) for name, value in expected.items())
        assert file.metadata()["task"] == torch.jit.load(str(archive)).task


def test_weights_of_a_model_at_the_producer(site, finished, table_archive, tmp_path):
    said = export(site, finished, tmp_path / "model.safetensors", "--format", "safetensors")
    assert said["dn"].startswith("SubNetwork=1,")
    tensors, _ = read_safetensors(tmp_path / "model.safetensors")
    assert all(torch.equal(tensors[name], value) for name, value in weights_of(table_archive).items())
    done = site.run("model", "export", "hapy", "--format", "safetensors")
    assert done.returncode == 4 and "hapy" in done.stderr, done.stderr


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "text", "truncated"])
def test_what_is_no_archive_is_refused_and_nothing_is_replaced(table_archive, tmp_path, content):
    archive, out = tmp_path / "bad.pt", tmp_path / "out.safetensors"
    archive.write_bytes(table_archive.read_bytes()[:-100] if content is None else content)
    out.write_text("what was there")
    done = muster("model", "export", archive, "--format", "safetensors", "--out", out)
    assert done.returncode == 4 and "bad.pt" in done.stderr and "not a model archive" in done.stderr, done.stderr
    assert out.read_text() == "what was there"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.pt", "out.safetensors"]


class Hostile(torch.nn.Module):
    """Reads a file of whoever loads it, while it is loaded."""

    def __init__(self, path):
        super().__init__()
        self.path, self.first = str(path), 0.0

    @torch.jit.export
    def __getstate__(self):
        return self.path

    @torch.jit.export
    def __setstate__(self, path: str):
        self.path, self.training = path, False
        self.first = float(torch.from_file(path, False, 1, dtype=torch.float64))

    def forward(self, numbers: torch.Tensor):
        return numbers


def test_an_archive_that_reads_files_is_stopped(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(8))
    torch.jit.script(Hostile(tmp_path / "secret")).save(str(tmp_path / "m.pt"))
    done = muster("model", "export", tmp_path / "m.pt", "--format", "safetensors", "--out", tmp_path / "out")
    assert done.returncode == 4 and "sandbox forbids" in done.stderr and "m.pt" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments,words", [
    (("nowhere/model.pt", "--format", "safetensors"), "nowhere/model.pt"), (("m.pt", "--format", "tensors"), "safetensors"),
    (("m.pt", "--format", "safetensors", "--allow-missing-isolation", "landlok"), "landlock")], ids=lambda each: each if isinstance(each, str) else each[-1])
def test_wrong_input_is_named(table_archive, tmp_path, arguments, words):
    (tmp_path / "m.pt").write_bytes(table_archive.read_bytes())
    done = muster("model", "export", *arguments, cwd=tmp_path)
    assert done.returncode == 4 and words in done.stderr and done.stdout == "", done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["m.pt"]


def test_a_folder_that_is_not_there_is_named(table_archive, tmp_path):
    done = muster("model", "export", table_archive, "--format", "safetensors", "--out", tmp_path / "none" / "x")
    assert done.returncode == 2 and f"{tmp_path}/none/x" in done.stderr, done.stderr


# ONNX. An environment without its packages says so and skips.


TOLERANCE = 1e-5


def session(path):
    """onnxruntime with the file, and its metadata."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (packaging/python.txt)")
    opened = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return opened, opened.get_modelmeta().custom_metadata_map


@pytest.fixture
def onnx_of(site, tmp_path):
    """Exports an archive to ONNX and opens the file."""
    pytest.importorskip("onnx", reason="onnx is not installed (packaging/python.txt)")

    def make(archive):
        path = tmp_path / "model.onnx"
        export(site, archive, path, "--format", "onnx", "--python", sys.executable)
        return session(path)

    return make


@pytest.fixture(scope="module")
def archives_of_tasks(tmp_path_factory):
    """Archives of each task in each type of number, with rows and what the training program makes of them (.json)."""
    program = BIN / "muster_worker_test"
    if not program.exists():
        pytest.skip("muster_worker_test is not built")
    folder = tmp_path_factory.mktemp("tasks")
    subprocess.run([program, "--gtest_filter=*Exported.*", "--gtest_brief=1"], check=True, timeout=120,
                   env={**os.environ, "MUSTER_EXPORT_FOLDER": str(folder)})
    archives = sorted(folder.glob("*.pt"))
    assert len(archives) == 6
    return archives


def assert_close(outputs, expected):
    torch.testing.assert_close(torch.from_numpy(outputs), expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_onnx_gives_the_numbers_of_each_task(archives_of_tasks, onnx_of):
    """Rows with missing numbers, missing texts and unknown texts among them."""
    import numpy

    tasks = set()
    for archive in archives_of_tasks:
        runtime, metadata = onnx_of(archive)
        expected = json.loads(archive.with_suffix(".json").read_text())
        assert json.loads(metadata["number_names"]) == expected["number_names"]
        assert json.loads(metadata["category_names"]) == expected["category_names"]
        assert json.loads(metadata["target_categories"]) == expected["target_categories"]
        assert metadata["target_name"] == expected["target_name"]
        numbers = numpy.array([[math.nan if each is None else each for each in row] for row in expected["numbers"]])
        categories = numpy.array(expected["categories"], dtype=object)
        for rows in (slice(None), slice(1, 2)):
            (outputs,) = runtime.run(["outputs"], {"numbers": numbers[rows], "categories": categories[rows]})
            assert_close(outputs, torch.tensor(expected["outputs"], dtype=torch.float64)[rows])
        tasks.add(metadata["task"])
    assert tasks == {"regression", "binary", "multiclass"}


@pytest.fixture(scope="module")
def forecast_archive(tmp_path_factory):
    """A model that reads series, dates among its inputs, with what it says itself."""
    program = BIN / "muster_worker_test"
    if not program.exists():
        pytest.skip("muster_worker_test is not built")
    folder = tmp_path_factory.mktemp("forecast")
    subprocess.run([program, "--gtest_filter=Forecast.exported*", "--gtest_brief=1"], check=True, timeout=120,
                   env={**os.environ, "MUSTER_EXPORT_FOLDER": str(folder)})
    (archive,) = folder.glob("*.pt")
    return archive


def test_onnx_of_a_forecast_gives_its_numbers(forecast_archive, onnx_of):
    import numpy

    runtime, metadata = onnx_of(forecast_archive)
    model = torch.jit.load(str(forecast_archive))
    assert json.loads(metadata["windows"])["length"] == model.window and json.loads(metadata["date_names"]) == model.date_names
    generator = torch.Generator().manual_seed(5)
    numbers = torch.rand((9, len(model.number_names)), generator=generator, dtype=torch.float64)
    dates = model.number_names.index(model.date_names[0])
    numbers[:, dates] = 1.5e9 + 1000.0 * torch.arange(9)
    numbers[4, dates] = math.nan
    (outputs,) = runtime.run(["outputs"], {"numbers": numpy.array(numbers)})
    assert outputs.shape == (9 - model.window + 1, 1)
    assert_close(outputs, model(numbers, []).detach())


def text_outputs(runtime, tokens):
    (outputs,) = runtime.run(["outputs"], {"tokens": tokens.numpy()})
    return outputs


def test_onnx_of_a_language_model_gives_its_probabilities(text_archive, onnx_of, tmp_path):
    archive = tmp_path / "wide.pt"
    for wide in (False, True):
        model = torch.jit.load(str(text_archive))
        model = model.double() if wide else model
        torch.jit.save(model, str(archive))
        runtime, metadata = onnx_of(archive)
        assert metadata["unit"] == "character" and json.loads(metadata["vocabulary"]) == model.vocabulary
        generator = torch.Generator().manual_seed(7)
        for shape in ((3, model.sequence), (1, 1), (2, 5)):
            tokens = torch.randint(len(model.vocabulary), shape, generator=generator)
            assert_close(text_outputs(runtime, tokens), model(tokens).detach())
        with pytest.raises(Exception, match="indices|bounds"):
            text_outputs(runtime, torch.zeros((1, model.sequence + 1), dtype=torch.int64))


def test_onnx_of_a_model_at_the_producer(site, finished, table_archive, onnx_of):
    import numpy

    runtime, metadata = onnx_of(finished)
    model = torch.jit.load(str(table_archive))
    assert metadata["recipe"] == model.recipe and metadata["muster"] == "1"
    numbers, categories = [[1.5, math.nan], [math.nan, 80.0]], [["a"], [""]]
    (outputs,) = runtime.run(None, {"numbers": numpy.array(numbers), "categories": numpy.array(categories, dtype=object)})
    assert_close(outputs, model(torch.tensor(numbers, dtype=torch.float64), categories))


def test_onnx_of_the_same_archive_is_the_same_file(site, table_archive, onnx_of, tmp_path):
    digests = set()
    for _ in range(2):
        onnx_of(table_archive)
        digests.add(hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest())
    assert len(digests) == 1


def python_program(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("line,code,words", [
    (f"exec '{sys.executable}' -I -S \"$@\"", 4, ("-m pip install -r", "muster_onnx/requirements.txt")),
    ("echo no luck >&2; exit 9", 2, ("made no ONNX file", "exit status 9", "no luck")),
    (None, 4, ("no program", "--python", "requirements.txt"))], ids=["no packages", "fails", "no Python"])
def test_what_is_missing_for_onnx_is_named(table_archive, tmp_path, line, code, words):
    python = python_program(tmp_path / "python", line) if line else tmp_path / "nowhere"
    before = sorted(tmp_path.iterdir())
    done = muster("model", "export", table_archive, "--format", "onnx", "--python", python, "--out", tmp_path / "m.onnx")
    assert done.returncode == code and all(each in done.stderr for each in words), done.stderr
    assert sorted(tmp_path.iterdir()) == before
