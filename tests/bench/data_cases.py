"""The figures of data: how fast sources are read, and what models of open data reach. Each group yields rows."""
import contextlib
import gzip
import json
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy
import pyarrow.csv

from measure import BENCH, BIN, ROOT, Row, in_turns, run_json
from models_cases import example

EXAMPLES = ROOT / "examples"
GIGABYTE = 1 << 30
COLUMNS = 20
RECIPE = {"name": "gigabyte", "data": {"source": "s", "target": "y"}, "loss": "l1"}


def write_gigabyte(path):
    """Numbers with a few digits, two texts, some missing."""
    source = random.Random(1)
    header = ",".join([f"x{i}" for i in range(COLUMNS - 3)] + ["cell", "band", "y"]) + "\n"
    lines = []
    for _ in range(20_000):
        numbers = [f"{source.gauss(0, 100):.{source.randint(0, 4)}f}" if source.random() > 0.01 else "" for _ in range(COLUMNS - 3)]
        lines.append(",".join(numbers + [source.choice("abcdef"), source.choice(["n8", "n78"]), f"{source.random():.4f}"]))
    block = "\n".join(lines) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(header)
        written = 0
        while written < GIGABYTE:
            written += file.write(block)


class AnonymousMemory(threading.Thread):
    """The most anonymous resident memory that a process had, as /proc says it."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most = pid, 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon"):
                        self.most = max(self.most, int(line.split()[1]) * 1024)
                time.sleep(0.02)


def encode(folder, source):
    """(answer, seconds, most anonymous bytes) of muster-data."""
    request = folder / "request.json"
    request.write_text(json.dumps({"train": str(source), "test": None, "recipe": RECIPE}))
    begin = time.monotonic()
    program = subprocess.Popen([BIN / "muster-data", "--request", request, "--cache", folder / "cache"],
                               stdout=subprocess.PIPE, text=True)
    memory = AnonymousMemory(program.pid)
    answer, _ = program.communicate(timeout=600)
    return json.loads(answer), time.monotonic() - begin, memory.most


def reading():
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        folder = pathlib.Path(folder)
        source = folder / "gigabyte.csv"
        write_gigabyte(source)
        begin = time.monotonic()
        rows = pyarrow.csv.read_csv(source).num_rows
        arrow = time.monotonic() - begin
        answer, first, memory = encode(folder, source)
        assert answer["info"]["rows"] == rows, answer
        yield Row("1 GB of CSV: first read, encoded matrix written", GIGABYTE / first / 1e6, "MB/s",
                  "pyarrow.csv.read_csv into memory", GIGABYTE / arrow / 1e6, ratio_at_least=0.5)
        yield Row("1 GB of CSV: anonymous resident memory", memory / 1e6, "MB", value_at_most=300)
        _, second, _ = encode(folder, source)
        yield Row("1 GB of CSV: second start", second, "s", value_at_most=0.5)


def quality():
    housing = EXAMPLES / "housing"
    report, seconds = example(housing / "housing.yaml", {f"housing/{part}": housing / f"{part}.csv.gz" for part in ("train", "test")})
    yield Row(f"housing, mlp: R2 on the test rows ({seconds:.0f} s)", report["metrics"]["test"]["R2"], "%", "ridge", 64.6,
              value_at_least=78.0)
    attacks = EXAMPLES / "intrusion"
    report, seconds = example(attacks / "intrusion.yaml", {"intrusion/train": attacks / "train", "intrusion/test": attacks / "test.csv.gz"})
    yield Row(f"intrusion, mlp on the columns that give nothing away: accuracy on the test rows ({seconds:.0f} s)",
              report["metrics"]["test"]["accuracy"], "%", "logistic regression", 89.4, value_at_least=99.5)


def trees_quality():
    """Boosted trees on the same data."""
    housing = EXAMPLES / "housing"
    report, seconds = example(housing / "housing-trees.yaml", {f"housing/{part}": housing / f"{part}.csv.gz" for part in ("train", "test")})
    yield Row(f"housing, gbdt: R2 on the test rows ({seconds:.0f} s)", report["metrics"]["test"]["R2"], "%", "ridge", 64.6,
              value_at_least=82.0)
    attacks = EXAMPLES / "intrusion"
    report, seconds = example(attacks / "intrusion-trees.yaml",
                              {"intrusion/train": attacks / "train", "intrusion/test": attacks / "test.csv.gz"})
    yield Row(f"intrusion, gbdt on the columns that give nothing away: accuracy on the test rows ({seconds:.0f} s)",
              report["metrics"]["test"]["accuracy"], "%", "logistic regression", 89.4, value_at_least=99.8)
    lte = EXAMPLES / "lte-kpi"
    report, seconds = example(lte / "lte-drop-rate-trees.yaml", {f"lte-kpi/{part}": lte / f"{part}.csv.gz" for part in ("train", "test")})
    yield Row(f"lte-kpi, gbdt, drop rate one hour ahead: MAE on 2019 ({seconds:.0f} s)", report["metrics"]["test"]["MAE"], "%",
              "ridge on 25 lags, the last week and the calendar", 0.0070, value_at_most=0.0060)


def with_late(source, path):
    """ue-delay with a column that says which messages came more than 30 ms late."""
    with gzip.open(source, "rt", encoding="utf-8") as file, open(path, "w", encoding="utf-8") as out:
        header = next(file).strip().split(",")
        at = header.index("delay_ms")
        out.write(",".join([*header, "late"]) + "\n")
        for line in file:
            cells = line.strip().split(",")
            out.write(",".join([*cells, "yes" if float(cells[at]) > 30 else "no"]) + "\n")


def late():
    delay = EXAMPLES / "ue-delay"
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        sources = {f"ue-late/{part}": pathlib.Path(folder) / f"{part}.csv" for part in ("train", "test")}
        for name, path in sources.items():
            with_late(delay / f"{name.split('/')[1]}.csv.gz", path)
        report, seconds = example(delay / "ue-late.yaml", sources)
    yield Row(f"ue-delay, gbdt with history: AUC of what is later than 30 ms ({seconds:.0f} s)", report["metrics"]["test"]["AUC"],
              "%", "softmax with history", 93.2, value_at_least=97.0)


TREE_ROWS, TREE_COLUMNS, TREES = 500_000, 40, 30


def free_ports(count):
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def plain_trees(table, members):
    """Seconds of a tree of plain LightGBM, alone or over its own sockets without TLS."""
    command = [sys.executable, BENCH / "plain_lightgbm.py", table, str(TREE_COLUMNS), str(TREES)]
    ports = ",".join(map(str, free_ports(members)))
    more = [[]] if members == 1 else [[str(rank), ports] for rank in range(members)]
    programs = [subprocess.Popen([*command, *each], stdout=subprocess.PIPE, text=True) for each in more]
    answers = [json.loads(program.communicate(timeout=600)[0].splitlines()[-1]) for program in programs]
    return max(answer["seconds_per_tree"] for answer in answers)


def tree_speed():
    """l2 on a large table: over mutual TLS against LightGBM's sockets, and against one thread."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        table = pathlib.Path(folder) / "table.f32"
        numbers = numpy.random.default_rng(1)
        inputs = numbers.normal(size=(TREE_ROWS, TREE_COLUMNS)).astype(numpy.float32)
        target = inputs[:, 0] * inputs[:, 1] + numpy.sin(3 * inputs[:, 2]) + (inputs[:, 3] > 0.5) + 0.3 * numbers.normal(size=TREE_ROWS)
        numpy.concatenate([inputs, target[:, None].astype(numpy.float32)], axis=1).tofile(table)

        def ours(members):
            return run_json(BIN / "muster-bench", "trees", "--table", table, "--columns", TREE_COLUMNS, "--members", members,
                            "--trees", TREES)["seconds_per_tree"]
        two, sockets, one, plain = in_turns(5, lambda: ours(2), lambda: plain_trees(table, 2), lambda: ours(1),
                                            lambda: plain_trees(table, 1))
    yield Row("gbdt l2, 500,000 x 40, two functions over mutual TLS", 1 / two, "trees/s", "LightGBM's own sockets, plain",
              1 / sockets, ratio_at_least=0.85)
    yield Row("gbdt l2, 500,000 x 40, two functions over mutual TLS", 1 / two, "trees/s", "one function, one thread", 1 / one,
              ratio_at_least=1.6)
    yield Row("gbdt l2, 500,000 x 40, one function, one thread", 1 / one, "trees/s", "plain LightGBM, one thread", 1 / plain)


SHIPPED = 500_000_000


def shipping():
    """500 MB between two functions: over the group's mutual TLS, hashed, into a file, and as bare as TLS can be."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        def rate(*what):
            return run_json(BIN / "muster-bench", *what, "--bytes", SHIPPED)["bytes_per_second"] / 1e6
        ours, kept, dropped = in_turns(7, lambda: rate("ship", "--folder", folder), lambda: rate("tls", "--folder", folder),
                                       lambda: rate("tls"))
    yield Row("500 MB shipped, verified by SHA-256 and kept", ours, "MB/s", "bare TLS 1.3 sender, written to a file", kept,
              ratio_at_least=0.8)
    yield Row("500 MB shipped, verified by SHA-256 and kept", ours, "MB/s", "bare TLS 1.3 sender, bytes dropped", dropped)


GROUPS = {"reading": reading, "quality": quality, "trees": trees_quality, "late": late, "tree-speed": tree_speed, "shipping": shipping}
