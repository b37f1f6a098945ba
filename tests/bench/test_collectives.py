"""The bench of the collectives: each engine measures, and links are removed however one leaves."""
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import collectives_engines as engines
from namespaces import Link, NotPossible

HERE = pathlib.Path(__file__).parent
SOON = 20.0


def made_namespaces():
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout


@pytest.fixture
def link_rights():
    try:
        with Link(1_000_000_000):
            pass
    except NotPossible as reason:
        pytest.skip(str(reason))


def test_every_engine_gives_milliseconds():
    assert 0 < engines.Muster(2).all_reduce(4096, rounds=3) < 1000
    assert 0 < engines.MusterWithoutCipher(3).all_reduce(4 << 20, rounds=3) < 1000
    with engines.gloo_on_loopback(2) as gloo:
        assert 0 < gloo.all_reduce(4096, rounds=3) < 1000
        assert 0 < gloo.all_reduce(65536, rounds=3) < 1000
    if not engines.OpenMpi.missing():
        assert 0 < engines.OpenMpi(2).all_reduce(4096, rounds=3) < 10000


def test_bytes_through_the_cipher():
    assert engines.encrypted_bytes(1000, 2) == 2000  # half sent, half received, twice
    assert engines.encrypted_bytes(1000, 4) == 3000
    assert engines.cipher_rate() > 1e7


def test_a_link_is_limited_and_removed(link_rights):
    with Link(100_000_000) as link:
        shown = subprocess.run([*link.inside(1), "tc", "qdisc", "show", "dev", link.interface], capture_output=True, text=True)
        assert "tbf" in shown.stdout and "100Mbit" in shown.stdout
        assert f"-{os.getpid()}-" in made_namespaces()
    assert f"-{os.getpid()}-" not in made_namespaces()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_link_does_not_outlive_the_bench(link_rights, number):
    """After kill -9 the next bench removes it."""
    script = ("import bench, signal, namespaces\n"
              "signal.signal(signal.SIGTERM, bench.end_cleanly)\n"
              "with namespaces.Link(1000000000):\n    print('made', flush=True)\n    signal.pause()\n")
    with subprocess.Popen([sys.executable, "-c", script], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as holder:
        assert holder.stdout.readline() == "made\n" and f"-{holder.pid}-" in made_namespaces()
        holder.send_signal(number)
        begin = time.monotonic()
        holder.wait(SOON)
        assert time.monotonic() - begin < SOON
    if number == signal.SIGKILL:
        with Link(1_000_000_000):
            pass
    assert f"-{holder.pid}-" not in made_namespaces()
