"""Parts die in the middle: a job ends with a model or with a reason, and nothing stays behind."""
import contextlib
import hashlib
import os
import pathlib
import signal
import subprocess

import pytest
import yaml

import harness
from harness import (REPOSITORY, alive, function_dn, process_dn, recipe, report_dn, request_attributes, request_dn,
                     wait_for)


def works_again(site, identity, *names):
    """Functions are free, and the next job trains."""
    site.nothing_left(*names)
    site.submit(identity)
    site.wait_status(identity, "FINISHED")
    site.nothing_left(*names)


def no_model(site, identity):
    objects = site.client().objects()
    assert report_dn(identity) not in objects
    assert not [dn for dn in objects if dn.startswith(f"{REPOSITORY},MLModel={identity}")]


def start_endless(site, identity):
    site.submit(identity, aIMLInferenceName="ENDLESS")
    site.wait_training(identity)


def test_worker_killed(site):
    start_endless(site, "crash")
    (worker, *_) = wait_for("a worker", site.workers)
    os.kill(worker, signal.SIGKILL)
    site.wait_status("crash", "CANCELLED")
    reason = site.reason("crash")
    assert reason.startswith("SYSTEM:") and "MLTrainingFunction=1" in reason and "signal 9" in reason.lower(), reason
    no_model(site, "crash")
    works_again(site, "crash-next")


def test_silence_during_agreement(site):
    """A frozen agent is left out as silent, and the others train; thawed, it takes part again."""
    frozen = site.functions["gnb-2"]
    frozen.signal(signal.SIGSTOP)
    try:
        site.submit("silent")
        site.wait_status("silent", "FINISHED")
        decision = site.container(process_dn("silent"), "decision")
        assert function_dn("gnb-2") in [each["dn"] for each in decision["excluded"]], decision["excluded"]
        assert function_dn("gnb-2") not in [each["dn"] for each in decision["plan"]["candidates"][0]["members"]]
    finally:
        frozen.signal(signal.SIGCONT)
    works_again(site, "silent-next")


def test_all_silent_during_agreement(site):
    for program in site.functions.values():
        program.signal(signal.SIGSTOP)
    try:
        site.submit("allsilent")
        site.wait_status("allsilent", "CANCELLED")
        reason = site.reason("allsilent")
        for name in site.functions:
            assert function_dn(name) in reason, reason
    finally:
        for program in site.functions.values():
            program.signal(signal.SIGCONT)
    no_model(site, "allsilent")
    works_again(site, "allsilent-next")


def test_cancel_in_training(site):
    start_endless(site, "stopped")
    site.cancel("stopped")
    site.wait_status("stopped", "CANCELLED")
    assert site.reason("stopped").startswith("CONSUMER:")
    assert site.client().get(request_dn("stopped")).body[0]["attributes"]["requestStatus"] == "CANCELLED"
    no_model(site, "stopped")
    assert site.run("wait", "stopped").returncode == 1
    site.nothing_left()


def test_cancel_by_the_process(site):
    start_endless(site, "stopped2")
    assert site.client().patch(process_dn("stopped2"), {"cancelProcess": True}).status == 200
    site.wait_status("stopped2", "CANCELLED")
    no_model(site, "stopped2")
    site.nothing_left()


@pytest.mark.parametrize("phase", ["AGREEING", "PREPARING", "CALIBRATING", "COMMITTING"])
def test_cancel_before_training(site, phase):
    """The phase may be over before the order arrives; the outcome is the same in each."""
    identity = f"early-{phase.lower()}"
    site.submit(identity, aIMLInferenceName="ENDLESS")

    def reached():
        status = site.process(identity).get("progressStatus", {})
        return phase in status.get("progressStateInfo", "") or status.get("status") == "RUNNING"

    wait_for(phase, reached, every=0.005)
    site.cancel(identity)
    site.wait_status(identity, "CANCELLED")
    no_model(site, identity)
    site.nothing_left()


def test_a_running_request_cannot_be_deleted_or_suspended(site):
    start_endless(site, "held")
    client = site.client()
    assert client.delete(request_dn("held")).status == 409
    assert client.patch(request_dn("held"), {"suspendRequest": True}).status == 409
    assert client.patch(request_dn("held"), {"aIMLInferenceName": "TINY_DELAY"}).status in (400, 409)
    assert client.patch(process_dn("held"), {"priority": 7}).status == 200
    assert site.process("held")["priority"] == 7
    site.cancel("held")
    site.wait_status("held", "CANCELLED")
    site.nothing_left()


