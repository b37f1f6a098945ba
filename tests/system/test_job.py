"""The main job: a request over HTTPS, three unequal functions, a report, a model that plain PyTorch loads."""
import base64
import csv
import hashlib
import json
import math
import os
import pathlib
import sys

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from harness import (FLAT, OWN, REPOSITORY, ROOT, TREE, function_dn, path_of, process_dn, recipe, report_dn,
                     request_attributes, request_dn)

FUNCTIONS = [function_dn(name) for name in ("nwdaf-1", "gnb-2", "gnb-1")]


@pytest.fixture(scope="module")
def objects(site, finished):
    return site.client().objects()


@pytest.fixture(scope="module")
def report(site, finished):
    return site.run_json("report", finished)


@pytest.fixture(scope="module")
def model_file(site, finished):
    path = site.folder / "model.pt"
    site.run_json("model", "export", finished, "--out", path)
    return path


def test_put_creates_and_names_the_place(site):
    answer = site.client().put(request_dn("created"), request_attributes())
    assert answer.status == 201
    assert answer.headers["Location"].endswith("/ProvMnS/v1/" + request_dn("created").replace(",", "/"))
    assert answer.body["id"] == "created" and answer.body["objectClass"] == "MLTrainingRequest"
    assert answer.body["attributes"]["aIMLInferenceName"] == "TINY_DELAY"
    site.wait_status("created", "FINISHED")
    site.wait_connected()


def test_read_only_values_are_ignored_at_creation(site):
    answer = site.client().put(request_dn("readonly"), request_attributes(requestStatus="FINISHED"))
    assert answer.status == 201 and answer.body["attributes"]["requestStatus"] != "FINISHED"
    site.wait_status("readonly", "FINISHED")
    site.wait_connected()


def test_post_chooses_an_id(site):
    body = {"id": None, "objectClass": "MLTrainingRequest", "attributes": request_attributes()}
    answer = site.client().request("POST", path_of(OWN), body)
    assert answer.status == 201 and answer.body["id"] and answer.headers["Location"].endswith(answer.body["id"])
    site.wait_status(answer.body["id"], "FINISHED")
    site.wait_connected()


def test_the_id_of_a_deleted_request_stays_used(site, tmp_path):
    """The refusal names what came out of it; for scripts that repeat a submit it is a success."""
    client = site.client()
    site.submit("gone")
    site.wait_status("gone", "FINISHED")
    site.wait_connected()
    assert client.delete(request_dn("gone")).status == 204
    answer = client.put(request_dn("gone"), request_attributes())
    assert answer.status == 409 and report_dn("gone") in answer.words()
    (tmp_path / "request.json").write_text(json.dumps(request_attributes()))
    repeated = site.run_json("submit", "-f", tmp_path / "request.json", "--token", "gone")
    assert repeated["repeated"] is True
    assert client.get(request_dn("gone")).status == 404


def test_request_process_report_and_model_have_the_standards_attributes(objects, finished):
    request, process = objects[request_dn(finished)], objects[process_dn(finished)]
    report = objects[report_dn(finished)]
    assert request["requestStatus"] == "FINISHED"
    assert process["progressStatus"]["status"] == "FINISHED"
    assert process["progressStatus"]["progressPercentage"] == 100
    assert process["trainingRequestRef"] in (request_dn(finished), [request_dn(finished)])
    assert process["trainingReportRef"] == report_dn(finished)
    model = report["mLModelGeneratedRef"]
    assert model.startswith(REPOSITORY + ",MLModel=") and model in objects
    assert objects[model]["aIMLInferenceName"] == "TINY_DELAY"
    assert objects[model]["mLModelId"] and objects[model]["mLModelVersion"]
    metrics = {each["performanceMetric"] for each in report["modelPerformanceTraining"]}
    assert "MAE" in metrics
    assert report["areNewTrainingDataUsed"] is True or report["areNewTrainingDataUsed"] is False


def test_functions_stand_under_their_managed_element(objects):
    for dn in FUNCTIONS:
        assert objects[dn]["supportedLearningTechnology"] == {"learningTechnologyName": ["DL"]}
        capacity = objects[dn + ",VsDataContainer=capacity"]["vsData"]
        assert capacity["connected"] is True
        assert 0 < capacity["capacity"]["cpu_cores"] <= 0.5
        assert capacity["capacity"]["bandwidth_bits_per_second"] == 10**9
        assert {"name", "bytes", "digest", "may_leave"} <= set(capacity["sources"][0])


def test_report_says_who_trained_and_why(report):
    assert {each["dn"] for each in report["participants"]} <= set(FUNCTIONS)
    assert sum(each["share"] for each in report["participants"]) == pytest.approx(1.0)
    assert report["decision"]["chosen"] and report["decision"]["why"]


