"""What is wrong with a request is refused with its place, what is allowed, and the nearest match; nothing is left."""
import json

import pytest

from harness import MERGE, OWN, path_of, process_dn, recipe, request_attributes, request_dn


@pytest.fixture(autouse=True)
def nothing_is_left(site):
    """A refused write leaves no object behind, and the audit log names it."""
    before = set(site.client().objects())
    yield
    assert set(site.client().objects()) == before


def refused(answer, status, *places, allowed=None, nearest=None):
    assert answer.status == status, answer.words()
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.body["status"] == str(status) and answer.body["type"] and answer.body["title"]
    assert sorted(places) == sorted(answer.problem_places())
    details = answer.body.get("otherProblems", [])
    if allowed is not None:
        assert any(set(allowed) <= set(each.get("allowedValues", [])) for each in details), answer.words()
    if nearest is not None:
        assert nearest in [each.get("nearestMatch") for each in details], answer.words()
    return answer


def create(site, **changes):
    return site.client().put(request_dn("bad"), request_attributes(**changes))


def test_unknown_attribute(site):
    refused(create(site, aIMLInferenceNam="x"), 400, "/attributes/aIMLInferenceNam", nearest="aIMLInferenceName")


def test_unknown_attribute_within_a_structure(site):
    refused(create(site, distributedTrainingExpectation={"expectedTrainingTme": 3}), 400,
            "/attributes/distributedTrainingExpectation/expectedTrainingTme", nearest="expectedTrainingTime")


@pytest.mark.parametrize("attribute,value,place", [
    ("mLTrainingType", 3, ""),
    ("performanceRequirements", {"performanceMetric": "MAE"}, ""),
    ("performanceRequirements", [{"inferenceOutputName": "delay", "performanceMetric": "MAE",
                                  "performanceScore": "low"}], "/0/performanceScore"),
    ("distributedTrainingExpectation", {"expectedTrainingTime": "soon"}, "/expectedTrainingTime"),
    ("distributedTrainingExpectation", {"expectedTrainingTime": 1.5}, "/expectedTrainingTime"),
    ("distributedTrainingExpectation", [], ""),
    ("cancelRequest", "yes", "")])
def test_wrong_type(site, attribute, value, place):
    answer = create(site, **{attribute: value})
    assert answer.status == 400 and f"/attributes/{attribute}{place}" in answer.problem_places(), answer.words()


def test_value_that_is_not_in_the_enumeration(site):
    refused(create(site, mLTrainingType="INITIAL_TRAINNG"), 400, "/attributes/mLTrainingType",
            allowed=["INITIAL_TRAINING"], nearest="INITIAL_TRAINING")


def test_missing_required_attribute(site):
    answer = create(site, trainingRequestSource=None)
    refused(answer, 400, "/attributes/trainingRequestSource")


def test_several_mistakes_are_named_at_once(site):
    answer = create(site, mLTrainingType="x", nonsense=1, trainingRequestSource=None)
    assert {"/attributes/mLTrainingType", "/attributes/nonsense", "/attributes/trainingRequestSource"} <= set(
        answer.problem_places())


def test_unknown_inference_name_names_the_nearest(site):
    refused(create(site, aIMLInferenceName="TINY_DELAI"), 400, "/attributes/aIMLInferenceName", nearest="TINY_DELAY")


def test_unknown_metric_and_output(site):
    answer = create(site, performanceRequirements=[
        {"inferenceOutputName": "dely", "performanceMetric": "MAD", "performanceScore": 1.0}])
    assert answer.status == 400
    assert {"/attributes/performanceRequirements/0/inferenceOutputName",
            "/attributes/performanceRequirements/0/performanceMetric"} <= set(answer.problem_places())
    assert "delay" in answer.words() and "MAE" in answer.words()


def test_metric_that_does_not_fit_the_recipe(site):
    answer = create(site, performanceRequirements=[
        {"inferenceOutputName": "delay", "performanceMetric": "accuracy", "performanceScore": 90.0}])
    refused(answer, 400, "/attributes/performanceRequirements/0/performanceMetric")


def test_what_this_producer_cannot_do_is_refused_by_name(site):
    refused(create(site, mLTrainingType="RE_TRAINING", mLModelRef="SubNetwork=1,MLModelRepository=1,MLModel=1"), 400,
            "/attributes/mLModelRef", "/attributes/mLTrainingType")


def test_ambiguous_recipe_lists_the_candidates(site):
    site.add_recipe(recipe("first", "TWICE"))
    site.add_recipe(recipe("second", "TWICE"))
    answer = create(site, aIMLInferenceName="TWICE")
    refused(answer, 400, "/attributes/aIMLInferenceName")
    assert "first" in answer.words() and "second" in answer.words()


