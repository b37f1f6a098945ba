"""Measures what docs/benchmarks.md says, on this machine, now.

    ./run bench main                      all cases of tests/bench/main_cases.py, as a table
    ./run bench main --output json        the same as one JSON array of rows
    ./run bench main --only one-function  only the cases whose group has this in its name
    ./run bench collectives               the collectives over mutual TLS against Gloo and OpenMPI
    ./run bench models                    split models, language models

A row: {case, value, unit, reference, reference_value, ratio, target, holds}. `ratio` is value / reference_value; `target`
says which of the two is held against what. A row that falls short says "holds": false and stays; one that cannot be
measured here has no value and says why under "skipped". Nothing else should run on the machine; progress and the load
that was found go to stderr.
"""
import argparse
import importlib
import json
import os
import signal
import sys
import time

from measure import Row

BENCHES = {"main": "main_cases", "collectives": "collectives_cases", "models": "models_cases", "data": "data_cases"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def number(value):
    if value is None:
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    return f"{value:.1e}" if size < 1e-3 else f"{value:.3g}" if size < 0.1 else f"{value:,.3f}" if size < 100 else f"{value:,.0f}"


def table(rows):
    header = ["case", "value", "unit", "reference", "reference value", "ratio", "target", "holds"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        lines.append([row.case, number(row.value), row.unit, row.reference or "-", number(row.reference_value),
                      number(row.ratio), f"skipped: {row.skipped}" if row.skipped else row.target or "-", {True: "yes", False: "**no**", None: "-"}[row.holds]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def end_cleanly(_number, _frame):
    sys.exit(128 + signal.SIGTERM)


def main():
    signal.signal(signal.SIGTERM, end_cleanly)  # as Ctrl-C does: what was made is removed
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--output", choices=["table", "json"], default="table")
    parser.add_argument("--only", default="", help="only the groups of cases whose name contains this")
    chosen = parser.parse_args()
    groups = [(name, group) for name, group in importlib.import_module(BENCHES[chosen.name]).GROUPS.items()
              if chosen.only in name]
    if not groups:
        parser.error(f"no group of {chosen.name} is called like {chosen.only!r}")
    rows = []
    for name, group in groups:
        say(f"==> {name} (load {os.getloadavg()[0]:.2f})")
        begin = time.monotonic()
        for row in group():
            assert isinstance(row, Row)
            rows.append(row)
            say(f"    {row.case}: skipped, {row.skipped}" if row.skipped else
                f"    {row.case}: {number(row.value)} {row.unit}, ratio {number(row.ratio)}, holds {row.holds}")
        say(f"    took {time.monotonic() - begin:.0f} s")
    print(json.dumps([row.to_json() for row in rows], indent=1) if chosen.output == "json" else table(rows))


if __name__ == "__main__":
    main()
