"""Rows that stay at the sites that own them: each site has a part of a real table under the same name."""
import csv
import gzip
import json
import os
import signal
import sys

import pytest

import harness
from harness import ROOT, function_dn, process_dn, request_attributes, request_dn, wait_for

NAMES = ("gnb-1", "gnb-2", "gnb-3")
PARTS = (0.55, 0.10, 0.35)


def split(name, folder):
    """{function: file}: consecutive rows of an example, and all of them for "whole"."""
    with gzip.open(ROOT / "examples" / "housing" / name, "rt") as file:
        header, *lines = file.read().splitlines()
    files, begin = {}, 0.0
    for function, part in zip(NAMES, PARTS):
        own = lines[round(begin * len(lines)):round((begin + part) * len(lines))]
        begin += part
        files[function] = folder / function / name.replace(".gz", "")
        files[function].parent.mkdir(parents=True, exist_ok=True)
        files[function].write_text("\n".join([header, *own]) + "\n")
    files["whole"] = ROOT / "examples" / "housing" / name
    return files


def housing(name, source, **changes):
    data = {"source": f"{source}/train", "test": f"{source}/test", "target": "median_house_value", "validation": 0.1,
            "layout": "pinned" if source == "housing" else "whole"}
    return {"name": name, "data": data, "model": {"family": "mlp", "hidden": [64, 64]}, "loss": "mse",
            "optimizer": {"name": "adamw", "learning_rate": 3e-3, "schedule": "cosine"}, "batch": 512, "epochs": 15,
            "metrics": ["R2", "MAE", "RMSE"], "seed": 3, **changes}


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Three functions with rows of their own under one name; the first also has a whole copy under another."""
    folder = tmp_path_factory.mktemp("pinned")
    train, test = split("train.csv.gz", folder), split("test.csv.gz", folder)
    site = harness.Site(folder, {})
    try:
        site.start_producer()
        for name, cores in zip(NAMES, (0.3, 0.5, 0.4)):
            data = [{"name": "housing/train", "file": str(train[name])}, {"name": "housing/test", "file": str(test[name])}]
            if name == "gnb-1":
                data += [{"name": "whole/train", "file": str(train["whole"])},
                         {"name": "whole/test", "file": str(test["whole"])}]
            site.start_function(name, data=data, capacity={"cpu_cores": cores, "bandwidth_mbit": 1000})
        site.wait_connected()
        yield site
    finally:
        site.stop()
        print(site.logs(), file=sys.stderr)


def submit(site, name, recipe):
    site.add_recipe(recipe)
    answer = site.client().put(request_dn(name), request_attributes(
        aIMLInferenceName=f"muster:{name}", performanceRequirements=[
            {"inferenceOutputName": "median_house_value", "performanceMetric": "R2", "performanceScore": 10.0}]))
    assert answer.status == 201, answer.words()


def train(site, name, recipe):
    submit(site, name, recipe)
    site.wait_status(name, "FINISHED", seconds=200)
    site.wait_connected()
    return site.run_json("report", name)


@pytest.fixture(scope="module")
def report(sites):
    return train(sites, "pinned", housing("pinned", "housing"))


def test_all_sites_train_as_much_as_they_own_whatever_their_speed(sites, report):
    decision = sites.container(process_dn("pinned"), "decision")
    assert decision["chosen"] == "data, pinned" and decision["data"]["layout"] == "pinned"
    assert "rows stay at their sites" in decision["why"], decision["why"]
    parts = {each["dn"]: each["rows_part"] for each in report["participants"]}
    for name, part in zip(NAMES, PARTS):
        assert parts[function_dn(name)] == pytest.approx(part, abs=0.002)


def test_no_row_leaves_its_site(sites, report):
    assert report["participants"]
    agreement = json.loads(sites.container(process_dn("pinned"), "agreement")["agreement"])
    assert agreement["layout"] == "pinned" and agreement["matrix_digest"] == ""
    assert all(source["digest"] == "" for source in agreement["sources"])
    assert all(member["holds_data"] for member in agreement["members"])
    assert len({member["matrix_digest"] for member in agreement["members"]}) == 3
    assert sum(member["rows"] for member in agreement["members"]) == pytest.approx(0.9 * 16512, abs=3)
    for name in NAMES:
        log = (sites.folder / f"{name}.log").read_text()
        assert "rows leave this function, none of fewer than 10" in log
        # What is encoded lies at its site alone: as many rows as it owns.
        (matrix,) = [path for path in (sites.folder / "functions" / name).glob("cache/*/matrix.json")
                     if "pinned" not in path.parts and json.loads(path.read_text())["info"]["rows"] < 16512]
        own = sum(1 for _ in open(sites.folder / name / "train.csv", encoding="utf-8")) - 1
        assert json.loads(matrix.read_text())["info"]["rows"] == own


def test_categories_of_few_rows_stay_at_their_sites(sites, report):
    """Five houses of 16512 are on islands."""
    assert report["participants"]
    with open(sites.folder / "gnb-1" / "train.csv", encoding="utf-8") as file:
        seen = {row["ocean_proximity"] for row in csv.DictReader(file)}
    for name in NAMES:
        with open(sites.folder / name / "train.csv", encoding="utf-8") as file:
            seen |= {row["ocean_proximity"] for row in csv.DictReader(file)}
        for path in (sites.folder / "functions" / name).glob("cache/*/matrix.json"):
            matrix = json.loads(path.read_text())
            if matrix["info"]["rows"] < 16512:
                (inputs,) = [each for each in matrix["preprocessing"]["inputs"] if each["name"] == "ocean_proximity"]
                assert "ISLAND" not in inputs["categories"] and "INLAND" in inputs["categories"]
    assert "ISLAND" in seen


def test_scores_are_those_of_all_rows_and_close_to_whole_data(sites, report):
    whole = train(sites, "whole", housing("whole", "whole"))
    for rows in ("validation", "test"):
        mine, theirs = report["metrics"][rows], whole["metrics"][rows]
        assert mine["R2"] > 60 and abs(mine["R2"] - theirs["R2"]) < 5, (rows, mine, theirs)
    assert "linear" not in report["baselines"] and report["baselines"]["naive"]["test"]["RMSE"] > 0


def test_a_recipe_that_asks_for_what_rows_cannot_tell_is_refused(sites):
    answer = sites.client().request("POST", "/muster/v1/recipes", housing("groups", "housing", report_by=["ocean_proximity"]))
    assert answer.status == 400 and "/report_by" in answer.words(), answer.words()


def test_without_the_layout_the_reason_says_what_to_write(sites):
    recipe = housing("open", "housing", epochs=1)
    del recipe["data"]["layout"]
    train(sites, "open", recipe)
    assert "data.layout: pinned" in json.dumps(sites.container(process_dn("open"), "decision")["excluded"])


def test_a_site_that_dies_is_waited_for(sites):
    submit(sites, "long", housing("long", "housing", epochs=100_000))
    sites.wait_training("long", seconds=100)
    (worker,) = sites.functions["gnb-2"].children("muster-worker")
    for pid in (sites.functions["gnb-2"].process.pid, worker):
        os.kill(pid, signal.SIGKILL)
    sites.wait_status("long", "SUSPENDED", seconds=40)
    assert sites.reason("long").startswith("SYSTEM: ") and function_dn("gnb-2") in sites.reason("long")
    wait_for("the reason to wait", lambda: function_dn("gnb-2") in sites.process("long")["progressStatus"]
             .get("progressStateInfo", ""), 40)
    sites.functions["gnb-2"].stop()
    sites.again("gnb-2")
    sites.wait_training("long", seconds=100)
    sites.cancel("long")
    sites.wait_status("long", "CANCELLED")
    sites.nothing_left()


def test_a_site_that_dies_is_done_without_where_the_producer_is_told_so(tmp_path):
    site = harness.Site(tmp_path, {}, producer={"missing_rows": "go_on"})
    try:
        site.start_producer()
        for index, name in enumerate(NAMES):
            file = harness.write_table(tmp_path / f"{name}.csv", harness.rows(200, seed=20 + index))
            site.start_function(name, data=[{"name": "tiny/train", "file": str(file), "pinned": True}])
        site.wait_connected()
        # What the catalogues say is enough.
        site.add_recipe(harness.recipe(test="", epochs=3000))
        site.submit("less")
        site.wait_training("less")
        site.functions["gnb-2"].kill()
        site.wait_status("less", "FINISHED", seconds=200)
        report = site.run_json("report", "less")
        assert report["layout"] == "pinned" and report["rows_missing"] == [function_dn("gnb-2")]
        assert sorted(each["dn"] for each in report["participants"]) == [function_dn("gnb-1"), function_dn("gnb-3")]
        assert "without those of gnb-2" in site.run("report", "less").stdout
    finally:
        site.stop()
        print(site.logs(), file=sys.stderr)
