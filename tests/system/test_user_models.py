"""Networks that users bring: the documented one trains as it should, hostile ones are stopped, named, and leave nothing."""
import hashlib
import math
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest
import yaml

torch = pytest.importorskip("torch", reason="torch is not installed (packaging/python.txt)")
from torch import nn  # noqa: E402

import harness  # noqa: E402
from harness import ROOT, Site, recipe, request_attributes, request_dn  # noqa: E402

COLUMNS = 6  # that tests' tables are encoded to


def documented_network(folder):
    """Runs the snippet of the documentation; gives its archive."""
    page = (ROOT / "api" / "user-models.md").read_text()
    code = re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL).group(1)
    (pathlib.Path(folder) / "documented.py").write_text(code)  # torch.jit.script reads the source of classes from a file
    subprocess.run([sys.executable, "documented.py"], cwd=folder, check=True, timeout=120)
    return pathlib.Path(folder) / "net.pt"


def own_recipe(folder, name, archive="net.pt", **changes):
    """The file of a recipe that brings `archive`."""
    path = pathlib.Path(folder) / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**recipe(name, name.upper(), number_type="fp64"),
                                    "model": {"torchscript": str(archive)}, **changes}))
    return path


@pytest.fixture(scope="module")
def own_models(tmp_path_factory, tables):
    """Two functions that run users' models, and one that does not."""
    folder = tmp_path_factory.mktemp("own-models")
    site = Site(folder, tables)
    try:
        site.start_producer()
        for name, policy in (("gnb-1", {"users_models": True}), ("gnb-2", {"users_models": True}), ("gnb-3", {})):
            site.start_function(name, policy=policy, times={"worker_lease_seconds": 6, "program_run_seconds": 3},
                                capacity={"cpu_cores": 0.5, "bandwidth_mbit": 1000, "memory_mb": 1500})
        site.wait_connected()
        documented_network(folder)
        yield site
    finally:
        site.stop()
        print(site.logs())


def asked(site, name, **changes):
    site.client().put(request_dn(name), request_attributes(aIMLInferenceName=name.upper(), **changes))


@pytest.fixture(scope="module")
def reports(own_models):
    """{strategy: report} of the documented network."""
    found = {}
    for strategy in ("one_function", "data_parallel", "pipeline"):
        name = f"own-{strategy.replace('_', '-')}"
        file = own_recipe(own_models.folder, name, distribution={"strategy": strategy, "micro_batches": 4})
        own_models.run_json("recipe", "add", file)
        asked(own_models, name)
        own_models.wait_status(name, "FINISHED")
        own_models.wait_connected()
        found[strategy] = own_models.run_json("report", name)
    return found


def test_the_documented_network_is_what_check_says(own_models, tables):
    file = own_recipe(own_models.folder, "checked")
    known = own_models.run_json("recipe", "check", file)
    assert known["archive"]["blocks"] == 3 and known["archive"]["probed"] is False
    assert known["recipe"]["model"]["archive"]["sha256"] == hashlib.sha256((own_models.folder / "net.pt").read_bytes()).hexdigest()
    probed = own_models.run_json("recipe", "check", file, "--data", tables["tiny/train"])
    assert probed["archive"]["probed"] is True
    assert probed["archive"]["parameters"] == sum(each.numel() for each in torch.jit.load(str(own_models.folder / "net.pt")).parameters())
    assert "may be cut into stages" in own_models.run("recipe", "check", file).stdout


def test_it_trains_on_two_functions_as_on_one(reports):
    assert len(reports["one_function"]["participants"]) == 1
    assert len(reports["data_parallel"]["participants"]) == 2, "the third does not run users' models"
    for rows in ("training", "validation", "test"):
        alone, shared = (reports[name]["metrics"][rows]["MAE"] for name in ("one_function", "data_parallel"))
        assert math.isclose(alone, shared, rel_tol=1e-8), rows


def test_it_is_cut_into_stages_that_together_are_the_whole(reports):
    participants = reports["pipeline"]["participants"]
    blocks = [number for each in participants for number in range(each["blocks"]["first"], each["blocks"]["last"] + 1)]
    assert len(participants) == 2 and blocks == [0, 1, 2]
    for rows in ("training", "validation", "test"):
        alone, split = (reports[name]["metrics"][rows]["MAE"] for name in ("one_function", "pipeline"))
        assert math.isclose(alone, split, rel_tol=1e-8), rows