@pytest.mark.parametrize("attribute,value", [
    ("requestStatus", "FINISHED"), ("aIMLInferenceName", "OTHER"), ("mLTrainingType", "RE_TRAINING")])
def test_changed_read_only_or_invariant_attribute(site, finished, attribute, value):
    before = site.client().get(request_dn(finished)).body[0]["attributes"]
    if before[attribute] == value:
        value = "IN_PROGRESS"
    answer = site.client().patch(request_dn(finished), {attribute: value})
    assert answer.status in (400, 409), answer.words()
    assert answer.problem_places() == [f"/attributes/{attribute}"]
    answer = site.client().put(request_dn(finished), {**before, attribute: value})
    assert answer.status in (400, 409) and answer.problem_places() == [f"/attributes/{attribute}"], answer.words()
    assert site.client().get(request_dn(finished)).body[0]["attributes"] == before


def test_read_only_attribute_of_a_process(site, finished):
    answer = site.client().patch(process_dn(finished), {"progressStatus": {"status": "RUNNING"}})
    refused(answer, 400, "/attributes/progressStatus")


def test_unchanged_read_only_values_are_accepted(site, finished):
    stored = site.client().get(process_dn(finished)).body[0]["attributes"]
    assert site.client().patch(process_dn(finished), stored).status == 200


def test_what_only_the_producer_makes_cannot_be_created(site):
    for name in ("MLTrainingProcess", "MLTrainingReport", "MLTrainingFunction"):
        answer = site.client().put(f"SubNetwork=1,{name}=x", {})
        assert answer.status in (400, 403), answer.words()


@pytest.mark.parametrize("dn", [
    "SubNetwork=1,SubNetwork=2", "SubNetwork=1,ManagedElement=nowhere", request_dn("never"), OWN + ",MLTrainingRequest=a,Nothing=1"])
def test_unknown_name(site, dn):
    answer = site.client().get(dn)
    assert answer.status == 404, answer.words()
    assert answer.body["title"]


def test_request_below_something_that_is_not_there(site):
    dn = "SubNetwork=1,ManagedElement=nowhere,MLTrainingFunction=1,MLTrainingRequest=x"
    answer = site.client().put(dn, request_attributes())
    assert answer.status == 404, answer.words()


@pytest.mark.parametrize("path", ["/ProvMnS/v1/SubNetwork", "/ProvMnS/v1/=1", "/ProvMnS/v1/SubNetwork=1/%zz=1",
                                  "/ProvMnS/v1/SubNetwork=%00"])
def test_path_that_is_no_name(site, path):
    assert site.client().request("GET", path).status in (400, 404)


def test_id_and_class_must_be_those_of_the_path(site):
    client = site.client()
    refused(client.put(request_dn("bad"), request_attributes(), id="other"), 400, "/id")
    refused(client.put(request_dn("bad"), request_attributes(), objectClass="MLModel"), 400, "/objectClass")
    refused(client.put(request_dn("bad"), request_attributes(), more=1), 400, "/more")


def raw(site, body, media="application/json", method="PUT", dn=None):
    return site.client().request(method, path_of(dn or request_dn("bad")), body, {"Content-Type": media})


@pytest.mark.parametrize("text,line,column", [
    ('{"id": "bad",\n  "objectClass": }', 2, 18),
    ('{"id": "bad"', None, None), ("", None, None), ("[1, 2", None, None), ("\xff\xfe", None, None)])
def test_invalid_json_names_line_and_column(site, text, line, column):
    answer = raw(site, text.encode("latin-1"))
    assert answer.status == 400, answer.words()
    if line:
        words = answer.words()
        assert f"{line}:{column}" in words or (f"line {line}" in words and f"column {column}" in words), words


def test_json_that_is_no_object(site):
    for text in (b"[]", b"3", b'"text"', b"null"):
        assert raw(site, text).status == 400


def test_the_same_key_twice(site):
    body = '{"id": "bad", "id": "bad", "objectClass": "MLTrainingRequest", "attributes": {}}'
    assert raw(site, body.encode()).status == 400


@pytest.mark.parametrize("depth", [40, 100_000])
def test_deeply_nested_json(site, depth):
    answer = raw(site, b'{"id": "bad", "attributes": {"x": ' + b"[" * depth + b"]" * depth + b"}}")
    assert answer.status == 400 and "nest" in answer.words() or "deep" in answer.words(), answer.words()


