"""History: what earlier messages of a drive told until a row was made; scores by cell; an archive that takes raw rows."""
import csv
import json
import math

import pytest
import torch

from harness import recipe, request_attributes, request_dn

HISTORY = {"group": "drive", "value": "delay", "now": "sent", "known_at": "back", "last": 3, "window": 5,
           "statistics": ["mean", "median"], "outstanding": True, "since_last": True}


def drive_recipe(name, **changes):
    data = {"source": "drives/train", "test": "drives/test", "target": "delay", "exclude": ["sent"], "validation": 0.1,
            "validation_rows": "end", "history": HISTORY, **changes}
    return recipe(name, f"muster:{name}", data=data, epochs=60, report_by=["cell"],
                  optimizer={"name": "adamw", "learning_rate": 0.01})


@pytest.fixture(scope="module")
def report(site):
    site.add_recipe(drive_recipe("drives"))
    site.client().put(request_dn("drives"), request_attributes(aIMLInferenceName="muster:drives"))
    site.wait_status("drives", "FINISHED")
    site.wait_connected()
    return site.run_json("report", "drives")


@pytest.fixture(scope="module")
def model(site, report):
    path = site.folder / "drives.pt"
    site.run_json("model", "export", "drives", "--out", path)
    return path


def test_what_was_known_is_worth_much(report):
    assert len(report["participants"]) >= 1
    assert report["metrics"]["test"]["MAE"] < 0.5 * report["baselines"]["naive"]["test"]["MAE"]


def test_each_cell_has_its_scores(site, report):
    groups = report["groups"]
    assert groups["rows"] == "test"
    cells = groups["inputs"]["cell"]
    assert [each["group"] for each in cells] == ["a", "b"]
    assert sum(each["rows"] for each in cells) == 300
    mean = sum(each["rows"] * each["MAE"] for each in cells) / 300
    assert mean == pytest.approx(report["metrics"]["test"]["MAE"], rel=1e-9)
    shown = site.run("report", "drives").stdout
    assert "Scores by category, on test rows" in shown


def test_predictions_from_raw_rows_have_the_error_of_the_report(site, report, model, tables):
    done = site.run("model", "predict", model, "--input", tables["drives/test"], "--output", "json")
    assert done.returncode == 0, done.stderr
    predictions = [row[0] for row in json.loads(done.stdout)["predictions"]]
    with open(tables["drives/test"], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = [abs(prediction - float(row["delay"])) for prediction, row in zip(predictions, rows)]
    assert sum(errors) / len(errors) == pytest.approx(report["metrics"]["test"]["MAE"], rel=1e-5)
    archive = torch.jit.load(str(model))
    assert archive.number_names == ["delay", "sent", "back"] and archive.category_names == ["cell", "drive"]
    assert archive.history_names == ["drive", "delay", "sent", "back"]
    numbers = torch.tensor([[float(row[name]) for name in archive.number_names] for row in rows], dtype=torch.float64)
    outputs = archive(numbers, [[row[name] for name in archive.category_names] for row in rows])
    assert torch.allclose(outputs[:, 0], torch.tensor(predictions, dtype=torch.float64))


def test_the_next_message_is_predicted_before_its_delay_is_known(site, model, tables, tmp_path):
    with open(tables["drives/test"], encoding="utf-8") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["drive"] == "w"), key=lambda row: float(row["sent"]))
    whole = tmp_path / "whole.csv"
    unknown = tmp_path / "unknown.csv"
    newest = {**rows[50], "delay": "", "back": ""}
    for path, lines in ((whole, rows[:51]), (unknown, [*rows[:50], newest])):
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(lines)
    known, blind = (json.loads(site.run("model", "predict", model, "--input", path, "--output", "json").stdout)
                    for path in (whole, unknown))
    assert math.isclose(known["predictions"][50][0], blind["predictions"][50][0], rel_tol=1e-12)


@pytest.mark.parametrize("change, words", [
    ({"known_at": "bak"}, "/data/history/known_at"),
    ({"known_at": "sent", "now": "back"}, "before its row was made")])
def test_a_history_that_the_data_does_not_give_is_refused(site, change, words):
    name = f"bad-history-{len(words)}"
    site.add_recipe(drive_recipe(name, exclude=[], history={**HISTORY, **change}))
    site.client().put(request_dn(name), request_attributes(aIMLInferenceName=f"muster:{name}"))
    site.wait_status(name, "CANCELLED")
    site.wait_connected()
    assert words in site.reason(name)


def test_scores_by_what_is_no_category_are_refused(site):
    site.add_recipe({**drive_recipe("by-number"), "report_by": ["delay_last_1"]})
    site.client().put(request_dn("by-number"), request_attributes(aIMLInferenceName="muster:by-number"))
    site.wait_status("by-number", "CANCELLED")
    site.wait_connected()
    assert "/report_by/0" in site.reason("by-number") and "cell" in site.reason("by-number")
