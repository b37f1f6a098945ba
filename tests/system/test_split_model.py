"""A model that no function can hold: decided, agreed on, trained in stages, reported, exported."""
import math
import os
import signal
import sys

import pytest
import torch

from harness import Site, process_dn, request_dn, text_recipe
from test_text import text_request


def wide_recipe(name, **changes):
    """Of six blocks: embedding, four decoders, head."""
    return text_recipe(name, **{"inference": name.upper(), "model": {"family": "transformer", "layers": 4, "width": 128, "heads": 4},
                                "epochs": 1, "batch": 32, "number_type": "fp64",
                                "optimizer": {"name": "adamw", "learning_rate": 0.001}, **changes})


def finished(site, name):
    site.client().put(request_dn(name), text_request(name))
    site.wait_status(name, "FINISHED")
    site.wait_connected()
    return site.run_json("report", name)


@pytest.fixture(scope="module")
def reports(site):
    """{strategy: report} of the same recipe."""
    found = {}
    for strategy in ("one_function", "pipeline"):
        name = f"wide-{strategy.replace('_', '-')}"
        site.add_recipe(wide_recipe(name, distribution={"strategy": strategy, "micro_batches": 4}))
        found[strategy] = finished(site, name)
    return found


def test_stages_hold_all_blocks_once(reports):
    participants = reports["pipeline"]["participants"]
    assert len(participants) > 1 and len(reports["one_function"]["participants"]) == 1
    blocks = [number for each in participants for number in range(each["blocks"]["first"], each["blocks"]["last"] + 1)]
    assert blocks == list(range(6)), "embedding, four blocks, head, in rank order"
    assert math.isclose(sum(each["share"] for each in participants), 1.0, rel_tol=1e-6)
    assert all(each["peak_memory_bytes"] > 0 and each["bytes_sent"] > 0 for each in participants)


def test_the_model_is_that_of_one_function(reports):
    alone, split = (reports[name]["metrics"] for name in ("one_function", "pipeline"))
    for rows in ("training", "validation", "test"):
        assert math.isclose(alone[rows]["log_loss"], split[rows]["log_loss"], rel_tol=1e-8), rows


def test_functions_sign_who_holds_what(site, reports):
    decision = site.container(process_dn("wide-pipeline"), "decision")
    plan = decision["plan"]
    chosen = plan["candidates"][plan["chosen"]]
    assert chosen["strategy"] == "pipeline" and "asks for a split model" in decision["why"]
    assert "the model is split" in decision["data"]["words"]
    agreement = site.container(process_dn("wide-pipeline"), "agreement")
    assert '"stage":{"blocks":' in agreement["agreement"]
    assert len(agreement["signatures"]) == len(chosen["members"])


