"""PyTorch's own tests of distributed backends, on ours: distributed_tests.txt says which pass, and why others are skipped."""
import json
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import environment, issue_job

HERE = pathlib.Path(__file__).parent
PROCESSES = 2


def expected():
    """{test: what is said of it}"""
    lines = [line.split(": ", 1) for line in (HERE / "distributed_tests.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(lines)


def suite(*arguments, output, **settings):
    return subprocess.Popen([sys.executable, HERE / "distributed_suite.py", "muster", *map(str, arguments)],
                            env=environment(**settings), stdout=output, stderr=subprocess.STDOUT, text=True)


def test_every_test_of_torch_is_judged():
    names = suite(3, "list", output=subprocess.PIPE).communicate(timeout=120)[0].split()
    listed = expected()
    assert set(names) == set(listed)
    for name, words in listed.items():
        assert re.fullmatch(r"passes( with 4 ranks)?|skipped, .{5,}", words), f"{name}: {words}"


@pytest.mark.parametrize("ranks, words", [(3, "passes"), (4, "passes with 4 ranks")])
def test_what_passes_on_gloo_passes_and_more(tmp_path, ranks, words):
    names = [name for name, said in expected().items() if said == words]
    assert len(names) >= (90 if ranks == 3 else 3)
    folder = issue_job(tmp_path / "certificates", ranks=ranks)
    parts = [names[part::PROCESSES] for part in range(PROCESSES)]
    running = []
    for part in range(PROCESSES):
        with open(tmp_path / f"{part}.txt", "w", encoding="utf-8") as output:
            running.append(suite(ranks, "run", tmp_path / f"{part}.jsonl", *parts[part], output=output,
                                 MUSTER_C10D_FOLDER=folder))
    try:
        for each in running:
            each.wait(timeout=400)
    finally:
        for each in running:
            each.kill()
    results = {}
    for part in range(PROCESSES):
        file = tmp_path / f"{part}.jsonl"
        results |= {line["name"]: line for line in map(json.loads, file.read_text().splitlines())} if file.exists() else {}
    bad = [f"{name}: {results[name]['outcome']}\n{results[name]['said']}" if name in results else f"{name}: did not run"
           for name in names if results.get(name, {}).get("outcome") != "passed"]
    assert not bad, "\n".join([*bad, *((tmp_path / f"{part}.txt").read_text()[-3000:] for part in range(PROCESSES))])