def test_several_functions_train_together(site):
    """Steps that are worth sharing go to all, by speed, and all have signed the same plan."""
    site.add_recipe(recipe("heavy", "HEAVY", source="big/train", model={"family": "mlp", "hidden": [512, 512]},
                           batch=4000, epochs=6))
    site.submit("together", aIMLInferenceName="HEAVY")
    site.wait_status("together", "FINISHED")
    report = site.run_json("report", "together")
    shares = {each["dn"]: each["share"] for each in report["participants"]}
    assert set(shares) == set(FUNCTIONS), report["decision"]
    assert shares[FUNCTIONS[0]] > shares[FUNCTIONS[2]] > 0
    assert sum(each["batch_rows"] for each in report["participants"]) == 4000
    assert all(each["bytes_sent"] > 0 for each in report["participants"])
    agreement = site.container(process_dn("together"), "agreement")
    assert hashlib.sha256(agreement["agreement"].encode()).hexdigest() == agreement["plan_digest"]
    assert {each["dn"] for each in agreement["signatures"]} == set(FUNCTIONS)
    site.wait_connected()


def test_signatures_of_an_agreement_can_be_checked(site, finished):
    agreement = site.container(process_dn(finished), "agreement")
    assert agreement["signatures"]
    for each in agreement["signatures"]:
        certificate = x509.load_pem_x509_certificate(each["certificate"].encode())
        certificate.public_key().verify(base64.b64decode(each["signature"]), agreement["plan_digest"].encode(),
                                        ec.ECDSA(hashes.SHA256()))


def test_report_compares_with_baselines_and_prediction(report):
    assert report["metrics"]["test"]["MAE"] > 0 and report["metrics"]["validation"]["R2"] <= 100
    assert report["baselines"]["naive"]["test"]["MAE"] > 0 and report["baselines"]["linear"]["test"]["MAE"] > 0
    assert report["predicted_seconds"] > 0 and report["measured_seconds"] > 0
    assert report["timings"]["total_seconds"] > 0


SCOPES = [
    ({"scopeType": "BASE_ONLY"}, lambda depth: depth == 0),
    ({"scopeType": "BASE_ALL"}, lambda depth: True),
    ({"scopeType": "BASE_NTH_LEVEL", "scopeLevel": 2}, lambda depth: depth == 2),
    ({"scopeType": "BASE_SUBTREE", "scopeLevel": 1}, lambda depth: depth <= 1),
]


@pytest.mark.parametrize("scope,selects", SCOPES, ids=lambda each: each["scopeType"] if isinstance(each, dict) else "")
def test_scope_selects_by_depth(site, objects, scope, selects):
    """Both ways to write a scope select the same objects."""
    expected = {dn for dn in objects if selects(dn.count(","))}
    client = site.client()
    as_json = client.get("SubNetwork=1", scope)
    exploded = client.get("SubNetwork=1", query="?" + "&".join(f"{key}={value}" for key, value in scope.items()))
    assert as_json.status == exploded.status == 200
    found = {each["objectInstance"] for each in as_json.body}
    assert found == {each["objectInstance"] for each in exploded.body}
    assert expected <= found and all(selects(dn.count(",")) for dn in found)
    assert as_json.headers["Content-Type"].startswith(FLAT)


def test_hierarchical_form_nests_children_by_class(site, finished):
    answer = site.client().get("SubNetwork=1", {"scopeType": "BASE_ALL"}, accept=TREE)
    assert answer.status == 200 and answer.headers["Content-Type"].startswith(TREE)
    tree = answer.body
    assert tree["objectClass"] == "SubNetwork" and "objectInstance" not in tree["MLTrainingFunction"][0]["attributes"]
    own = next(each for each in tree["MLTrainingFunction"] if each["id"] == "mlt")
    assert finished in [each["id"] for each in own["MLTrainingRequest"]]
    process = next(each for each in own["MLTrainingProcess"] if each["id"] == finished)
    assert {"decision", "agreement"} <= {each["id"] for each in process["VsDataContainer"]}


def test_attributes_and_fields_select_parts(site, finished):
    answer = site.client().get(request_dn(finished), query="?attributes=requestStatus")
    assert answer.body[0]["attributes"] == {"requestStatus": "FINISHED"}
    answer = site.client().get(process_dn(finished), query="?fields=/attributes/progressStatus/status")
    assert answer.body[0]["attributes"] == {"progressStatus": {"status": "FINISHED"}}


def test_what_is_served_is_valid_by_the_standard(site, objects):
    folder = os.environ.get("MUSTER_3GPP_DIR")
    if not folder:
        pytest.skip("MUSTER_3GPP_DIR is not set: the 3GPP OpenAPI files are not part of this repository")
    jsonschema = pytest.importorskip("jsonschema")
    sys.path.insert(0, str(ROOT / "tests" / "conformance"))
    try:
        from openapi import Specification
        from test_class_tables import CLASSES
    finally:
        sys.path.pop(0)
    specification = Specification(folder)
    seen = set()
    for dn, attributes in objects.items():
        name, identity = dn.rsplit(",", 1)[-1].split("=", 1)
        place = CLASSES[name]
        if not place[1].endswith("-Single"):
            continue  # the standard's schema of these cannot be used, see the conformance tests
        resource = {"id": identity, "objectClass": name, "objectInstance": dn, "attributes": attributes}
        jsonschema.Draft7Validator(specification.bundle(*place)).validate(resource)
        seen.add(name)
    assert {"MLTrainingFunction", "MLTrainingRequest", "MLTrainingProcess", "MLTrainingReport", "MLModel",
            "MLModelRepository", "VsDataContainer"} <= seen


