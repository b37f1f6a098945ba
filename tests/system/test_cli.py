"""The command line: exit codes, one JSON document on stdout, errors with place and remedy."""
import json
import os
import signal
import subprocess
from typing import List

import pytest
import torch
import yaml

import harness
from harness import Program, function_dn, muster, recipe, request_attributes, request_dn, wait_for


@pytest.fixture
def request_file(tmp_path):
    def write(**changes):
        path = tmp_path / "request.yaml"
        path.write_text(yaml.safe_dump(request_attributes(**changes)))
        return path
    return write


def one_document(done):
    """stdout is exactly one JSON document."""
    document, end = json.JSONDecoder().raw_decode(done.stdout)
    assert done.stdout[end:].strip() == "", done.stdout
    return document


# Exit codes.


def test_life_of_a_request(site, request_file, tmp_path):
    path = request_file()
    submitted = site.run_json("submit", "-f", path, "--token", "cli")
    assert submitted == {"id": "cli", "dn": request_dn("cli"), "repeated": False}
    assert site.run_json("submit", "-f", path, "--token", "cli")["repeated"] is True
    done = site.run("wait", "cli", "--timeout", "60", "--output", "json")
    assert done.returncode == 0 and one_document(done)["status"] == "FINISHED"
    assert site.run_json("watch", "cli")["status"] == "FINISHED"
    report = site.run_json("report", "cli")
    assert report["request"]["dn"] == request_dn("cli") and report["model"]["sha256"]
    exported = site.run_json("model", "export", "cli", "--out", tmp_path / "m.pt")
    assert exported["sha256"] == report["model"]["sha256"]
    assert [each["event"] for each in site.run_json("logs", "cli")]
    assert "cli" in json.dumps(site.run_json("list"))
    assert site.run_json("show", "cli")["decision"]["why"]
    assert request_dn("cli") in site.run("show", "cli").stdout
    site.wait_connected()


@pytest.mark.parametrize("arguments", [
    ("list",), ("show", "happy"), ("report", "happy"), ("logs", "happy"), ("recipe", "list"), ("model", "list"),
    ("function", "list"), ("doctor",)], ids=" ".join)
def test_every_verb_speaks_json_yaml_and_tables(site, finished, arguments):
    as_json = site.run(*arguments, "--output", "json")
    as_yaml = site.run(*arguments, "--output", "yaml")
    as_table = site.run(*arguments)
    assert as_json.returncode == as_yaml.returncode == as_table.returncode == 0, as_json.stderr
    document = one_document(as_json)
    assert type(yaml.safe_load(as_yaml.stdout)) is type(document)
    assert as_table.stdout.strip() and not as_table.stdout.lstrip().startswith(("{", "["))
    assert "\033[" not in as_table.stdout + as_table.stderr  # colours only on a terminal


def test_plan_does_not_train(site, finished, request_file):
    before = site.client().objects()
    plan = site.run_json("plan", "-f", request_file())
    assert plan["candidates"] and plan["why"]
    assert site.client().objects().keys() == before.keys()
    done = site.run("plan", "-f", request_file())
    assert done.returncode == 0 and "PLAN" in done.stdout and "one function" in done.stdout


def test_exit_1_when_a_job_ends_without_a_model(site, request_file):
    site.run_json("submit", "-f", request_file(aIMLInferenceName="ENDLESS"), "--token", "nomodel")
    site.wait_training("nomodel")
    assert site.run_json("cancel", "nomodel")["cancelling"] is True
    assert site.run("wait", "nomodel", "--timeout", "30").returncode == 1
    assert site.run("report", "nomodel").returncode == 1
    assert site.run("model", "export", "nomodel").returncode == 4
    site.nothing_left()


def test_exit_2_when_not_allowed_or_not_connected(site, request_file, tmp_path):
    done = site.run("submit", "-f", request_file(), name="viewer")
    assert done.returncode == 2 and "muster://consumer/viewer may not create" in done.stderr
    assert done.stdout == ""
    client = tmp_path / "client.yaml"
    client.write_text(yaml.safe_dump({"server": "https://127.0.0.1:1", "certificate": str(site.folder / "admin.pem"),
                                      "key": str(site.folder / "admin.key"),
                                      "authority": str(site.authority.certificate)}))
    done = muster("list", client=client)
    assert done.returncode == 2 and "127.0.0.1" in done.stderr, done.stderr


def test_exit_3_when_late_and_the_job_goes_on(site, request_file):
    site.run_json("submit", "-f", request_file(aIMLInferenceName="ENDLESS"), "--token", "late")
    assert site.run("wait", "late", "--timeout", "1").returncode == 3
    watching = Program(site.folder / "watch.log", "--client", site.client_file("admin"), "watch", "late")
    wait_for("the watcher shows something", lambda: watching.words())
    watching.signal(signal.SIGINT)
    code, _ = watching.wait()
    assert code == 3 and "goes on" in watching.words(), watching.words()
    site.wait_training("late")
    site.cancel("late")
    site.wait_status("late", "CANCELLED")
    site.nothing_left()


