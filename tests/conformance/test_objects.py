"""What we accept and what we send is valid by the standard's schemas; what they forbid, we refuse as well."""
import copy
import random

import jsonschema
import pytest

from samples import FUNCTION, REQUEST, SAMPLES, class_of
from test_class_tables import CLASSES

# SubNetwork and ManagedElement have no usable -Single: SubNetwork-Single is an object and an array at once.
VALIDATED = {name: place for name, place in CLASSES.items() if place[1].endswith("-Single")}


@pytest.fixture(scope="session")
def validators(specification):
    """{class: validator of the standard's -Single schema}."""
    return {name: jsonschema.Draft7Validator(specification.bundle(*place)) for name, place in VALIDATED.items()}


def resource(dn, attributes):
    return {"id": dn.rsplit("=", 1)[-1], "objectClass": class_of(dn), "objectInstance": dn, "attributes": attributes}


def test_there_is_a_sample_of_every_class():
    assert {class_of(dn) for dn in SAMPLES} == set(CLASSES)


@pytest.mark.parametrize("dn", SAMPLES)
def test_sample_is_valid_for_both(validators, nrm_dump, dn):
    name = class_of(dn)
    (answer,) = nrm_dump([{"do": "check_types", "class": name, "attributes": SAMPLES[dn]}])
    assert answer["problems"] == []
    if name in validators:
        validators[name].validate(resource(dn, SAMPLES[dn]))


def test_what_a_creation_keeps_is_valid(validators, nrm_dump):
    (answer,) = nrm_dump([{"do": "create", "class": "MLTrainingRequest", "attributes": REQUEST}])
    assert answer["problems"] == []
    validators["MLTrainingRequest"].validate(resource(f"{FUNCTION},MLTrainingRequest=r1", answer["attributes"]))


def places(value, path=()):
    """Yields the path of every value in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def changed(document, path, value):
    copied = copy.deepcopy(document)
    target = copied
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return copied


@pytest.mark.parametrize("dn", [dn for dn in SAMPLES if class_of(dn) in VALIDATED])
def test_what_the_standard_forbids_is_refused(validators, tables, nrm_dump, dn):
    """Every value of the sample is replaced by each kind of value; whatever we accept, the standard accepts."""
    name = class_of(dn)
    values = [None, True, 0, -1, 1.5, 10**6, "text", "DL", [], ["text"], ["x", "x"], {}, {"x": 1}]
    documents = [changed(SAMPLES[dn], path, value)
                 for path in places(SAMPLES[dn]) if path for value in values]
    do = "create" if tables[name]["consumer_creates"] else "check_types"
    answers = nrm_dump([{"do": do, "class": name, "attributes": each} for each in documents])
    accepted = 0
    for document, answer in zip(documents, answers):
        if answer["problems"]:
            continue
        accepted += 1
        # A creation drops read-only values; null at the top is an absent attribute for us.
        kept = answer.get("attributes") or {key: value for key, value in document.items() if value is not None}
        errors = [error.message for error in validators[name].iter_errors(resource(dn, kept))]
        assert not errors, f"{document} is accepted, but: {errors}"
    assert accepted < len(documents) or not documents


def test_random_requests_are_judged_alike(validators, nrm_dump):
    """Several changes at once, mostly by values of the same kind; both verdicts must occur often."""
    source = random.Random(1)
    fragments = [lookup(REQUEST, path) for path in places(REQUEST)]
    documents = []
    for _ in range(400):
        document = copy.deepcopy(REQUEST)
        for _ in range(source.randint(1, 3)):
            path = source.choice([path for path in places(document) if path])
            old = lookup(document, path)
            alike = [each for each in fragments if type(each) is type(old) and (not isinstance(old, dict) or each == old)]
            new = source.choice(alike if alike and source.random() < 0.7 else fragments)
            document = changed(document, path, copy.deepcopy(new))
        documents.append(document)
    answers = nrm_dump([{"do": "create", "class": "MLTrainingRequest", "attributes": each} for each in documents])
    accepted = 0
    for answer in answers:
        if not answer["problems"]:
            accepted += 1
            validators["MLTrainingRequest"].validate(
                resource(f"{FUNCTION},MLTrainingRequest=r1", answer["attributes"]))
    assert 20 < accepted < 380


def lookup(document, path):
    for key in path:
        document = document[key]
    return document


@pytest.mark.parametrize("scope", [
    {"scopeType": "BASE_ALL"}, {"scopeType": "BASE_ONLY"}, {"scopeType": "BASE_NTH_LEVEL", "scopeLevel": 3},
    {"scopeType": "BASE_SUBTREE", "scopeLevel": 2}])
def test_hierarchical_response_is_a_resource(specification, validators, nrm_dump, scope):
    (tree,) = nrm_dump([{"do": "hierarchy", "base": "SubNetwork=1", "scope": scope, "objects": SAMPLES}])
    jsonschema.Draft7Validator(specification.bundle("TS28532_ProvMnS.yaml", "Resource")).validate(tree)
    for function in tree.get("MLTrainingFunction", []):
        validators["MLTrainingFunction"].validate(function)
    for repository in tree.get("MLModelRepository", []):
        validators["MLModelRepository"].validate(repository)
    if scope["scopeType"] == "BASE_ALL":
        assert tree["MLTrainingFunction"][0]["MLTrainingProcess"][0]["VsDataContainer"][0]["id"] == "decision"