def read_raw(path, model):
    """Rows of a CSV file as the archive takes them."""
    with path.open() as stream:
        table = list(csv.DictReader(stream))
    numbers = [[float(row[name]) if row[name] else math.nan for name in model.number_names] for row in table]
    return torch.tensor(numbers, dtype=torch.float64), [[row[name] for name in model.category_names] for row in table]


def test_plain_pytorch_gets_the_numbers_of_predict(site, model_file, tables):
    model = torch.jit.load(str(model_file))
    assert model.number_names == ["load", "speed"] and model.category_names == ["cell"]
    assert model.target_name == "delay" and model.task == "regression"
    expected = model(*read_raw(tables["tiny/test"], model))
    predicted = site.run_json("model", "predict", model_file, "--input", tables["tiny/test"])
    assert predicted["output"] == "delay"
    assert torch.allclose(torch.tensor(predicted["predictions"], dtype=torch.float64), expected, rtol=1e-9, atol=1e-9)


def test_the_exported_model_has_the_reported_error(report, model_file, tables):
    model = torch.jit.load(str(model_file))
    outputs = model(*read_raw(tables["tiny/test"], model)).squeeze(1)
    with tables["tiny/test"].open() as stream:
        truth = torch.tensor([float(row["delay"]) for row in csv.DictReader(stream)], dtype=torch.float64)
    assert (outputs - truth).abs().mean().item() == pytest.approx(report["metrics"]["test"]["MAE"], rel=1e-3)


def test_the_archive_has_the_digest_of_its_container(site, objects, finished, model_file):
    model = objects[report_dn(finished)]["mLModelGeneratedRef"]
    artefact = objects[model + ",VsDataContainer=artefact"]["vsData"]
    assert hashlib.sha256(model_file.read_bytes()).hexdigest() == artefact["sha256"]
    assert artefact["bytes"] == model_file.stat().st_size
    assert artefact["uri"] == f"{site.address}/muster/v1/blobs/{artefact['sha256']}"


def test_a_repeated_put_trains_nothing_again(site, finished):
    before = site.client().objects(OWN)
    stored = before[request_dn(finished)]
    answer = site.client().put(request_dn(finished), stored)
    assert answer.status in (200, 204)
    answer = site.client().put(request_dn(finished), request_attributes())
    assert answer.status == 409 or answer.status in (200, 204), answer.words()
    assert set(site.client().objects(OWN)) == set(before)


def test_what_has_happened_is_told_in_order(site, finished):
    answer = site.client().request("GET", f"/muster/v1/jobs/{finished}/log")
    assert answer.status == 200
    times = [each["time"] for each in answer.body]
    assert times == sorted(times) and len(times) >= 4
    assert "plan" in json.dumps(answer.body)


def test_workers_and_control_groups_are_gone(site, finished):
    site.nothing_left()
    groups = [path for path in pathlib.Path("/sys/fs/cgroup").rglob("*") if path.is_dir() and finished in path.name]
    assert groups == []


def test_a_table_of_another_dialect_gives_the_same_model(site, report):
    """Semicolons, decimal commas, CR LF, Latin-1: only the encoding has to be said."""
    data = {"source": "office/train", "test": "office/test", "target": "verzögerung", "exclude": ["run"], "validation": 0.2}
    site.add_recipe(recipe("office", "muster:office", data={**data, "csv": {"encoding": "latin-1"}}))
    requirement = {"inferenceOutputName": "verzögerung", "performanceMetric": "MAE", "performanceScore": 1000.0}
    site.client().put(request_dn("office"),
                      request_attributes(aIMLInferenceName="muster:office", performanceRequirements=[requirement]))
    site.wait_status("office", "FINISHED")
    site.wait_connected()
    office = site.run_json("report", "office")
    for rows in ("training", "validation", "test"):
        assert office["metrics"][rows] == pytest.approx(report["metrics"][rows], rel=1e-6)


def test_a_folder_of_files_of_other_kinds_gives_the_same_model(site, report):
    """CSV, Parquet and Arrow IPC, one after the other; a file that is still being written does not count."""
    data = {"source": "parts/train", "test": "tiny/test", "target": "delay", "exclude": ["run"], "validation": 0.2}
    site.add_recipe(recipe("parts", "muster:parts", data=data))
    site.client().put(request_dn("parts"), request_attributes(aIMLInferenceName="muster:parts"))
    site.wait_status("parts", "FINISHED")
    site.wait_connected()
    parts = site.run_json("report", "parts")
    for rows in ("training", "validation", "test"):
        assert parts["metrics"][rows] == pytest.approx(report["metrics"][rows], rel=1e-6)