def test_a_function_that_does_not_run_them_says_so(own_models, reports):
    assert "policy.users_models" in str(own_models.run_json("show", "own-data-parallel"))
    own_models.nothing_left()


@pytest.mark.parametrize("name", ["own-one-function", "own-pipeline"])
def test_what_comes_out_is_a_model_as_any_other(own_models, reports, tables, tmp_path, name):
    path = tmp_path / "trained.pt"
    own_models.run_json("model", "export", name, "--out", path)
    predicted = own_models.run_json("model", "predict", path, "--input", tables["tiny/test"])
    assert len(predicted["predictions"]) == 80
    own_models.run_json("model", "export", name, "--format", "safetensors", "--out", tmp_path / "w.safetensors")
    refused = own_models.run("model", "export", name, "--format", "onnx", "--out", tmp_path / "w.onnx")
    assert refused.returncode != 0
    if "install" not in refused.stderr:
        assert "torch.onnx" in refused.stderr


# Hostile archives.

class Good(nn.Module):
    def __init__(self, outputs: int = 1):
        super().__init__()
        self.linear = nn.Linear(COLUMNS, outputs)

    def forward(self, x):
        return self.linear(x)


class Saves(Good):
    def forward(self, x):
        torch.save(x, "made")
        return self.linear(x)


class Reads(Good):
    def forward(self, x):
        return self.linear(x) + torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8)


class Draws(Good):
    def forward(self, x):
        return self.linear(x) + torch.rand(1)


class Endless(Good):
    def forward(self, x):
        i = 0
        while True:
            i += 1
        return self.linear(x) + i


class Huge(Good):
    def forward(self, x):
        return self.linear(x) + torch.zeros([100_000_000_000]).sum()


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(2, 2)


class LooksAround(Good):
    def forward(self, x):
        return self.linear(x - x.mean(dim=0))


STATIC = {"saves": (Saves(), "aten::save"), "reads": (Reads(), "aten::from_file"), "draws": (Draws(), "aten::rand"),
          "dropout": (nn.Sequential(nn.Linear(COLUMNS, 1), nn.Dropout(0.1)), "is a Dropout(p=0.1)"),
          "batch-norm": (nn.Sequential(nn.Linear(COLUMNS, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), "is a BatchNorm1d"),
          "in-place": (nn.Sequential(nn.Linear(COLUMNS, 1), nn.ReLU(inplace=True)), "in place")}
RUN = {"endless": (Endless(), "did not come back within 3 s"), "huge": (Huge(), "memory"),
       "wrong-shape": (Good(3), "gives [2, 3], needs [2, 1]"), "unused": (Unused(), "other.weight gets no gradient"),
       "looks-around": (LooksAround(), "for a row alone")}


def script(folder, name, network):
    path = pathlib.Path(folder) / f"{name}.pt"
    torch.jit.script(network.double()).save(str(path))
    return path


@pytest.mark.parametrize("network", [
    nn.Sequential(nn.Linear(4, 8), activation) for activation in
    (nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(), nn.ELU(), nn.Softplus(), nn.Hardtanh(),
     nn.Mish(), nn.SELU(), nn.ReLU6(), nn.Hardswish(), nn.Softmax(dim=1), nn.LogSoftmax(dim=1), nn.PReLU(), nn.CELU(),
     nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.RMSNorm(8), nn.Dropout(0.0), nn.Identity())
] + [nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 4, 3), nn.MaxPool1d(2), nn.AvgPool1d(1), nn.Flatten(), nn.Linear(12, 1))],
    ids=lambda network: type(network[1]).__name__)
def test_modules_of_pytorch_are_taken(tmp_path, network):
    archive = script(tmp_path, "net", network)
    done = harness.muster("recipe", "check", own_recipe(tmp_path, "net", archive))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", STATIC)
def test_a_program_that_may_not_run_is_refused_by_name(tmp_path, name):
    network, words = STATIC[name]
    archive = script(tmp_path, name, network)
    done = harness.muster("recipe", "check", own_recipe(tmp_path, name, archive))
    assert done.returncode == 4 and words in done.stderr, done.stderr


