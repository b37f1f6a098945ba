"""Classes: which cell a row is of, from its load and delay. The report says how well for each, and the training ends early."""
import pytest

from harness import recipe, report_dn, request_attributes, request_dn

CELLS = ["a", "b", "c"]


def class_recipe(name, **changes):
    data = {"source": "tiny/train", "test": "tiny/test", "target": "cell", "exclude": ["run"], "validation": 0.2}
    return recipe(name, f"muster:{name}", **{"data": data, "loss": "cross_entropy", "metrics": ["balanced_accuracy", "log_loss"],
                                             "optimizer": {"name": "adamw", "learning_rate": 0.05}, "epochs": 200,
                                             "early_stopping": {"patience": 4, "metric": "log_loss"}, **changes})


def class_request(name):
    requirement = {"inferenceOutputName": "cell", "performanceMetric": "balanced_accuracy", "performanceScore": 80.0}
    return request_attributes(aIMLInferenceName=f"muster:{name}", performanceRequirements=[requirement])


@pytest.fixture(scope="module")
def report(site):
    site.add_recipe(class_recipe("which-cell"))
    site.client().put(request_dn("which-cell"), class_request("which-cell"))
    site.wait_status("which-cell", "FINISHED")
    site.wait_connected()
    return site.run_json("report", "which-cell")


def test_each_class_has_its_scores(report):
    classes = report["classes"]
    assert classes["rows"] == "test"
    assert [each["class"] for each in classes["classes"]] == CELLS
    assert sum(each["rows"] for each in classes["classes"]) == 80
    recalls = [each["recall"] for each in classes["classes"]]
    assert sum(recalls) / 3 == pytest.approx(report["metrics"]["test"]["balanced_accuracy"], abs=1e-9)
    assert report["metrics"]["test"]["balanced_accuracy"] > 80.0 > report["baselines"]["naive"]["test"]["balanced_accuracy"]


def test_the_confusion_matrix_counts_all_rows(report):
    confusion = report["classes"]["confusion"]
    for each in report["classes"]["classes"]:
        counts = confusion[each["class"]]
        assert sum(counts.values()) == each["rows"]
        assert counts[each["class"]] == pytest.approx(each["recall"] / 100 * each["rows"])
    right = sum(confusion[cell][cell] for cell in CELLS)
    assert 100 * right / 80 == pytest.approx(report["metrics"]["test"]["accuracy"])


def test_the_training_ended_with_its_best_epoch(site, report):
    participants = site.container(report_dn("which-cell"), "participants")
    assert participants["stopped_early"] is True
    steps_of_an_epoch = 5  # 320 rows in batches of 64
    assert participants["steps"] == (participants["best_epoch"] + 1 + 4) * steps_of_an_epoch


def test_people_see_the_metrics_of_the_recipe_and_the_classes(site, report):
    shown = site.run("report", "which-cell").stdout
    scores = next(line for line in shown.splitlines() if line.startswith(" trained"))
    assert "balanced_accuracy" in scores and "log_loss" in scores and "precision" not in scores
    assert "Classes, on test rows" in shown and "IS \\ PREDICTED" in shown


def test_the_same_model_comes_from_one_function(site, report):
    site.add_recipe(class_recipe("which-cell-alone", distribution={"strategy": "one_function"}))
    site.client().put(request_dn("which-cell-alone"), class_request("which-cell-alone"))
    site.wait_status("which-cell-alone", "FINISHED")
    site.wait_connected()
    alone = site.run_json("report", "which-cell-alone")
    assert len(alone["participants"]) == 1
    assert alone["metrics"]["test"]["log_loss"] == pytest.approx(report["metrics"]["test"]["log_loss"], rel=1e-3)
