"""Data that cannot be trained on: the job ends with the place, no model is published, every function is free again."""
import gzip
import json
import pathlib
import subprocess

import pytest

from harness import BIN, REPOSITORY, Site, function_dn, process_dn, recipe, report_dn, request_dn, rows, write_table


def fails(site, identity, **changes):
    """Submits, waits for the end, checks that nothing is left; gives the reason."""
    models = {dn for dn in site.client().objects(REPOSITORY)}
    site.submit(identity, **changes)
    site.wait_status(identity, "CANCELLED")
    objects = site.client().objects()
    assert objects[request_dn(identity)]["requestStatus"] == "CANCELLED"
    assert report_dn(identity) not in objects
    assert {dn for dn in objects if dn.startswith(REPOSITORY)} == models
    reason = site.reason(identity)
    assert reason.startswith("SYSTEM:")
    site.nothing_left()
    done = site.run("report", identity)
    assert done.returncode == 1, done.stderr
    return reason


def all_words(site, identity):
    return site.reason(identity) + json.dumps(site.container(process_dn(identity), "decision"))


@pytest.mark.parametrize("source,words", [
    ("bad/ragged", ("row 19", "3", "5")),              # the header is row 1; 3 fields instead of 5
    ("bad/text", ("row 43", "load", "fast")),
    ("bad/empty", ("empty.csv", "row")),
    ("bad/missing", ("load",))])
def test_bad_data_names_row_and_column(site, source, words):
    identity = source.replace("/", "-")
    reason = fails(site, identity, candidateTrainingDataSource=[source])
    for word in words:
        assert word in reason, reason


def test_target_column_that_is_not_there(site):
    site.add_recipe({**recipe("lost", "LOST"),
                     "data": {"source": "tiny/train", "target": "dely", "validation": 0.2}})
    reason = fails(site, "lost", aIMLInferenceName="LOST", performanceRequirements=[
        {"inferenceOutputName": "dely", "performanceMetric": "MAE", "performanceScore": 1000.0}])
    assert "dely" in reason and '"delay"' in reason, reason


def test_excluded_column_that_is_not_there(site):
    base = recipe("lost2", "LOST2")
    site.add_recipe({**base, "data": {**base["data"], "exclude": ["rum"]}})
    assert "rum" in fails(site, "lost2", aIMLInferenceName="LOST2")


def test_loss_that_is_not_finite(site):
    """Stopped in the step where it happened, reported, and nothing published."""
    site.add_recipe(recipe("explodes", "EXPLODES", loss="mse", optimizer={"name": "sgd", "learning_rate": 1e3},
                           batch=32, epochs=200))
    reason = fails(site, "explodes", aIMLInferenceName="EXPLODES")
    assert "not a number" in reason and "step" in reason, reason


def test_no_function_holds_the_data(site):
    """It waits with the reason, and is then given up with it."""
    site.submit("nodata", candidateTrainingDataSource=["tiny/nowhere"])
    site.wait_status("nodata", "CANCELLED")
    reason = site.reason("nodata")
    assert "tiny/nowhere" in reason
    for name in ("nwdaf-1", "gnb-1", "gnb-2"):
        assert function_dn(name) in reason, reason


def test_requirement_that_is_not_met_is_no_failure(site):
    site.submit("strict", performanceRequirements=[
        {"inferenceOutputName": "delay", "performanceMetric": "MAE", "performanceScore": 0.001}])
    site.wait_status("strict", "FINISHED")
    assert "REQUIREMENTS_NOT_MET" in site.reason("strict") and "MAE" in site.reason("strict")
    site.nothing_left()


def test_a_function_with_other_rows_is_left_out_and_named(site, tmp_path):
    """Two functions hold the same compressed rows, one holds others under the same name."""
    lines = rows(400, seed=1)
    plain = write_table(tmp_path / "a.csv", lines)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    other = write_table(tmp_path / "c.csv", rows(400, seed=9))
    own = Site(tmp_path / "site", {})
    try:
        own.start_producer()
        for name, file in (("gnb-1", packed), ("gnb-2", packed), ("gnb-3", other)):
            own.start_function(name, data=[{"name": "tiny/train", "file": str(file)}])
        own.wait_connected()
        own.add_recipe({**recipe(), "data": {"source": "tiny/train", "target": "delay", "exclude": ["run"]}})
        own.submit("packed")
        own.wait_status("packed", "FINISHED")
        decision = own.container(process_dn("packed"), "decision")
        excluded = {each["dn"]: each for each in decision["excluded"]}
        assert "other content" in json.dumps(excluded[function_dn("gnb-3")])
    finally:
        own.stop()


# Policies of the functions.


def test_every_function_refuses_and_all_reasons_are_shown(tmp_path, tables):
    own = Site(tmp_path, tables)
    try:
        own.start_producer()
        own.start_function("gnb-1", policy={"consumers": ["SubNetwork=1,ManagedElement=somebody"]})
        own.start_function("gnb-2", policy={"peers": ["SubNetwork=9,*"], "consumers": ["none"]})
        own.start_function("gnb-3", policy={"inference_names": ["OTHER"]})
        own.wait_connected()
        own.add_recipe(recipe())
        own.submit("unwanted")
        own.wait_status("unwanted", "CANCELLED")
        reason = own.reason("unwanted")
        for name in ("gnb-1", "gnb-2", "gnb-3"):
            assert function_dn(name) in reason, reason
        assert "policy_consumer" in all_words(own, "unwanted")
        own.nothing_left()
    finally:
        own.stop()


def test_the_cache_makes_room_but_not_of_what_a_worker_uses(site, tables, tmp_path):
    """The lock on a matrix is the worker's: it outlives whoever has opened it."""
    site.submit("cached", aIMLInferenceName="ENDLESS")
    site.wait_training("cached")
    name = next(name for name, program in site.functions.items() if program.children("muster-worker"))
    cache = site.folder / "functions" / name / "cache"

    def make_room(source):
        """Encodes another source into a cache without room; gives the matrices that are left."""
        request = tmp_path / "request.json"
        request.write_text(json.dumps({"train": str(tables[source]), "test": None, "recipe": recipe()}))
        done = subprocess.run([BIN / "muster-data", "--request", request, "--cache", cache,
                               "--cache-bytes-max", "0"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout
        newest = pathlib.Path(json.loads(done.stdout)["folder"])
        return {path.parent.name for path in cache.glob("*/matrix.json")}, newest

    left, newest = make_room("big/train")
    assert len(left - {newest.name}) == 1, "the one in use"
    site.cancel("cached")
    site.wait_status("cached", "CANCELLED")
    site.nothing_left()
    left, newest = make_room("tiny/test")
    assert left == {newest.name}
