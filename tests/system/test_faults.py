"""Parts die in the middle: a job ends with a model or with a reason, and nothing stays behind."""
import contextlib
import os
import signal
import subprocess

import pytest

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


def test_agent_killed_in_training(own_site):
    """The job ends with its name; the worker ends by its lease; the agent comes back with its keys."""
    site = own_site
    site.submit("orphan", aIMLInferenceName="ENDLESS")
    site.wait_training("orphan")
    name = next(name for name, program in site.functions.items() if program.children("muster-worker"))
    program = site.functions[name]
    (worker, *_) = program.children("muster-worker")
    program.kill()
    site.wait_status("orphan", "CANCELLED")
    assert function_dn(name) in site.reason("orphan"), site.reason("orphan")
    site.again(name)
    works_again(site, "orphan-next")
    wait_for("the worker's end by its lease", lambda: not alive(worker), 40.0)


def test_agent_asked_to_end_in_training(own_site):
    site = own_site
    site.submit("leaving", aIMLInferenceName="ENDLESS")
    site.wait_training("leaving")
    name = next(name for name, program in site.functions.items() if program.children("muster-worker"))
    program = site.functions[name]
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
