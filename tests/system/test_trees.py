"""Boosted trees by the same request: several functions, one model, which plain LightGBM reads; a lost function."""
import csv
import json
import math
import os
import signal

import lightgbm
import numpy
import pytest

from harness import function_dn, request_attributes, request_dn

HISTORY = {"group": "drive", "value": "delay", "now": "sent", "known_at": "back", "last": 3}


def trees_recipe(name, source, target, strategy="data_parallel", trees=40, **changes):
    return {"name": name, "inference": f"muster:{name}",
            "data": {"source": source, "target": target, "validation": 0.2, **changes.pop("data", {})},
            "model": {"family": "gbdt", "trees": trees, "leaves": 7, **changes.pop("model", {})}, "loss": "mse",
            "distribution": {"strategy": strategy}, "metrics": ["MAE", "R2"], **changes}


def finished(site, recipe):
    name = recipe["name"]
    site.add_recipe(recipe)
    site.client().put(request_dn(name), request_attributes(aIMLInferenceName=f"muster:{name}", performanceRequirements=[
        {"inferenceOutputName": recipe["data"]["target"], "performanceMetric": "MAE", "performanceScore": 1000.0}]))
    site.wait_status(name, "FINISHED")
    site.wait_connected()
    path = site.folder / f"{name}.txt"
    site.run_json("model", "export", name, "--out", path)
    return site.run_json("report", name), path


def predicted(site, model, table):
    done = site.run("model", "predict", model, "--input", table, "--output", "json")
    assert done.returncode == 0, done.stderr
    return [row[0] for row in json.loads(done.stdout)["predictions"]]


def rows_of(table):
    with open(table, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_model(path):
    """(plain LightGBM's reading of it, what Muster keeps behind the trees)."""
    text = path.read_text()
    return lightgbm.Booster(model_str=text), json.loads(text[text.rindex("muster_model:") + len("muster_model:"):])


@pytest.fixture(scope="module")
def together(site):
    return finished(site, trees_recipe("tiny-trees", "tiny/train", "delay", data={"test": "tiny/test", "exclude": ["run"]},
                                       report_by=["cell"]))


def test_several_functions_make_the_trees_of_one(site, together):
    report, path = together
    assert len(report["participants"]) >= 2
    assert report["metrics"]["test"]["MAE"] < 0.3 * report["baselines"]["naive"]["test"]["MAE"]
    assert {each["group"] for each in report["groups"]["inputs"]["cell"]} == {"a", "b", "c"}
    alone, alone_path = finished(site, trees_recipe(
        "trees-alone", "tiny/train", "delay", "one_function", data={"test": "tiny/test", "exclude": ["run"]}))
    assert len(alone["participants"]) == 1
    trees = [file.read_text().split("\nmuster_model:")[0] for file in (path, alone_path)]
    assert trees[0] == trees[1]


def test_plain_lightgbm_reads_the_model_and_gives_the_same_numbers(site, together, tables):
    report, path = together
    booster, kept = read_model(path)
    assert booster.feature_name() == ["cell", "load", "speed"] and booster.num_trees() == 40
    cells = next(each for each in kept["preprocessing"]["inputs"] if each["name"] == "cell")["categories"]
    rows = rows_of(tables["tiny/test"])
    numbers = numpy.array([[cells.index(row["cell"]), float(row["load"] or "nan"), float(row["speed"])] for row in rows])
    ours = predicted(site, path, tables["tiny/test"])
    numpy.testing.assert_allclose(booster.predict(numbers), ours, rtol=1e-12)
    error = numpy.abs(numpy.array(ours) - [float(row["delay"]) for row in rows]).mean()
    assert error == pytest.approx(report["metrics"]["test"]["MAE"], rel=1e-6)


def test_a_cell_that_training_did_not_see_is_predicted(site, together, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text("cell,load,speed\nnew,5,60\n,5,60\n")
    first, second = predicted(site, together[1], table)
    assert math.isfinite(first) and first == second


def test_history_goes_into_the_model(site, tables):
    report, path = finished(site, trees_recipe(
        "drive-trees", "drives/train", "delay", data={"test": "drives/test", "exclude": ["sent"], "history": HISTORY}))
    assert report["metrics"]["test"]["MAE"] < 0.5 * report["baselines"]["naive"]["test"]["MAE"]
    assert read_model(path)[0].feature_name() == ["cell", "delay_last_1", "delay_last_2", "delay_last_3"]
    errors = [abs(prediction - float(row["delay"]))
              for prediction, row in zip(predicted(site, path, tables["drives/test"]), rows_of(tables["drives/test"]))]
    assert sum(errors) / len(errors) == pytest.approx(report["metrics"]["test"]["MAE"], rel=1e-6)


def test_windows_are_forecast(site, tables):
    report, path = finished(site, trees_recipe(
        "cell-trees", "cells/train", "load", loss="l1",
        data={"test": "cells/test", "windows": {"length": 4, "horizon": 1, "time": "hour", "series": "cell"}}))
    assert report["metrics"]["test"]["MAE"] < report["baselines"]["persistence"]["test"]["MAE"]
    assert read_model(path)[0].feature_name() == ["load.3_before", "load.2_before", "load.1_before", "hour.day", "hour.week", "load"]
    numbers = predicted(site, path, tables["cells/test"])
    assert sum(number is None for number in numbers) == 2 * 3  # rows of two cells with too few before them


def test_weights_are_nothing_that_trees_have(site, together):
    done = site.run("model", "export", "tiny-trees", "--format", "safetensors", "--out", site.folder / "none.safetensors")
    assert done.returncode == 4
    assert "boosted trees" in done.stderr, done.stderr


def test_the_others_grow_the_trees_when_a_function_is_lost(site):
    site.add_recipe(trees_recipe("lost-trees", "big/train", "delay", trees=3000, model={"learning_rate": 0.01},
                                 data={"exclude": ["run"]}))
    site.submit("lost-trees", aIMLInferenceName="muster:lost-trees")
    site.wait_training("lost-trees")
    victim, worker = next((name, pid) for name, program in site.functions.items()
                          for pid in program.children("muster-worker"))
    os.kill(worker, signal.SIGKILL)
    site.wait_status("lost-trees", "FINISHED")
    site.wait_connected()
    report = site.run_json("report", "lost-trees")
    assert len(report["participants"]) == 2 and function_dn(victim) not in json.dumps(report["participants"])
    path = site.folder / "lost.txt"
    site.run_json("model", "export", "lost-trees", "--out", path)
    assert read_model(path)[0].num_trees() == 3000