def test_files_that_are_no_archive_are_refused(tmp_path):
    good = script(tmp_path, "good", Good()).read_bytes()
    for content in (b"no zip", good[: len(good) // 2], b""):
        (tmp_path / "bad.pt").write_bytes(content)
        done = harness.muster("recipe", "check", own_recipe(tmp_path, "bad", "bad.pt"))
        assert done.returncode == 4 and "cannot be used" in done.stderr, done.stderr
    with zipfile.ZipFile(tmp_path / "good.pt") as source, zipfile.ZipFile(tmp_path / "bad.pt", "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            # The pickle says how many numbers the storage has: 2 to the 30 instead of 6.
            target.writestr(entry.filename, content.replace(b"K\x06tQ", b"J\x00\x00\x00\x40tQ") if entry.filename.endswith("data.pkl") else content)
    done = harness.muster("recipe", "check", own_recipe(tmp_path, "bad", "bad.pt"))
    assert done.returncode == 4 and "larger than what is stored" in done.stderr, done.stderr


def uploaded(site, name, archive, blocks=0):
    """As somebody does who does not ask `muster recipe`."""
    content = archive.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    answer = site.client().request("PUT", f"/muster/v1/blobs/{digest}", content)
    assert answer.status in (200, 201), answer.words()
    site.add_recipe({**recipe(name, name.upper(), number_type="fp64"),
                     "model": {"family": "torchscript", "archive": {"sha256": digest, "bytes": len(content), "blocks": blocks}}})
    return digest


@pytest.mark.parametrize("name", ["saves", *RUN])
def test_hostile_programs_are_stopped_and_named_and_leave_nothing(own_models, name):
    network, words = {**STATIC, **RUN}[name]
    digest = uploaded(own_models, f"bad-{name}", script(own_models.folder, name, network))
    asked(own_models, f"bad-{name}")
    own_models.wait_status(f"bad-{name}", "CANCELLED")
    reason = own_models.reason(f"bad-{name}")
    assert words in reason and digest[:12] in reason, reason
    own_models.nothing_left()
    for function in own_models.functions:
        state = own_models.folder / "functions" / function
        assert not list(state.rglob("made")) and not (state / "downloads").exists()


def test_a_chain_that_is_none_is_not_cut(own_models):
    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(COLUMNS, COLUMNS), nn.Linear(COLUMNS, 1)])

        def forward(self, x):
            x = x + self.layers[0](x)
            return self.layers[1](x)

    archive = script(own_models.folder, "skips", Skips())
    file = own_recipe(own_models.folder, "skips", archive, distribution={"strategy": "pipeline"})
    done = own_models.run("recipe", "check", file)
    assert done.returncode == 4 and "not just one of its layers after the other" in done.stderr, done.stderr
    digest = uploaded(own_models, "bad-skips", archive, blocks=2)
    asked(own_models, "bad-skips")
    own_models.wait_status("bad-skips", "CANCELLED")
    assert "the archive has 0" in own_models.reason("bad-skips") and digest[:12] in own_models.reason("bad-skips")


def test_a_recipe_without_its_archive_is_refused(own_models):
    answer = own_models.client().request("POST", "/muster/v1/recipes", {
        **recipe("lost", "LOST"), "model": {"family": "torchscript", "archive": {"sha256": "a" * 64, "bytes": 1, "blocks": 0}}})
    assert answer.status == 400 and "is not here" in answer.words()


def test_archives_are_not_for_everybody(own_models, reports):
    digest = hashlib.sha256((own_models.folder / "net.pt").read_bytes()).hexdigest()
    assert own_models.client("viewer").request("GET", f"/muster/v1/blobs/{digest}").status == 403
    assert own_models.client("viewer").request("PUT", f"/muster/v1/blobs/{'b' * 64}", b"x").status == 403
    state = own_models.folder / "functions" / "gnb-1"
    function = harness.Client(own_models.address, own_models.authority.certificate, state / "certificate.pem", state / "key.pem")
    assert function.request("GET", f"/muster/v1/blobs/{digest}").status == 403, "it is in no job with that archive"
