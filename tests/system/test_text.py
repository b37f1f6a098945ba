"""A language model by the same request: a text source, three functions, a report, a model that plain PyTorch loads."""
import math

import pytest
import torch

from harness import request_attributes, request_dn, text_recipe


def text_request(recipe, **changes):
    requirement = {"inferenceOutputName": "next_character", "performanceMetric": "log_loss", "performanceScore": 5.0}
    return request_attributes(**{"aIMLInferenceName": f"muster:{recipe}", "performanceRequirements": [requirement], **changes})


@pytest.fixture(scope="module")
def report(site):
    site.add_recipe(text_recipe())
    site.client().put(request_dn("text"), text_request("tiny-text"))
    site.wait_status("text", "FINISHED")
    site.wait_connected()
    return site.run_json("report", "text")


def test_scores_beat_the_baselines(report):
    test = report["metrics"]["test"]["log_loss"]
    assert report["metrics"]["validation"]["log_loss"] > 0
    assert test < report["baselines"]["naive"]["test"]["log_loss"]
    assert report["baselines"]["bigram"]["test"]["log_loss"] < report["baselines"]["naive"]["test"]["log_loss"]
    assert 0 <= report["metrics"]["test"]["accuracy"] <= 100


def test_model_predicts_in_plain_pytorch(site, report, tables):
    path = site.folder / "text.pt"
    site.run_json("model", "export", "text", "--out", path)
    model = torch.jit.load(str(path))
    assert model.task == "language" and model.unit == "character" and model.sequence == 16
    text = tables["text/test"].read_text(encoding="utf-8")
    number = {token: i for i, token in enumerate(model.vocabulary)}
    assert "é" in number and model.vocabulary[-1] == "\ufffd"
    tokens = torch.tensor([number[character] for character in text])
    windows = tokens[: (len(tokens) - 1) // 16 * 16].reshape(-1, 16)
    targets = tokens[1: windows.numel() + 1].reshape(-1, 16)
    loss = -model(windows).gather(2, targets.unsqueeze(2)).mean().item()
    assert math.isclose(loss, report["metrics"]["test"]["log_loss"], rel_tol=1e-5)


def test_predicting_rows_of_a_table_is_refused(site, report, tables):
    path = site.folder / "refused.pt"
    site.run_json("model", "export", "text", "--out", path)
    refused = site.run("model", "predict", path, "--input", tables["tiny/test"])
    assert refused.returncode == 4 and "reads text" in refused.stderr


def test_a_requirement_on_another_output_is_refused(site, report):
    answer = site.client().put(request_dn("wrong-output"), text_request("tiny-text", performanceRequirements=[
        {"inferenceOutputName": "delay", "performanceMetric": "MAE", "performanceScore": 1.0}]))
    assert answer.status == 400 and "next_character" in answer.words()


def test_text_in_another_encoding_ends_with_the_place(site):
    site.add_recipe(text_recipe("latin1", source="bad/latin1", test=""))
    site.client().put(request_dn("latin1"), text_request("latin1"))
    site.wait_status("latin1", "CANCELLED")
    site.wait_connected()
    assert "byte 1102" in site.reason("latin1") and "not UTF-8" in site.reason("latin1")


def test_a_text_shorter_than_a_sequence_is_refused(site):
    site.add_recipe(text_recipe("long", data={"source": "text/test", "text": {"sequence": 60000}}))
    site.client().put(request_dn("long"), text_request("long"))
    site.wait_status("long", "CANCELLED")
    site.wait_connected()
    assert "data.text.sequence 60000" in site.reason("long")
