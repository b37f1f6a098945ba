"""`muster bench collectives`: figures of real processes over mutual TLS, and nothing left of them."""
import contextlib
import json
import os
import pathlib
import signal
import stat

import pytest

from harness import Program, muster, wait_for
from processes import BIN, descendants

OPERATIONS = ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"]
FAST = ("--rounds", "3", "--warm-up", "1", "--rebuilds", "1")


def bench(*arguments):
    done = muster("bench", "collectives", *arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_operation_and_size(ranks):
    found = bench("--ranks", ranks, "--sizes", "4KiB,100,1MiB", *FAST,
                  "--operations", ",".join([*OPERATIONS, "barrier"]), "--stripes", 2)
    assert found["ranks"] == ranks and found["cipher"].startswith("TLSv1.3")
    assert found["set_up_ms"] > 0 and len(found["rebuild_ms"]) == 1 and found["memory_bytes"] >= 0
    cases = [(case["operation"], case["bytes"]) for case in found["cases"]]
    assert cases == [(operation, size) for operation in OPERATIONS for size in (4096, 100, 1 << 20)] + [("barrier", 0)]
    for case in found["cases"]:
        assert 0 < case["min_ms"] <= case["p50_ms"] <= case["p95_ms"] and case["rounds"] == 3
    large = found["cases"][2]
    travelled = 2 * (ranks - 1) / ranks * large["bytes"]
    assert travelled <= large["bytes_sent"] <= 1.05 * travelled
    assert large["bus_bytes_per_second"] == pytest.approx(travelled / (large["p50_ms"] / 1e3))


def test_tables_are_for_people():
    done = muster("bench", "collectives", "--sizes", "64KiB", *FAST)
    assert done.returncode == 0 and "all_reduce   64 KiB" in done.stdout
    assert "2 ranks, TLSv1.3" in done.stderr


def test_a_rank_is_started_as_one_likes(tmp_path):
    """As by ssh: any command that ends in muster."""
    script = tmp_path / "elsewhere"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-here\nexec {BIN}/muster \"$@\"\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    found = bench("--rank", "127.0.0.1", "--rank", f"::1=env A=1 {script}", "--sizes", "4KiB", *FAST)
    assert found["ranks"] == 2 and (tmp_path / "was-here").exists()


@pytest.mark.parametrize("arguments, words", [
    (("--sizes", "6"), "whole number"),
    (("--sizes", "4xB"), "--sizes"),
    (("--ranks", "1"), "--ranks"),
    (("--operations", "all_reduce,sort"), "sort"),
    (("--rank", "127.0.0.1"), "one rank has nobody to talk to"),
    (("--rank", "127.0.0.1", "--rank", "=ssh x"), "neither HOST nor HOST=COMMAND"),
    (("--rank", "127.0.0.1", "--ranks", "2"), "excludes")])
def test_wrong_input(arguments, words):
    done = muster("bench", "collectives", *arguments)
    assert done.returncode == 4 and words in done.stderr and done.stdout == "", done.stderr


@pytest.mark.parametrize("place, words", [
    ("127.0.0.1=false", "rank 1 at 127.0.0.1 has ended: exit status 1"),
    ("127.0.0.1=no-such-program", "exit status 127"),
    ("127.0.0.1=echo hello", "is no muster bench rank"),
    ("192.0.2.1", "rank 1 at 192.0.2.1: cannot listen")])
def test_a_rank_that_cannot_start_is_named(place, words):
    done = muster("bench", "collectives", "--rank", "127.0.0.1", "--rank", place)
    assert done.returncode == 2 and words in done.stderr, done.stderr


@pytest.fixture
def endless(tmp_path):
    """A bench that goes on for a long time, with its ranks at work."""
    program = Program(tmp_path / "log", "bench", "collectives", "--sizes", "1MiB", "--rounds", "100000")
    try:
        def at_work():
            ranks = program.children("muster")
            return ranks if len(ranks) == 2 and all(sockets(rank) > 1 for rank in ranks) else None
        yield program, wait_for("two ranks", at_work)
    finally:
        program.stop()


def sockets(pid):
    """The listening one, and those of the group."""
    found = 0
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(entry).startswith("socket:")
    return found


def test_a_rank_that_dies_is_named(endless):
    program, ranks = endless
    os.kill(ranks[1], signal.SIGKILL)
    code, output = program.wait()
    assert code == 2 and output == "" and "rank " in program.words(), program.words()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_rank_outlives_it(endless, number):
    program, ranks = endless
    program.signal(number)
    code, _ = program.wait()
    assert code == (-9 if number == signal.SIGKILL else 3), program.words()
    wait_for("ranks end", lambda: not set(ranks) & set(descendants(os.getpid())))
