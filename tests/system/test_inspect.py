"""`muster data inspect`, `recipe from` and `recipe check --data`: from a file to a recipe that trains, without a producer."""
import json

import pytest
import yaml

import harness
from harness import muster, write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("inspect") / "cells load.csv", harness.rows(400, seed=1))


def test_inspect_says_what_was_understood(table):
    shown = muster("data", "inspect", table)
    assert shown.returncode == 0, shown.stderr
    assert "400 rows, 5 columns, csv: cells divided by ,, decimal ., utf-8, a header" in shown.stdout
    found = json.loads(muster("data", "inspect", table, "--output", "json").stdout)
    columns = {each["name"]: each for each in found["columns"]}
    assert {name: each["kind"] for name, each in columns.items()} == {
        "run": "text", "cell": "text", "load": "number", "speed": "number", "delay": "number"}
    assert columns["cell"]["examples"] == ["a", "b", "c"] and columns["run"]["categories"] is None
    assert columns["load"]["missing"] > 0 and columns["speed"]["min"] >= 0.0


def test_a_proposed_recipe_passes_its_check_and_trains(site, table, tmp_path):
    proposed = muster("recipe", "from", table)
    assert proposed.returncode == 0, proposed.stderr
    path = tmp_path / "proposed.yaml"
    path.write_text(proposed.stdout)
    checked = muster("recipe", "check", path, "--data", table)
    assert checked.returncode == 0 and "error" not in checked.stderr, checked.stderr
    recipe = yaml.safe_load(proposed.stdout)
    assert recipe["name"] == "cells-load" and recipe["data"]["target"] == "delay" and recipe["data"]["exclude"] == ["run"]
    recipe["data"].update(source="tiny/train", test="tiny/test")
    site.add_recipe(recipe)
    site.client().put(harness.request_dn("proposed"), harness.request_attributes(aIMLInferenceName="muster:cells-load"))
    site.wait_status("proposed", "FINISHED")
    site.wait_connected()
    report = site.run_json("report", "proposed")
    assert report["metrics"]["test"]["MAE"] < report["baselines"]["naive"]["test"]["MAE"]


def test_a_proposal_follows_the_target_and_leaves_out_what_gives_it_away(tmp_path):
    lines = [f"{i % 7},{i},{i * 2.5},{'yes' if i % 3 == 0 else 'no'},same,{i % 5}" for i in range(300)]
    path = write_table(tmp_path / "t.csv", lines, header="a,b,twice,late,constant,class")
    recipe = yaml.safe_load(muster("recipe", "from", path, "--target", "b").stdout)
    assert recipe["loss"] == "l1" and recipe["data"]["exclude"] == ["twice", "constant"]
    assert yaml.safe_load(muster("recipe", "from", path, "--target", "late").stdout)["loss"] == "binary_cross_entropy"
    assert yaml.safe_load(muster("recipe", "from", path, "--target", "class").stdout)["loss"] == "cross_entropy"
    wrong = muster("recipe", "from", path, "--target", "lade")
    assert wrong.returncode == 4 and '"late"' in wrong.stderr
    assert muster("recipe", "from", path, "--target", "constant").returncode == 4


def test_check_names_every_problem_at_once_with_line_and_nearest(table, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("""name: wrong
data:
  source: s
  target: dely
  exclude: [rum, cell]
  log: [speet]
loss: l1
report_by: [sell]
""")
    checked = muster("recipe", "check", path, "--data", table)
    assert checked.returncode == 4
    errors = [line for line in checked.stderr.splitlines() if line.startswith("error:")]
    for words in (("wrong.yaml:4", "dely", "delay"), ("wrong.yaml:5", "rum", "run"), ("wrong.yaml:6", "speet", "speed"),
                  ("wrong.yaml:8", "sell", "cell")):
        assert any(all(word in line for word in words) for line in errors), (words, errors)
    assert any('"run" has too many different texts' in line for line in errors), errors


def test_check_warns_of_a_target_that_leaks(tmp_path):
    path = write_table(tmp_path / "t.csv", [f"{i % 7},{i % 11},{2 * (i % 11) + 1},x" for i in range(100)], header="a,y,z,c")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("{name: r, data: {source: s, target: y}, loss: l1}")
    checked = muster("recipe", "check", recipe, "--data", path)
    assert checked.returncode == 0, checked.stderr
    assert 'warning: "z" gives the target away' in checked.stderr and '"c" is always the same' in checked.stderr


def test_what_cannot_be_read_is_refused_with_the_place(tmp_path):
    ragged = write_table(tmp_path / "ragged.csv", ["1,2", "3"], header="a,b")
    for words in (("data", "inspect", ragged), ("recipe", "from", ragged)):
        refused = muster(*words)
        assert refused.returncode == 4 and "row 3" in refused.stderr, refused.stderr
    assert muster("data", "inspect", tmp_path / "nothing.csv").returncode == 4
    assert muster("data", "inspect", ragged, "--delimiter", "#").returncode == 4
