"""A model that no function can hold: decided, agreed on, trained in stages, reported, exported."""
import math
import os
import signal

import pytest
import torch

from harness import process_dn, request_dn, text_recipe
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
