"""`muster demo`: the whole story in one go, and nothing left of it whenever it is interrupted."""
import contextlib
import gzip
import json
import os
import pathlib
import signal
import time

import pytest
import torch
import yaml

import harness
from harness import ROOT, Program, wait_for

EXAMPLE = ROOT / "examples" / "ue-delay"


@pytest.fixture(scope="session")
def endless_example(tmp_path_factory):
    """The example with few rows, and with more epochs than anybody waits for. Gives the folder of examples."""
    folder = tmp_path_factory.mktemp("examples") / "ue-delay"
    folder.mkdir()
    for name in ("train.csv.gz", "test.csv.gz"):
        with gzip.open(EXAMPLE / name, "rt") as whole:
            lines = [line for _, line in zip(range(4_000), whole)]
        (folder / name).write_bytes(gzip.compress("".join(lines).encode()))
    recipe = yaml.safe_load((EXAMPLE / "ue-delay.yaml").read_text())
    (folder / "ue-delay.yaml").write_text(yaml.safe_dump({**recipe, "epochs": 1_000_000, "batch": 128}))
    (folder / "ue-delay.request.yaml").write_text((EXAMPLE / "ue-delay.request.yaml").read_text())
    return folder.parent


def control_groups():
    """Those of demos; other programs on this machine have theirs."""
    return {str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob("muster-demo-*") if path.is_dir()}


@pytest.fixture
def traceless(tmp_path):
    """Afterwards there is no process, folder, model or control group more than before."""
    groups = control_groups()
    before = set(harness.descendants(os.getpid()))
    (tmp_path / "tmp").mkdir()
    yield tmp_path
    left = [f"{pid} {harness.process_table()[pid][2]}" for pid in harness.descendants(os.getpid()) if pid not in before]
    assert not left
    harness.reap_orphans(set())
    assert sorted(path.name for path in (tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "muster-demo-model.pt").exists()
    wait_for("control groups removed", lambda: not control_groups() - groups, 5.0)


@contextlib.contextmanager
def running_demo(folder, examples, phases):
    """A demo that has come to one of `phases`, which are words of its story."""
    program = Program(folder / "demo.log", "demo", cwd=folder,
                      environment={"TMPDIR": str(folder / "tmp"), "MUSTER_EXAMPLES": str(examples)})
    try:
        wait_for(phases[0], lambda: any(words in program.words() for words in phases) or not program.running(), 30.0,
                 every=0.005)
        assert program.running(), program.words()
        yield program
    finally:
        program.stop()


# Processes that miss a signal are killed after 5 s; none may miss it.
NO_KILL_SECONDS = 4.5
PHASES = ["a CA, a producer", "is submitted", "AGREEING", "PREPARING", "CALIBRATING", "the decision", "the agreement",
          "training over", "rows/s"]


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_leaves_nothing(traceless, endless_example, phase):
    """As a terminal does it: the signal goes to the whole group. A phase that is shorter than a look is passed by."""
    with running_demo(traceless, endless_example, PHASES[PHASES.index(phase):]) as program:
        os.killpg(program.pid, signal.SIGINT)
        code, output = program.wait(NO_KILL_SECONDS)
        assert code == 3 and output == "", (code, program.words())
        assert "error:" not in program.words(), program.words()


def test_ctrl_c_while_processes_start(traceless, endless_example):
    """The moments between fork and exec, when a child still has its parent's handlers."""
    for moment in range(20):
        with running_demo(traceless, endless_example, ["a CA, a producer"]) as program:
            until = time.monotonic() + moment * 0.002
            while time.monotonic() < until:
                pass  # finer than a sleep would be
            os.killpg(program.pid, signal.SIGINT)
            code, _ = program.wait(NO_KILL_SECONDS)
            assert code == 3, program.words()
        (traceless / "demo.log").unlink()


def test_sigterm_leaves_nothing(traceless, endless_example):
    with running_demo(traceless, endless_example, ["training over"]) as program:
        program.signal(signal.SIGTERM)
        code, _ = program.wait(15.0)
        assert code == 3, program.words()


def test_ctrl_c_twice_is_not_worse(traceless, endless_example):
    with running_demo(traceless, endless_example, ["training over"]) as program:
        os.killpg(program.pid, signal.SIGINT)
        os.killpg(program.pid, signal.SIGINT)
        code, _ = program.wait(15.0)
        assert code == 3, program.words()


def test_killed_demo_leaves_no_process(tmp_path, endless_example):
    """Not even kill -9: producer and agents go with it, workers with their agents or their lease."""
    (tmp_path / "tmp").mkdir()
    before = set(harness.descendants(os.getpid()))
    with running_demo(tmp_path, endless_example, ["training over"]) as program:
        program.kill()
        wait_for("all processes ended", lambda: not set(harness.descendants(os.getpid())) - before, 45.0)
    harness.reap_orphans(set())


@pytest.mark.slow
def test_demo_on_real_data(tmp_path):
    """stdout holds one JSON object with everything that the job has brought; plain PyTorch loads the model."""
    program = Program(tmp_path / "demo.log", "demo", "--output", "json", cwd=tmp_path,
                      environment={"TMPDIR": str(tmp_path), "MUSTER_EXAMPLES": str(ROOT / "examples")})
    try:
        code, output = program.wait(180.0)
    finally:
        program.stop()
    assert code == 0, program.words()
    report, end = json.JSONDecoder().raw_decode(output)
    assert output[end:].strip() == ""
    assert {"request", "decision", "agreement", "participants", "metrics", "model", "timings"} <= set(report)
    assert {"candidates", "chosen", "predicted"} <= set(report["decision"])
    assert len(report["agreement"]["plan_digest"]) == 64
    assert len(report["participants"]) == len(report["agreement"]["signatures"]) >= 1
    for each in report["participants"]:
        assert {"dn", "share", "rows", "seconds", "bytes_sent"} <= set(each)
    assert sum(each["share"] for each in report["participants"]) == pytest.approx(1.0)
    for rows in ("training", "validation", "test"):
        assert {"MAE", "RMSE", "R2"} <= set(report["metrics"][rows])
    assert report["metrics"]["test"]["MAE"] < report["baselines"]["naive"]["test"]["MAE"]
    assert report["request"]["status"] == "FINISHED"
    assert report["timings"]["total_seconds"] > 0 and report["predicted_seconds"] > 0 and report["measured_seconds"] > 0
    model = torch.jit.load(report["model"]["path"])
    assert model.target_name == "delay_ms" and len(report["model"]["sha256"]) == 64