def test_functions_are_in_one_job_at_a_time(site):
    """The second waits with the reason, and trains when the first is over."""
    site.add_recipe(recipe("endless-big", "ENDLESS_BIG", source="big/train", batch=4000, epochs=1_000_000,
                           model={"family": "mlp", "hidden": [512, 512]}))
    site.submit("first", aIMLInferenceName="ENDLESS_BIG")
    site.wait_training("first")
    site.submit("second")
    state = wait_for("the second waits or trains", lambda: site.process("second").get("progressStatus"))
    assert state["status"] in ("NOT_STARTED", "RUNNING", "FINISHED")
    site.cancel("first")
    site.wait_status("first", "CANCELLED")
    site.wait_status("second", "FINISHED", "CANCELLED")
    site.nothing_left()


# These break a producer or its functions, so each has a site of its own.


def test_producer_killed_in_training_is_adopted(own_site):
    """The workers go on; started again, the producer takes the job over, and it trains once."""
    site = own_site
    site.add_recipe(recipe("long", "LONG", batch=8, epochs=400))
    site.submit("survivor", aIMLInferenceName="LONG")
    site.wait_training("survivor")
    workers = site.workers()
    site.producer.kill()
    assert all(alive(pid) for pid in workers)
    site.start_producer()
    site.wait_status("survivor", "FINISHED", seconds=90)
    objects = site.client().objects()
    assert len([dn for dn in objects if dn.startswith(f"{REPOSITORY},MLModel=survivor") and dn.count(",") == 2]) == 1
    assert report_dn("survivor") in objects
    events = [each["event"] for each in site.client().request("GET", "/muster/v1/jobs/survivor/log").body]
    assert len([event for event in events if "training starts" in event]) == 1, events
    site.nothing_left()


@pytest.mark.parametrize("phase", ["EVALUATING", "AGREEING", "PREPARING", "CALIBRATING", "COMMITTING", "RUNNING"])
def test_producer_killed_before_training(own_site, phase):
    """No request that was answered is lost, and it trains exactly once."""
    site = own_site
    site.submit("kept")

    def reached():
        status = site.process("kept").get("progressStatus", {})
        return phase in status.get("progressStateInfo", "") or status.get("status") in ("RUNNING", "FINISHED")

    wait_for(phase, reached, every=0.002)
    site.producer.kill()
    site.start_producer()
    assert site.client().get(request_dn("kept")).status == 200
    site.wait_status("kept", "FINISHED", seconds=60)
    models = [dn for dn in site.client().objects(REPOSITORY) if dn.count(",") == 2]
    assert len(models) == 1, models
    site.nothing_left()
    works_again(site, "kept-next")


def training_function(site):
    """(name, its program, its worker) of a function that trains."""
    name, program = next(each for each in site.functions.items() if each[1].children("muster-worker"))
    return name, program, program.children("muster-worker")[0]


def control_groups(site, name):
    """Those of a function; their names end with a mark of its state folder."""
    mark = hashlib.sha256(os.fsencode((site.folder / "functions" / name).resolve())).hexdigest()[:8]
    return [str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob(f"muster-*-{mark}") if path.is_dir()]


def test_agent_killed_in_training(own_site):
    """It does not come back in time: the job ends with its name. What it left is ended when it does."""
    site = own_site
    site.submit("orphan", aIMLInferenceName="ENDLESS")
    site.wait_training("orphan")
    name, program, worker = training_function(site)
    program.kill()
    site.wait_status("orphan", "CANCELLED")
    assert function_dn(name) in site.reason("orphan"), site.reason("orphan")
    site.again(name)
    works_again(site, "orphan-next")
    assert not alive(worker) and not control_groups(site, name)


def test_worker_without_agent_ends_by_its_lease(own_site):
    site = own_site
    site.submit("alone", aIMLInferenceName="ENDLESS")
    site.wait_training("alone")
    name, program, worker = training_function(site)
    program.kill()
    left = control_groups(site, name)
    wait_for("the worker's end by its lease", lambda: not alive(worker), 40.0)
    site.wait_status("alone", "CANCELLED")
    assert control_groups(site, name) == left, "nobody is there to remove them"
    site.again(name)
    site.nothing_left()
    assert not control_groups(site, name)


def test_agent_killed_in_training_takes_its_worker_over(own_site):
    """kill -9 and a new start within the time: the same worker trains to the end, with the others."""
    site = own_site
    site.add_recipe(recipe("long", "LONG", source="big/train", batch=4000, epochs=80,
                           model={"family": "mlp", "hidden": [512, 512]}))
    site.submit("twice", aIMLInferenceName="LONG")
    site.wait_training("twice")
    assert len(site.workers()) == 2, "the job is too small for two"
    name, program, worker = training_function(site)
    program.kill()
    assert alive(worker)
    site.again(name)
    site.wait_connected(name, free=False)
    assert alive(worker) and not site.functions[name].children("muster-worker"), "a second worker was started"
    site.wait_status("twice", "FINISHED", seconds=90)
    objects = site.client().objects()
    assert len([dn for dn in objects if dn.startswith(f"{REPOSITORY},MLModel=twice") and dn.count(",") == 2]) == 1
    assert report_dn("twice") in objects
    site.nothing_left()
    assert not control_groups(site, name)
    works_again(site, "twice-next")


