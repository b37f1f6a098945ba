"""Forecasts by the same request: series of two cells, three functions, a report, a model that plain PyTorch loads."""
import csv
import datetime
import json
import math

import pytest
import torch

from harness import forecast_recipe, request_attributes, request_dn


def forecast_request(recipe, **changes):
    requirement = {"inferenceOutputName": "load", "performanceMetric": "MAE", "performanceScore": 50.0}
    return request_attributes(**{"aIMLInferenceName": f"muster:{recipe}", "performanceRequirements": [requirement], **changes})


@pytest.fixture(scope="module")
def report(site):
    site.add_recipe(forecast_recipe())
    site.client().put(request_dn("forecast"), forecast_request("tiny-forecast"))
    site.wait_status("forecast", "FINISHED")
    site.wait_connected()
    return site.run_json("report", "forecast")


@pytest.fixture(scope="module")
def model(site, report):
    path = site.folder / "forecast.pt"
    site.run_json("model", "export", "forecast", "--out", path)
    return path


def test_scores_beat_the_last_value(report):
    test = report["metrics"]["test"]["MAE"]
    assert test < 0.7 * report["baselines"]["persistence"]["test"]["MAE"]
    assert report["baselines"]["linear"]["test"]["MAE"] < report["baselines"]["naive"]["test"]["MAE"]


def series_of(table):
    """{cell: [(seconds, load, row), ...]} in the order of time."""
    cells = {}
    with open(table, encoding="utf-8") as file:
        for row, line in enumerate(csv.DictReader(file)):
            when = datetime.datetime.fromisoformat(line["hour"]).replace(tzinfo=datetime.timezone.utc).timestamp()
            cells.setdefault(line["cell"], []).append((when, float(line["load"]), row))
    return {cell: sorted(rows) for cell, rows in cells.items()}


def test_predictions_are_those_of_plain_pytorch_and_have_the_error_of_the_report(site, report, model, tables):
    archive = torch.jit.load(str(model))
    assert (archive.window, archive.horizon, archive.time_name, archive.series_name) == (8, 1, "hour", "cell")
    assert archive.number_names == ["hour", "load"] and archive.date_names == ["hour"]
    done = site.run("model", "predict", model, "--input", tables["cells/test"], "--output", "json")
    assert done.returncode == 0, done.stderr
    predictions = json.loads(done.stdout)["predictions"]
    errors = []
    for rows in series_of(tables["cells/test"]).values():
        outputs = archive(torch.tensor([[when, load] for when, load, _ in rows], dtype=torch.float64), [])
        assert outputs.shape == (len(rows) - 7, 1)
        assert all(predictions[row] == [None] for _, _, row in rows[:7]), "too few rows before them"
        loads = {when: load for when, load, _ in rows}
        for (when, _, row), output in zip(rows[7:], outputs):
            assert math.isclose(predictions[row][0], output.item(), rel_tol=1e-6)
            if when + 3600 in loads:
                errors.append(abs(output.item() - loads[when + 3600]))
    assert math.isclose(sum(errors) / len(errors), report["metrics"]["test"]["MAE"], rel_tol=1e-5)


@pytest.mark.parametrize("windows, words", [
    ({"length": 8, "time": "our", "series": "cell"}, "/data/windows/time"),
    ({"length": 8, "time": "cell"}, "is no time"),
    ({"length": 8, "time": "hour"}, "data.windows.series"),
    ({"length": 60000, "time": "hour", "series": "cell"}, "no series has 60000 rows")])
def test_windows_that_the_data_does_not_give_are_refused(site, windows, words):
    name = f"bad-windows-{words.split()[-1].strip('/').replace('/', '-').replace('.', '-')}"
    site.add_recipe(forecast_recipe(name, windows=windows))
    site.client().put(request_dn(name), forecast_request(name))
    site.wait_status(name, "CANCELLED")
    site.wait_connected()
    assert words in site.reason(name), site.reason(name)