def test_body_too_large(site):
    answer = raw(site, b'{"id": "bad", "x": "' + b"a" * (1 << 20) + b'"}')
    assert answer.status == 413, answer.words()
    assert site.client().request("GET", "/healthz").status == 200


def test_body_that_says_it_is_too_large_is_not_waited_for(site):
    answer = site.client().request("PUT", path_of(request_dn("bad")), b"{}",
                                   {"Content-Type": "application/json", "Content-Length": str(1 << 40)})
    assert answer.status == 413


def test_wrong_media_types(site, finished):
    assert raw(site, b"{}", media="text/plain").status == 415
    answer = raw(site, b"{}", media="application/json-patch+json", method="PATCH", dn=request_dn(finished))
    assert answer.status == 415 and MERGE in answer.headers["Accept-Patch"]
    assert site.client().get("SubNetwork=1", accept="text/html").status == 406
    answer = site.client().request("TRACE", path_of("SubNetwork=1"))
    assert answer.status in (405, 501)
    answer = site.client().request("DELETE", "/muster/v1/plan")
    assert answer.status == 405 and answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("query", [
    "filter=//x", "scopeType=BASE_ALL&scopeLevel=x", "scopeType=NOTHING", "scope=%7B", "unknown=1",
    "scope=%7B%22scopeType%22%3A%22BASE_NTH_LEVEL%22%2C%22scopeLevel%22%3A-1%7D"])
def test_bad_query(site, query):
    answer = site.client().get("SubNetwork=1", query="?" + query)
    assert answer.status == 400, answer.words()
    assert answer.body.get("badQueryParams"), answer.words()


def test_used_ids_stay_used(site, finished):
    answer = site.client().put(request_dn(finished), request_attributes(candidateTrainingDataSource=["tiny/test"]))
    assert answer.status == 409, answer.words()


# Recipes.


def add(site, document, media="application/yaml"):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return site.client().request("POST", "/muster/v1/recipes", body, {"Content-Type": media})


def test_recipe_with_an_unknown_key_names_its_place(site, tmp_path):
    """Over HTTPS the pointer, at the command line the line and the column."""
    text = b"name: x\ninference: X\ndata: {source: tiny/train, target: delay}\nmodel:\n  hiden: [8]\nloss: l1\n"
    refused(add(site, text), 400, "/model/hiden", nearest="hidden")
    file = tmp_path / "bad.yaml"
    file.write_bytes(text)
    done = site.run("recipe", "add", file)
    assert done.returncode == 4 and f"{file}:5:3" in done.stderr and '"hidden"' in done.stderr, done.stderr


def test_invalid_yaml_names_line_and_column(site):
    answer = add(site, b"name: x\ndata: {source: [}\n")
    assert answer.status == 400 and "2:" in answer.words(), answer.words()


@pytest.mark.parametrize("changes", [
    {"loss": "huber"}, {"batch": 0}, {"epochs": -1}, {"model": {"family": "forest"}}, {"metrics": ["accuracy"]},
    {"optimizer": {"name": "adamw", "momentum": 0.9}}, {"data": {"source": "tiny/train"}}, {"name": ""}])
def test_bad_recipe(site, changes):
    answer = add(site, {**recipe("bad", "BAD"), **changes}, "application/json")
    assert answer.status == 400 and answer.problem_places(), answer.words()


def test_recipe_of_the_same_name_with_other_content(site):
    answer = add(site, recipe("tiny", "TINY_DELAY", epochs=3), "application/json")
    assert answer.status == 409, answer.words()
    assert add(site, recipe("tiny", "TINY_DELAY"), "application/json").status in (200, 201)  # the same once more


def test_deep_yaml_and_yaml_bombs(site):
    assert add(site, b"name: " + b"[" * 5_000).status == 400
    assert add(site, b"name: " + b"[" * 200 + b"]" * 200).status == 400
    assert add(site, b"name: &x [*x]").status == 400  # part of itself
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9))
    assert add(site, bomb).status == 400
    assert site.client().request("GET", "/healthz").status == 200


# Health.


def test_health_and_metrics(site, finished):
    client = site.client("viewer")
    assert client.request("GET", "/healthz").status == 200
    assert client.request("GET", "/readyz").status == 200
    answer = client.request("GET", "/metrics")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
    lines = answer.body if isinstance(answer.body, str) else answer.raw.decode()
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines.splitlines()
              if line and not line.startswith("#")}
    assert values["muster_functions_connected"] == 3
    assert values['muster_requests{status="FINISHED"}'] >= 1
    assert values["muster_models"] >= 1
    assert "muster_notifications_pending" in values and "muster_objects" in values
