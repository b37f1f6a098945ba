"""What is measured side by side: our collectives, Gloo, OpenMPI, and the cipher alone. Each gives milliseconds."""
import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from measure import BENCH, BIN, ROOT, RUN_SECONDS, run_json

KIB, MIB = 1 << 10, 1 << 20
RECORD_BYTES = 16 * KIB
MUSTER = BIN / "muster"
PLAIN_RANK = BIN / "muster-bench-plain-rank"  # the same engine over plain TCP


def size_text(size):
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // KIB} KiB"


def rounds_for(size):
    """Measured rounds of one turn."""
    return 100 if size <= 64 * KIB else 30 if size <= MIB else 5 if size <= 25 * MIB else 3


# --- ours --------------------------------------------------------------------------------------------------------


def bench(*arguments):
    """What `muster bench collectives` prints, as JSON."""
    return run_json(MUSTER, "bench", "collectives", *arguments, "--output", "json")


class Muster:
    """Our ranks; `places` are arguments of --rank when they are not all `muster` on loopback."""

    cipher = "TLSv1.3 TLS_AES_128_GCM_SHA256"  # what `cipher_rate` measures

    def __init__(self, ranks, places=(), stripes=1):
        self._where = [word for place in places for word in ("--rank", place)] or ["--ranks", ranks]
        self._where += ["--stripes", stripes]

    def all_reduce(self, size, rounds=None, warm_up=3):
        found = bench(*self._where, "--sizes", size, "--rounds", rounds or rounds_for(size), "--warm-up", warm_up,
                      "--rebuilds", 0, "--timeout", 120)
        assert found["cipher"] == self.cipher, f"the cipher is {found['cipher']}, not {self.cipher}"
        return found["cases"][0]["p50_ms"]


class MusterWithoutCipher(Muster):
    """Our engine over plain TCP, which exists in this bench only."""

    cipher = "none"

    def __init__(self, ranks):
        super().__init__(ranks, [f"127.0.0.1={PLAIN_RANK}"] * ranks)


# --- Gloo --------------------------------------------------------------------------------------------------------


class Gloo:
    """Gloo's ranks as processes that stay, since each takes seconds to start. `places` are (interface, [words before
    the program]), one for each rank."""

    def __init__(self, places):
        self._places = places
        self._stack = contextlib.ExitStack()
        self._ranks = []

    def __enter__(self):
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-gloo-"))
        for rank, (interface, words) in enumerate(self._places):
            process = subprocess.Popen(
                [*words, sys.executable, str(BENCH / "collective" / "gloo_rank.py"), str(rank), str(len(self._places)),
                 f"{folder}/store", interface], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"})
            self._stack.callback(_end, process)
            self._ranks.append(process)
        return self

    def __exit__(self, *_):
        self._stack.close()

    def all_reduce(self, size, rounds=None, warm_up=3):
        order = json.dumps({"bytes": size, "rounds": rounds or rounds_for(size), "warm_up": warm_up}) + "\n"
        for rank in self._ranks:
            rank.stdin.write(order)
            rank.stdin.flush()
        answers = [rank.stdout.readline() for rank in self._ranks]  # a rank that hangs ends by its own time-out
        if not all(answers):
            raise RuntimeError("a rank of gloo has ended")
        return statistics.median(max(round_times) for round_times in zip(*map(json.loads, answers)))


def _end(process):
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def gloo_on_loopback(ranks):
    return Gloo([("lo", [])] * ranks)


# --- OpenMPI -----------------------------------------------------------------------------------------------------


class OpenMpi:
    """OpenMPI over tcp on loopback, ranks not bound to cores. Its ranks wait in a loop, so none stays between turns."""

    def __init__(self, ranks):
        self._ranks = ranks

    @staticmethod
    def missing():
        """Why it cannot be measured; None when it can."""
        if shutil.which("mpirun") and shutil.which("mpicc"):
            return None
        packages = " ".join(line for line in (ROOT / "packaging" / "apt-bench.txt").read_text().splitlines()
                            if not line.startswith("#"))
        return f"no mpirun and mpicc here (apt-get install {packages})"

    @staticmethod
    @functools.cache
    def _program():
        program = BIN / "muster-bench-mpi-rank"
        subprocess.run(["mpicc", "-O3", "-o", str(program), str(BENCH / "collective" / "mpi_rank.c")], check=True)
        return program

    def all_reduce(self, size, rounds=None, warm_up=3):
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        times = run_json("mpirun", *root, "--oversubscribe", "--bind-to", "none", "-n", self._ranks,
                         "--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo",
                         self._program(), size, rounds or rounds_for(size), warm_up)
        return statistics.median(times)


# --- the cipher alone --------------------------------------------------------------------------------------------


def cipher_rate():
    """AES-128-GCM of one core on records of 16 KiB, bytes a second, as `openssl speed` finds it."""
    done = subprocess.run(["openssl", "speed", "-evp", "aes-128-gcm", "-bytes", str(RECORD_BYTES), "-seconds", "1", "-mr"],
                          capture_output=True, text=True, check=True, timeout=RUN_SECONDS)
    return float(re.search(r"^\+F:\d+:AES-128-GCM:([\d.]+)", done.stdout, re.MULTILINE).group(1))


def encrypted_bytes(size, ranks):
    """What one rank encrypts and decrypts at least in an all-reduce."""
    return 2 * 2 * (ranks - 1) / ranks * size


def cores():
    return len(os.sched_getaffinity(0))