@pytest.mark.parametrize("arguments,words", [
    ((), "subcommand is required"), (("submitt",), "submit"), (("submit",), "--file"), (("submit", "-f", "/nowhere.yaml"), "nowhere"),
    (("show", "hapy"), "happy"), (("wait", "hapy"), "happy"), (("report", "nothing"), "nothing"),
    (("model", "export", "nothing"), "nothing"), (("list", "--output", "xml"), "xml"),
    (("model", "predict", "/nowhere.pt", "--input", "/nowhere.csv"), "nowhere"),
    (("recipe", "check", "/nowhere.yaml"), "nowhere"), (("demo", "--cpu", "0"), "cpu"),
    (("ca", "issue", "--out", "x"), "exactly one")], ids=lambda each: " ".join(each) if isinstance(each, tuple) else "")
def test_exit_4_when_the_input_is_wrong(site, finished, arguments, words):
    done = site.run(*arguments)
    assert done.returncode == 4, (done.returncode, done.stderr)
    assert words in done.stderr and done.stdout == "", done.stderr


@pytest.mark.parametrize("text,place", [
    ("trainingRequestSource: [\n", "2:1"), ("a: 1\na: 2\n", "2:1"), ('{"a": 1,\n "b" 2}', "2:"), ("- a list\n", "1:1"),
    ("a: &x [*x]\n", "1:")])
def test_unreadable_request_file_names_line_and_column(site, tmp_path, text, place):
    path = tmp_path / "request.yaml"
    path.write_text(text)
    done = site.run("submit", "-f", path)
    assert done.returncode == 4 and f"{path}:{place}" in done.stderr, done.stderr


def test_refused_request_names_attribute_and_what_is_allowed(site, request_file):
    done = site.run("submit", "-f", request_file(mLTrainingType="INITIAL_TRAINNG"))
    assert done.returncode == 4
    assert "mLTrainingType" in done.stderr and "INITIAL_TRAINING" in done.stderr, done.stderr


def test_no_client_file(tmp_path):
    done = muster("list", cwd=tmp_path)
    assert done.returncode == 4 and "client.yaml" in done.stderr


def test_help_has_examples_and_is_quick():
    for arguments in (("--help",), ("submit", "--help"), ("demo", "--help"), ("producer", "--help"), ("doctor", "--help"),
                      ("model", "export", "--help")):
        done = muster(*arguments, seconds=5)
        assert done.returncode == 0 and "Example" in done.stdout, arguments


# Recipes, models, keys.


def test_a_recipe_is_shown_as_it_may_be_added_again(site, tmp_path):
    shown = site.run("recipe", "show", "tiny")
    assert shown.returncode == 0, shown.stderr
    first, text = shown.stdout.split("\n", 1)
    known = site.run_json("recipe", "show", "tiny")
    assert first == f"# tiny@{known['digest']}, added by {known['added_by']}"
    (tmp_path / "again.yaml").write_text(text)
    done = muster("recipe", "check", tmp_path / "again.yaml", "--output", "json")
    assert json.loads(done.stdout)["digest"] == known["digest"], done.stderr
    assert site.run_json("recipe", "show", f"tiny@{known['digest']}") == known
    wrong = site.run("recipe", "show", "tini")
    assert wrong.returncode == 4 and "tiny" in wrong.stderr, wrong.stderr


def test_recipe_check_needs_no_producer(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(recipe()))
    done = muster("recipe", "check", tmp_path / "r.json", "--output", "json")
    assert done.returncode == 0 and len(one_document(done)["digest"]) == 64
    (tmp_path / "bad.yaml").write_text("name: x\nloss: l1\ndata: {source: a, target: b}\nbatch: many\n")
    done = muster("recipe", "check", tmp_path / "bad.yaml")
    assert done.returncode == 4 and "bad.yaml:4:" in done.stderr and "batch" in done.stderr


def test_predict_names_the_missing_column(site, finished, tmp_path):
    site.run_json("model", "export", finished, "--out", tmp_path / "m.pt")
    (tmp_path / "new.csv").write_text("cell,speed\na,3\n")
    done = muster("model", "predict", tmp_path / "m.pt", "--input", tmp_path / "new.csv")
    assert done.returncode == 4 and "load" in done.stderr, done.stderr
    (tmp_path / "new.csv").write_text("cell,load,speed\na,fast,3\n")
    done = muster("model", "predict", tmp_path / "m.pt", "--input", tmp_path / "new.csv")
    assert done.returncode == 4 and "load" in done.stderr and "fast" in done.stderr, done.stderr
    (tmp_path / "new.csv").write_text("speed,other,load,cell\n3,x,NA,unseen\n")
    done = muster("model", "predict", tmp_path / "m.pt", "--input", tmp_path / "new.csv", "--output", "json")
    assert done.returncode == 0 and len(one_document(done)["predictions"]) == 1
    (tmp_path / "no.pt").write_text("no archive")
    assert muster("model", "predict", tmp_path / "no.pt", "--input", tmp_path / "new.csv").returncode == 4


