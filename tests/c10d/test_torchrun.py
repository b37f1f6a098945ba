"""Plain PyTorch scripts under torchrun, over mutual TLS."""
import json
import re
import shutil
import signal
import socket
import subprocess
import sys

from conftest import SCRIPTS, environment, issue_job, torchrun


def result_of(done):
    """The JSON line that a script has printed."""
    assert done.returncode == 0, done.stdout
    line = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    assert line, done.stdout
    return json.loads(line)


def test_ddp_trains_as_one_process_does(certificates):
    done = result_of(torchrun("ddp.py", ranks=2, MUSTER_C10D_FOLDER=certificates, MUSTER_C10D_IDENTITIES="muster://job/demo/rank-{rank}"))
    assert done["backend"] == "muster"
    assert done["difference"] < 1e-14
    assert done["names"] == ["never in torchrun's store"] * 2


def test_fsdp_checkpoints_and_pipelines_compute_as_one_process_does(certificates, tmp_path):
    done = result_of(torchrun("parallel.py", tmp_path / "checkpoint", ranks=3, MUSTER_C10D_FOLDER=certificates))
    assert done["fsdp"] < 1e-14 and done["pipeline"] < 1e-14
    assert done["checkpoint"] == 0 and done["before_loading"] > 0.1
    assert done["threads"] <= 3  # however many groups there are
    assert len(done["edges"]) == 2 and all(cipher.startswith("TLSv1.3 ") for cipher in done["edges"])


def test_groups_of_some_ranks(certificates):
    assert result_of(torchrun("groups.py", ranks=3, MUSTER_C10D_FOLDER=certificates))["backend"] == "muster"


def test_torchrun_s_store_carries_one_address_and_no_more(certificates):
    done = result_of(torchrun("carrier.py", ranks=2, MUSTER_C10D_FOLDER=certificates))
    assert len(done["keys"]) == 1 and re.fullmatch(r".*muster_c10d/0/.*store", done["keys"][0]), done
    assert re.fullmatch(r"127\.0\.0\.1:\d+", done["values"][0])


def test_a_rank_with_another_job_s_certificate_is_refused_by_name(certificates, tmp_path):
    strange = issue_job(tmp_path / "strange")  # the same job name and ranks, another CA
    mixed = tmp_path / "mixed"
    shutil.copytree(certificates, mixed)
    for file in ("rank-1.pem", "rank-1.key"):
        shutil.copy(strange / file, mixed)
    done = torchrun("ddp.py", ranks=2, MUSTER_C10D_FOLDER=mixed)
    assert done.returncode != 0
    assert "muster_c10d: refused: 127.0.0.1" in done.stdout, done.stdout
    assert "the store of rank 0 (muster://job/demo/rank-0)" in done.stdout, done.stdout
    assert "CA" in done.stdout


def without_torchrun(script, folder, ranks):
    """Runs a script as plain processes. Returns [(exit status, what it said)] in rank order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"MUSTER_C10D_FOLDER": folder, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [subprocess.Popen([sys.executable, SCRIPTS / script], env=environment(RANK=rank, **settings),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for rank in range(ranks)]
    try:
        said = [each.communicate(timeout=120)[0] for each in running]
    finally:
        for each in running:
            each.kill()
    return [(each.returncode, words) for each, words in zip(running, said)]


def test_without_torchrun_no_store_of_torch_is_needed(certificates):
    done = without_torchrun("ddp.py", certificates, ranks=2)
    assert [status for status, _ in done] == [0, 0], done
    assert json.loads(done[0][1].splitlines()[-1])["difference"] < 1e-14


def test_a_rank_that_is_killed_is_named_on_all_others(certificates):
    done = without_torchrun("loses_one.py", certificates, ranks=3)
    assert done[1][0] == -signal.SIGKILL
    for rank in (0, 2):
        assert re.search(r"^failed: rank 1 \(muster://job/demo/rank-1\)", done[rank][1], re.MULTILINE), done[rank][1]
