"""Rows that a holder ships to a function without them: by leave of its catalogue, resumed after a cut, gone at the end."""
import math
import os
import pathlib
import signal
import sys

import pytest

import harness
from harness import Site, function_dn, process_dn, recipe, request_attributes, request_dn, wait_for

CONSUMER = request_attributes()["trainingRequestSource"]
HOLDER, HELPER = function_dn("gnb-1"), function_dn("gnb-2")
CAPACITY = {"cpu_cores": 0.5, "bandwidth_mbit": 1000}


@pytest.fixture
def holder_and_helper(tmp_path):
    """Starts a site whose first function has 60,000 rows and the second none."""
    train = harness.write_table(tmp_path / "train.csv", harness.rows(60_000, seed=5))
    test = harness.write_table(tmp_path / "test.csv", harness.rows(500, seed=6))
    site = Site(tmp_path / "site", {"wide/train": train, "wide/test": test})

    def start(to=HELPER, consumer=CONSUMER, mbit=0):
        site.start_producer()
        data = [{"name": source, "file": str(file), "rows_may_leave": [{"to": to, "consumer": consumer}]}
                for source, file in site.sources.items()]
        site.start_function("gnb-1", capacity=CAPACITY, data=data, policy={"shipping_mbit_max": mbit})
        site.start_function("gnb-2", capacity=CAPACITY, data=[])
        return site.wait_connected()
    yield start
    site.stop()
    print(site.logs(), file=sys.stderr)


def add(site, strategy):
    name = f"wide-{strategy.replace('_', '-')}"
    site.add_recipe(recipe(name, inference=name.upper(), source="wide/train", test="wide/test", batch=512, epochs=1,
                           number_type="fp64", distribution={"strategy": strategy}))
    return name


def submit(site, name):
    answer = site.client().put(request_dn(name), request_attributes(aIMLInferenceName=name.upper()))
    assert answer.status == 201, answer.words()


def train(site, strategy):
    name = add(site, strategy)
    submit(site, name)
    site.wait_status(name, "FINISHED")
    site.wait_connected()
    return site.run_json("report", name)


def files_of(site, name):
    """Of a function's state what could hold rows, and what its processes have open without a name."""
    folder = site.folder / "functions" / name
    named = [file for file in folder.rglob("*") if file.name.startswith(("train.", "test."))]
    opened = []
    for pid in [site.functions[name].process.pid, *site.functions[name].children("muster-worker")]:
        for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(link)
            if "/arrivals/" in target:
                opened.append(target)
    return named, opened


def test_a_function_without_the_rows_trains_the_same_model_and_keeps_none(holder_and_helper):
    site = holder_and_helper()
    alone, together = train(site, "one_function"), train(site, "data_parallel")
    assert [each["dn"] for each in together["participants"]] == [HOLDER, HELPER]
    assert all(each["rows"] > 0 for each in together["participants"])
    for rows, scores in alone["metrics"].items():
        assert math.isclose(scores["MAE"], together["metrics"][rows]["MAE"], rel_tol=1e-8), rows
    (receipt,) = together["shipments"]
    assert (receipt["from"], receipt["to"], receipt["resumed_from"]) == (HOLDER, HELPER, 0)
    assert receipt["bytes"] > 1_000_000 and len(receipt["digest"]) == 64
    words = site.run("report", "wide-data-parallel").stdout
    assert "shipped" in words and "gnb-1" in words, words
    decision = site.container(process_dn("wide-data-parallel"), "decision")
    assert "gnb-1 ships" in decision["why"], decision["why"]
    agreement = site.container(process_dn("wide-data-parallel"), "agreement")["agreement"]
    assert f'"rows_from":"{HOLDER}"' in agreement
    assert files_of(site, "gnb-2") == ([], [])
    site.nothing_left()


def test_a_cut_in_the_middle_resumes(holder_and_helper):
    site = holder_and_helper(mbit=1)
    name = add(site, "data_parallel")
    submit(site, name)

    def shipped():
        words = site.process(name).get("progressStatus", {}).get("progressStateInfo", "")
        return words.startswith("SHIPPING") and int(words.split()[-2]) >= 30
    wait_for("30 % shipped", shipped)
    assert files_of(site, "gnb-2")[1], "the rows are on their way into files without a name"
    os.kill(site.functions["gnb-2"].children("muster-worker")[0], signal.SIGKILL)
    site.wait_status(name, "FINISHED")
    (receipt,) = site.run_json("report", name)["shipments"]
    assert 0.3 * receipt["bytes"] < receipt["resumed_from"] < receipt["bytes"], receipt
    site.nothing_left()
    assert files_of(site, "gnb-2") == ([], [])


def test_rows_stay_where_the_catalogue_names_somebody_else(holder_and_helper):
    site = holder_and_helper(consumer="SubNetwork=1,ManagedElement=somebody")
    name = add(site, "data_parallel")
    submit(site, name)
    site.wait_status(name, "CANCELLED")
    assert "it needs two functions that hold the data" in site.reason(name), site.reason(name)
    assert f"{HELPER} does not hold the data" in site.reason(name), site.reason(name)