def test_all_agents_killed_while_their_workers_finish(own_site):
    """What a worker says while nobody listens is said again; the model is uploaded by the agent that comes back."""
    site = own_site
    site.configuration["times"] = {**site.configuration["times"], "reconnect_wait_seconds": 60}
    site.producer.stop()
    site.start_producer()
    site.wait_connected()
    for name in site.functions:  # longer leases: the workers wait for somebody to take their word
        site.functions[name].stop()
        configuration = yaml.safe_load((site.folder / f"{name}.function.yaml").read_text())
        configuration["times"]["worker_lease_seconds"] = 60
        (site.folder / f"{name}.function.yaml").write_text(yaml.safe_dump(configuration))
        site.again(name)
    site.wait_connected()
    site.add_recipe(recipe("middle", "MIDDLE", batch=8, epochs=100))
    site.submit("unheard", aIMLInferenceName="MIDDLE")
    site.wait_training("unheard")
    workers = site.workers()
    for program in site.functions.values():
        program.kill()
    logs = list((site.folder / "functions").glob("*/jobs/*/worker.log"))
    assert len(logs) == len(workers)
    wait_for("the workers' end of training", lambda: all(" trained " in log.read_text() for log in logs), 60.0)
    assert all(alive(pid) for pid in workers)
    for name in list(site.functions):
        site.again(name)
    site.wait_status("unheard", "FINISHED")
    site.nothing_left()


def test_agent_and_worker_killed(own_site):
    """Nobody is left to go on: the job ends with the reason, and the next start of the agent clears up."""
    site = own_site
    site.submit("both", aIMLInferenceName="ENDLESS")
    site.wait_training("both")
    name, program, worker = training_function(site)
    program.kill()
    os.kill(worker, signal.SIGKILL)
    site.again(name)
    site.wait_status("both", "CANCELLED")
    assert site.reason("both").startswith("SYSTEM:"), site.reason("both")
    no_model(site, "both")
    site.nothing_left()
    assert not control_groups(site, name)
    works_again(site, "both-next")


def test_two_agents_cannot_share_a_state(own_site):
    """A second one would take the first one's worker over."""
    second = harness.Program(own_site.folder / "second.log", "function", "--config",
                               own_site.folder / "gnb-1.function.yaml")
    code, _ = second.wait()
    assert code != 0 and "another muster function" in second.words(), second.words()
    works_again(own_site, "after")


def test_agent_asked_to_end_in_training(own_site):
    site = own_site
    site.submit("leaving", aIMLInferenceName="ENDLESS")
    site.wait_training("leaving")
    name, program, _ = training_function(site)
    below = program.children()
    assert program.stop() == 0
    assert not [pid for pid in below if alive(pid)]
    site.wait_status("leaving", "CANCELLED")
    works_again(site, "leaving-next", *[other for other in site.functions if other != name])


def test_two_producers_cannot_share_a_store(own_site):
    second = harness.Program(own_site.folder / "second.log", "producer", "--config", own_site.folder / "producer.yaml")
    code, _ = second.wait()
    assert code != 0, second.words()
    assert own_site.client().request("GET", "/readyz").status == 200
    works_again(own_site, "after")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_full_disk_at_the_producer(tmp_path, tables, small_disk):
    """503 and nothing half-written; with space and a new start, everything that was answered is there."""
    site = harness.Site(tmp_path / "site", tables, state=small_disk / "state")
    try:
        site.start_producer()
        site.add_recipe(recipe())
        site.submit("before")
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb", 0) as filler:
            while True:
                filler.write(bytes(4096))
        answers = {}
        for index in range(60):  # the last free pages of the database and of the log go first
            identity = f"full-{index}"
            answers[identity] = site.client().put(request_dn(identity), request_attributes()).status
        assert 503 in answers.values() and set(answers.values()) <= {201, 503}, answers
        assert site.producer.running() and site.client().get(request_dn("before")).status == 200
        (small_disk / "filler").unlink()
        site.producer.kill()
        site.start_producer()
        for identity, status in answers.items():
            there = site.client().get(request_dn(identity)).status == 200
            assert there == (status == 201), (identity, status)
        assert site.client().get(request_dn("before")).status == 200
        site.submit("after")
    finally:
        site.stop()