def test_the_assembled_archive_runs_in_plain_pytorch(site, reports, tables):
    path = site.folder / "split.pt"
    site.run_json("model", "export", "wide-pipeline", "--out", path)
    model = torch.jit.load(str(path))
    text = tables["text/test"].read_text(encoding="utf-8")
    number = {token: i for i, token in enumerate(model.vocabulary)}
    tokens = torch.tensor([number[character] for character in text])
    windows = tokens[: (len(tokens) - 1) // 16 * 16].reshape(-1, 16)
    targets = tokens[1: windows.numel() + 1].reshape(-1, 16)
    loss = -model(windows).gather(2, targets.unsqueeze(2)).mean().item()
    assert math.isclose(loss, reports["pipeline"]["metrics"]["test"]["log_loss"], rel_tol=1e-5)


def test_a_recipe_cannot_split_what_is_no_chain(site):
    from harness import recipe
    answer = site.client().request("POST", "/muster/v1/recipes", recipe("flat", "FLAT", distribution={"strategy": "pipeline"}))
    assert answer.status == 400 and "no chain of blocks" in answer.words() and "distribution" in answer.words()


def test_a_stage_that_dies_ends_the_job_by_name(site):
    site.add_recipe(wide_recipe("wide-endless", epochs=100_000, distribution={"strategy": "pipeline"}))
    site.client().put(request_dn("wide-endless"), text_request("wide-endless"))
    site.wait_training("wide-endless")
    assert len(site.workers()) > 1
    os.kill(site.workers()[-1], signal.SIGKILL)
    site.wait_status("wide-endless", "CANCELLED")
    reason = site.reason("wide-endless")
    assert reason.startswith("SYSTEM:") and "MLTrainingFunction=1" in reason and "signal 9" in reason.lower(), reason
    site.nothing_left()


def test_too_little_memory_is_said_with_the_block(own_site):
    """Functions that offer hardly more than their process takes."""
    for name in ("gnb-1", "gnb-2"):
        own_site.functions[name].stop()
        own_site.start_function(name, capacity={"cpu_cores": 0.4, "bandwidth_mbit": 1000, "memory_mb": 420}, enrolment=None)
    own_site.wait_connected()
    own_site.add_recipe(wide_recipe("huge", batch=16, model={"family": "transformer", "layers": 2, "width": 2048, "heads": 8}))
    own_site.client().put(request_dn("huge"), text_request("huge"))
    own_site.wait_status("huge", "CANCELLED")
    reason = own_site.reason("huge")
    assert "does not fit" in reason and 'block "block 1" fits no function' in reason and "MB" in reason
    own_site.wait_connected()


def data_of(site, may_leave):
    return [{"name": source, "file": str(file), "may_leave": may_leave} for source, file in site.sources.items()]


@pytest.fixture
def holder_and_others(tmp_path, tables):
    """Starts a site whose first function alone has the data, and others that have none."""
    site = Site(tmp_path, tables)

    def start(may_leave, others=1):
        site.start_producer()
        capacity = {"cpu_cores": 0.5, "bandwidth_mbit": 1000}
        site.start_function("gnb-1", capacity=capacity, data=data_of(site, may_leave))
        for number in range(others):
            site.start_function(f"gnb-{number + 2}", capacity=capacity, data=[])
        return site.wait_connected()
    yield start
    site.stop()
    print(site.logs(), file=sys.stderr)


def test_only_the_first_stage_needs_the_data(holder_and_others, reports):
    site = holder_and_others(may_leave=True, others=2)
    site.add_recipe(wide_recipe("wide-pipeline", distribution={"strategy": "pipeline", "micro_batches": 4}))
    report = finished(site, "wide-pipeline")
    participants = report["participants"]
    assert len(participants) > 1 and "gnb-1" in participants[0]["dn"]
    log_loss = {rows: scores["log_loss"] for rows, scores in report["metrics"].items()}
    for rows, scores in reports["one_function"]["metrics"].items():
        assert math.isclose(log_loss[rows], scores["log_loss"], rel_tol=1e-8), rows
    decision = site.container(process_dn("wide-pipeline"), "decision")
    assert "gnb-1 holds the data" in decision["why"], decision["why"]
    agreement = site.container(process_dn("wide-pipeline"), "agreement")
    assert agreement["agreement"].count('"holds_data":false') == len(participants) - 1
    left = [file for name in ("gnb-2", "gnb-3") for file in (site.folder / "functions" / name).rglob("train.*")]
    assert not left, "rows have come to a function that holds none"
    site.nothing_left()


def test_what_may_not_leave_stays_and_the_reason_says_so(holder_and_others):
    site = holder_and_others(may_leave=False)
    site.add_recipe(wide_recipe("kept", distribution={"strategy": "pipeline"}))
    site.client().put(request_dn("kept"), text_request("kept"))
    site.wait_status("kept", "CANCELLED")
    reason = site.reason("kept")
    assert "there is only one" in reason, reason
    assert 'gnb-2,MLTrainingFunction=1 does not hold the data "text/train", which may not leave its holders' in reason, reason


def test_replicas_of_stages_train_the_same_model(tmp_path, tables):
    """One block is nearly all of the model: a chain of more than two functions would wait for it."""
    site = Site(tmp_path, tables)
    try:
        site.start_producer()
        for number in range(4):
            site.start_function(f"gnb-{number + 1}", capacity={"cpu_cores": 0.4, "bandwidth_mbit": 1000})
        site.wait_connected()
        model = {"family": "transformer", "layers": 1, "width": 256, "heads": 4}
        found = {}
        for strategy in ("one_function", "pipeline"):
            name = f"short-{strategy.replace('_', '-')}"
            site.add_recipe(wide_recipe(name, model=model, distribution={"strategy": strategy, "micro_batches": 4}))
            found[strategy] = finished(site, name)
        decision = site.container(process_dn("short-pipeline"), "decision")
        assert decision["chosen"] == "pipeline, 2 stages x 2 replicas", decision["why"]
        participants = found["pipeline"]["participants"]
        assert [each["blocks"]["first"] == 0 for each in participants] == [True, False, True, False]
        assert math.isclose(sum(each["share"] for each in participants), 1.0, rel_tol=1e-6)
        for rows, scores in found["one_function"]["metrics"].items():
            assert math.isclose(scores["log_loss"], found["pipeline"]["metrics"][rows]["log_loss"], rel_tol=1e-8), rows
    finally:
        site.stop()
        print(site.logs(), file=sys.stderr)
