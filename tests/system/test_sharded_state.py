"""Optimizer state that is cut over the functions: asked for by a recipe, agreed on, trained, reported."""
import json
import math

import pytest

from harness import process_dn, request_dn, text_recipe
from test_text import text_request


@pytest.fixture(scope="module")
def reports(site):
    """{state: report} of the same recipe."""
    found = {}
    for state in ("replicated", "sharded"):
        name = f"state-{state}"
        site.add_recipe(text_recipe(name, inference=name.upper(), epochs=1, batch=32, number_type="fp64",
                                    distribution={"strategy": "data_parallel"},
                                    optimizer={"name": "adamw", "learning_rate": 0.001, "clip_norm": 1.0, "state": state}))
        site.client().put(request_dn(name), text_request(name))
        site.wait_status(name, "FINISHED")
        site.wait_connected()
        found[state] = site.run_json("report", name)
    return found


def test_each_function_keeps_its_part(reports):
    participants = reports["sharded"]["participants"]
    assert len(participants) > 1
    assert math.isclose(sum(each["state_share"] for each in participants), 1.0, abs_tol=1e-9)
    assert all("state_share" not in each for each in reports["replicated"]["participants"])


def test_the_model_is_that_of_whole_state(reports):
    whole, sharded = (reports[name]["metrics"] for name in ("replicated", "sharded"))
    for rows in ("training", "validation", "test"):
        assert math.isclose(whole[rows]["log_loss"], sharded[rows]["log_loss"], rel_tol=1e-8), rows


def test_functions_sign_who_keeps_what(site, reports):
    decision = site.container(process_dn("state-sharded"), "decision")
    chosen = decision["plan"]["candidates"][decision["plan"]["chosen"]]
    assert chosen["name"] == "data, sharded state" and chosen["state_sharded"]
    assert "asks for sharded optimizer state: of " in decision["why"] and " keeps " in decision["why"]
    agreement = site.container(process_dn("state-sharded"), "agreement")
    signed = json.loads(agreement["agreement"])["members"]
    assert [each["state_share"] for each in signed] == [each["state_share"] for each in chosen["members"]]
    assert len(agreement["signatures"]) == len(signed)


def test_a_recipe_cannot_shard_the_state_of_one_function(site):
    recipe = text_recipe("lonely", inference="LONELY", distribution={"strategy": "one_function"},
                         optimizer={"name": "adamw", "state": "sharded"})
    answer = site.client().request("POST", "/muster/v1/recipes", recipe)
    assert answer.status == 400 and "one function keeps all" in answer.words() and "state" in answer.words()
