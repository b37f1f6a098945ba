"""The figures of the main job. Each group is a function that yields rows."""
import contextlib
import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import yaml

from measure import BIN, EXAMPLE, ROOT, Row, hidden_text, in_turns, python_json, run_json

sys.path.insert(0, str(ROOT / "tests" / "system"))
import harness  # noqa: E402  (the same site as the system tests')

SMALL = ([256, 256], 1024, 600)   # hidden, batch, timed steps
LARGE = ([1024, 1024], 4096, 24)
TURNS = 3
ORIGINAL_RECIPE = yaml.safe_load((EXAMPLE / "ue-delay.yaml").read_text())
ORIGINAL_RECIPE["optimizer"]["learning_rate"] = float(ORIGINAL_RECIPE["optimizer"]["learning_rate"])  # YAML 1.1: a text
REQUEST = yaml.safe_load((EXAMPLE / "ue-delay.request.yaml").read_text())
CORES = {"nwdaf-1": 1.0, "gnb-2": 0.5, "gnb-1": 0.25}


@functools.cache
def scratch():
    """A folder that lives as long as this program."""
    folder = tempfile.TemporaryDirectory(prefix="muster-bench-")
    scratch.keep = folder
    return pathlib.Path(folder.name)


@functools.cache
def matrix():
    """The example's rows as muster-data encodes them."""
    request = scratch() / "data.json"
    request.write_text(json.dumps({"train": str(EXAMPLE / "train.csv.gz"), "test": str(EXAMPLE / "test.csv.gz"),
                                   "recipe": ORIGINAL_RECIPE}))
    return run_json(BIN / "muster-data", "--request", request, "--cache", scratch() / "cache")["folder"]


# --- the demo ----------------------------------------------------------------------------------------------------


@functools.cache
def demo(cpu):
    """(what `muster demo --cpu ...` prints, wall seconds)"""
    begin = time.monotonic()
    folder = scratch() / f"demo-{cpu.replace(',', '-')}"
    folder.mkdir()
    result = run_json(BIN / "muster", "demo", "--cpu", cpu, "--output", "json", cwd=folder)
    return result, time.monotonic() - begin


def test_mae(cpu):
    return demo(cpu)[0]["metrics"]["test"]["MAE"]


def demo_cases():
    result, seconds = demo("100,50,25")
    yield Row("ue-delay: test MAE, three functions", test_mae("100,50,25"), "ms", "median predictor",
              result["baselines"]["naive"]["test"]["MAE"], value_at_most=2.78)
    optimizer = ORIGINAL_RECIPE["optimizer"]
    plain = python_json("plain_mlp.py", "--matrix", matrix(), "--hidden", hidden_text(ORIGINAL_RECIPE["model"]["hidden"]),
                        "--epochs", ORIGINAL_RECIPE["epochs"], "--batch", ORIGINAL_RECIPE["batch"], "--weight-decay",
                        optimizer["weight_decay"], "--schedule", optimizer["schedule"], "--seeds", ORIGINAL_RECIPE["seed"])
    yield Row("ue-delay: test MAE, three functions", test_mae("100,50,25"), "ms", "plain PyTorch, same recipe",
              plain["MAE"])
    for cpu in ("100,100", "100,50,25"):
        shares = " / ".join(f"{100 * each['share']:.0f}" for each in demo(cpu)[0]["participants"])
        yield Row(f"ue-delay: test MAE, functions at {cpu} % of a core (shares {shares} %)", test_mae(cpu), "ms",
                  "one function", test_mae("100"), ratio_at_most=1.01, ratio_at_least=0.99)
    yield Row("muster demo: wall time", seconds, "s", value_at_most=60)


def equality():
    found = bench_json("equality", ([64, 64], 1024, 50))["largest_relative_difference"]
    yield Row("fp64 parameters after 50 steps, 2 and 3 functions, three divisions: largest relative difference", found, "",
              "one function", value_at_most=1e-10)


# --- speed -------------------------------------------------------------------------------------------------------


def bench_json(what, shape, *more):
    hidden, batch, steps = shape
    return run_json(BIN / "muster-bench", what, "--matrix", matrix(), "--recipe", EXAMPLE / "ue-delay.yaml", "--hidden",
                    hidden_text(hidden), "--batch", batch, "--steps", steps, *more)


def rate(what, shape):
    return lambda: bench_json(what, shape)["rows_per_second"]


@functools.cache
def ddp_launches():
    """Seconds from torchrun's launch to the first step, as they come up."""
    return []


def ddp_rate(shape):
    def measure():
        hidden, batch, steps = shape
        found = python_json("ddp_gloo.py", "--matrix", matrix(), "--hidden", hidden_text(hidden), "--batch", batch,
                            "--steps", steps)
        ddp_launches().append(found["launch_to_first_step_seconds"])
        return found["rows_per_second"]
    return measure