class Foreign(torch.nn.Module):
    """An archive with the attributes of Muster's and a program of its own; `path` is a file that it may ask for."""

    number_names: List[str]
    category_names: List[str]
    target_categories: List[str]

    def __init__(self, path):
        super().__init__()
        self.path = str(path)
        self.number_names, self.category_names, self.target_categories = ["x"], [], []
        self.target_name = "y"


class Reads(Foreign):
    def forward(self, numbers: torch.Tensor, categories: List[List[str]]) -> torch.Tensor:
        return torch.from_file(self.path, False, 1, dtype=torch.float64).reshape([1, 1])


class Infinite(Foreign):
    def forward(self, numbers: torch.Tensor, categories: List[List[str]]) -> torch.Tensor:
        return numbers / 0.0


def predict_foreign(model, folder):
    torch.jit.script(model).save(str(folder / "m.pt"))
    (folder / "new.csv").write_text("x\n1.5\n")
    return muster("model", "predict", folder / "m.pt", "--input", folder / "new.csv", "--output", "json")


def test_predict_stops_an_archive_that_reads_files(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(8))
    done = predict_foreign(Reads(tmp_path / "secret"), tmp_path)
    assert done.returncode == 4 and "sandbox forbids" in done.stderr and "m.pt" in done.stderr, done.stderr
    assert "predictions" not in done.stdout


def test_predictions_that_are_no_numbers_are_null(tmp_path):
    done = predict_foreign(Infinite(tmp_path), tmp_path)
    assert done.returncode == 0 and one_document(done) == {"output": "y", "predictions": [[None]]}, done.stderr


def test_a_ca_is_not_overwritten(site):
    done = site.run("ca", "init", "--dir", site.folder / "ca")
    assert done.returncode == 4 and "overwritten" in done.stderr


@pytest.mark.parametrize("change,words", [
    ({"lisen": {"port": 0}}, ("producer.yaml:", "listen")), ({"listen": {"port": "x"}}, ("producer.yaml:", "port")),
    ({"listen": {"port": 70000}}, ("port", "65535")), ({"keep": {"days": 0}}, ("days", "1")), ({"state": None}, ("state",)),
    ({"policy": "nowhere.yaml"}, ("nowhere.yaml",)), ({"times": {"lease_seconds": 1}}, ("lease_seconds", "10"))], ids=str)
def test_producer_configuration_is_checked(site, tmp_path, change, words):
    good = {**site.configuration, "state": str(tmp_path / "state")}
    good = {key: site.folder / value if key == "policy" else value for key, value in good.items()}
    good["policy"] = str(good["policy"])
    for part in ("credentials", "enrolment"):
        good[part] = {key: str(site.folder / value) for key, value in good[part].items()}
    path = tmp_path / "producer.yaml"
    path.write_text(yaml.safe_dump(good))
    assert muster("producer", "--config", path, "--check-config").returncode == 0
    path.write_text(yaml.safe_dump({key: value for key, value in {**good, **change}.items() if value is not None}))
    done = muster("producer", "--config", path, "--check-config")
    assert done.returncode == 4, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("change,words", [
    ({"dn": "SubNetwork=1"}, ("dn", "MLTrainingFunction")), ({"producer": "http://127.0.0.1:1"}, ("producer", "https")),
    ({"polcy": {}}, ("policy",)), ({"policy": {"hours": [1]}}, ("hours",)), ({"capacity": {"cpu_cores": 0}}, ("cpu_cores",)),
    ({"data": [{"name": "a", "file": "x"}, {"name": "a", "file": "y"}]}, ("second time",)),
    ({"isolation": {"allow_missing": ["locks"]}}, ("landlock",))], ids=str)
def test_function_configuration_is_checked(tmp_path, change, words):
    good = {"dn": function_dn("gnb-1"), "producer": "https://127.0.0.1:1", "state": str(tmp_path / "state"),
            "enrolment": {"token": "t", "authority_fingerprint": "f"}}
    path = tmp_path / "function.yaml"
    path.write_text(yaml.safe_dump(good))
    assert muster("function", "--config", path, "--check-config").returncode == 0
    path.write_text(yaml.safe_dump({**good, **change}))
    done = muster("function", "--config", path, "--check-config")
    assert done.returncode == 4, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_doctor_tells_failures_with_remedies(site):
    findings = site.run_json("doctor")
    checks = {each["check"]: each for each in findings}
    assert checks["producer"]["state"] == "ok" and checks["certificate"]["state"] == "ok"
    assert "connected" in checks["functions"]["found"]
    done = muster("doctor", "--output", "json")
    assert "client file" in [each["check"] for each in one_document(done)]


def test_output_survives_a_closed_pipe(site, finished):
    done = subprocess.run(f"'{harness.BIN}/muster' --client '{site.client_file('admin')}' show {finished} --output json | true",
                          shell=True, capture_output=True, text=True, timeout=30, env=dict(os.environ))
    assert "terminate" not in done.stderr and "Aborted" not in done.stderr, done.stderr