def shape_text(shape):
    return f"hidden {shape[0]}, batch {shape[1]}"


def two_functions():
    for shape in (SMALL, LARGE):
        ours, ddp = in_turns(TURNS, rate("group", shape), ddp_rate(shape))
        yield Row(f"two functions on two cores, TLS 1.3: {shape_text(shape)}", ours, "rows/s",
                  "PyTorch DDP, gloo, no encryption", ddp, ratio_at_least=1.0)


def one_function():
    for shape in (SMALL, LARGE):
        ours, bare = in_turns(TURNS + 2, rate("trainer", shape), rate("bare", shape))
        yield Row(f"one function: {shape_text(shape)}", ours, "rows/s", "bare C++ loop over the same module", bare,
                  ratio_at_least=0.95)


# --- a site ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running_site(name, functions):
    """A producer with its usual times and these {function: cores}, connected."""
    sources = {"ue-delay/train": EXAMPLE / "train.csv.gz", "ue-delay/test": EXAMPLE / "test.csv.gz"}
    site = harness.Site(scratch() / name, sources, producer={"times": {}})
    try:
        site.start_producer()
        for function, cores in functions.items():
            site.start_function(function, capacity={"cpu_cores": cores, "bandwidth_mbit": 1000})
        if functions:
            site.wait_connected()
        yield site
    except Exception:
        sys.stderr.write(site.logs())
        raise
    finally:
        site.stop()


def train(site, identity, **changes):
    """Submits, waits for the end, and gives the report as the command line shows it."""
    site.submit(identity, **{**REQUEST, **changes})
    site.wait_status(identity, "FINISHED", seconds=300)
    site.wait_connected()
    return site.run_json("report", identity)


def start_cases():
    with running_site("start", CORES) as site:
        site.add_recipe(ORIGINAL_RECIPE)
        first = train(site, "first")["timings"]["submit_to_first_step_seconds"]
        # The same recipe and data again: what was measured of the model is known.
        second = train(site, "second")["timings"]["submit_to_first_step_seconds"]
    if not ddp_launches():
        ddp_rate(([256, 256], 1024, 5))()
    launch = sorted(ddp_launches())[len(ddp_launches()) // 2]
    yield Row("submit to first step, calibration unknown", first, "s", "torchrun: launch to first step", launch,
              value_at_most=15)
    yield Row("submit to first step, calibration known", second, "s", "torchrun: launch to first step", launch,
              value_at_most=3)


def training_rate(site, identity):
    """Rows a second of all members while they trained, without evaluation."""
    train(site, identity, aIMLInferenceName="muster:heterogeneous", performanceRequirements=[
        {"inferenceOutputName": "delay_ms", "performanceMetric": "MAE", "performanceScore": 1000.0}])
    return site.container(harness.process_dn(identity), "progress")["rows_per_second"]


def heterogeneous():
    hidden, batch, _ = LARGE
    recipe = {**ORIGINAL_RECIPE, "name": "heterogeneous", "inference": "BENCH", "batch": batch, "epochs": 1,
              "model": {"family": "mlp", "hidden": hidden}, "data": {**ORIGINAL_RECIPE["data"], "validation": 0.0}}
    alone = {}
    for name, cores in CORES.items():
        with running_site(f"solo-{name}", {name: cores}) as site:
            site.add_recipe(recipe)
            alone[name] = training_rate(site, "solo")
    with running_site("together", CORES) as site:
        site.add_recipe(recipe)
        together = training_rate(site, "together")
        members = site.run_json("report", "together")["participants"]
    shares = " / ".join(f"{100 * each['share']:.0f}" for each in members)
    yield Row(f"functions at 100/50/25 % of a core: {shape_text(LARGE)} (shares {shares} %)", together, "rows/s",
              "sum of each alone (" + " + ".join(f"{each:.0f}" for each in alone.values()) + ")", sum(alone.values()),
              ratio_at_least=0.85)


# --- small things ------------------------------------------------------------------------------------------------


def help_seconds():
    begin = time.perf_counter()
    subprocess.run([BIN / "muster", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def small():
    yield Row("muster --help", 1000 * in_turns(21, help_seconds)[0], "ms", value_at_most=50)
    with running_site("idle", {"gnb-1": 0.25}) as site:
        status = pathlib.Path(f"/proc/{site.producer.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    yield Row("producer with one connected function, idle: resident memory", resident / 1024, "MB", value_at_most=40)


GROUPS = {"small": small, "demo": demo_cases, "equality": equality, "one-function": one_function,
          "two-functions": two_functions, "start": start_cases, "heterogeneous": heterogeneous}
