"""The figures of large models and of language models. Each group is a function that yields rows."""
import contextlib
import pathlib
import sys
import tempfile
import time

import yaml

from measure import ROOT, Row, in_turns, python_json

sys.path.insert(0, str(ROOT / "tests" / "system"))
import harness  # noqa: E402  (the same site as the system tests')

SHAKESPEARE = ROOT / "examples" / "tiny-shakespeare"
SEQUENCE = 128
LARGE = {"family": "transformer", "layers": 16, "width": 512, "heads": 8}  # 50.5 million parameters
LARGE_BATCH, LARGE_STEPS, LARGE_MB = 8, 20, 700
SMALL = {"family": "transformer", "layers": 4, "width": 128, "heads": 4}
SMALL_BATCH, SMALL_STEPS = 32, 60
JOB_SECONDS = 1500
BYTES_OF_A_PROCESS = 1e6


def text_recipe(name, model, batch, **changes):
    return {"name": name, "inference": name.upper(), "model": model, "loss": "cross_entropy", "batch": batch, "epochs": 1,
            "data": {"source": "text", "text": {"unit": "character", "sequence": SEQUENCE}, "validation": 0.0},
            "optimizer": {"name": "adamw", "learning_rate": 3e-4}, "metrics": ["log_loss"], "seed": 1, **changes}


@contextlib.contextmanager
def running_site(steps, batch, functions, memory_mb=None):
    """A producer and these {function: cores}; the text lasts for so many steps of an epoch."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        folder = pathlib.Path(folder)
        # Training samples begin at a place of their own in each epoch: one sample more.
        (folder / "text.txt").write_text((SHAKESPEARE / "train.txt").read_text()[: (steps * batch + 1) * SEQUENCE])
        site = harness.Site(folder / "site", {"text": folder / "text.txt"}, producer={"times": {}})
        try:
            site.start_producer()
            for name, cores in functions.items():
                capacity = {"cpu_cores": cores, "bandwidth_mbit": 1000}
                site.start_function(name, capacity={**capacity, **({"memory_mb": memory_mb} if memory_mb else {})})
            site.wait_connected()
            yield site
        except Exception:
            sys.stderr.write(site.logs())
            raise
        finally:
            site.stop()


def train(site, recipe, *ends):
    """Adds the recipe, trains, and gives the job's status, report and decision."""
    name = recipe["name"]
    site.add_recipe(recipe)
    site.submit(name, aIMLInferenceName=f"muster:{name}", performanceRequirements=[
        {"inferenceOutputName": "next_character", "performanceMetric": "log_loss", "performanceScore": 100.0}])
    status = site.wait_status(name, *(ends or ("FINISHED",)), seconds=JOB_SECONDS)
    site.wait_connected()
    return status, site.run_json("report", name) if status == "FINISHED" else None


def chosen_plan(site, name):
    plan = site.container(harness.process_dn(name), "decision")["plan"]
    return plan["candidates"][plan["chosen"]]


def tokens_per_second(site, name):
    return SEQUENCE * site.container(harness.process_dn(name), "progress")["rows_per_second"]


def split(name, **distribution):
    return text_recipe(name, LARGE, LARGE_BATCH, distribution={"strategy": "pipeline", "micro_batches": 8, **distribution})


# --- a model that fits no function ---------------------------------------------------------------------------------


def large():
    with running_site(LARGE_STEPS, LARGE_BATCH, {"f1": 0.66, "f2": 0.66, "f3": 0.66}, LARGE_MB) as site:
        status, _ = train(site, text_recipe("alone", LARGE, LARGE_BATCH, distribution={"strategy": "one_function"}), "CANCELLED")
        assert status == "CANCELLED" and "does not fit" in site.reason("alone"), site.reason("alone")
        _, report = train(site, text_recipe("large", LARGE, LARGE_BATCH))
        plan = chosen_plan(site, "large")
        assert plan["strategy"] == "pipeline"
    memory = max(each["peak_memory_bytes"] for each in report["participants"]) / BYTES_OF_A_PROCESS
    planned = max(each["peak_memory_bytes"] for each in plan["members"]) / BYTES_OF_A_PROCESS
    case = f"50 M parameters on three functions of {LARGE_MB} MB"
    yield Row(f"{case}: most memory of a function", memory, "MB", "the plan's", planned, value_at_most=LARGE_MB)
    yield Row(f"{case}: time", report["measured_seconds"], "s", "the plan's", plan["total_seconds"])
    with running_site(LARGE_STEPS, LARGE_BATCH, {"f1": 2.0}) as site:
        _, alone = train(site, text_recipe("whole", LARGE, LARGE_BATCH, distribution={"strategy": "one_function"}))
    ours, theirs = (each["metrics"]["training"]["log_loss"] for each in (report, alone))
    yield Row(f"{case}: training loss after {LARGE_STEPS} steps, difference from one process", abs(ours / theirs - 1.0), "",
              value_at_most=1e-5)


# --- two functions against PyTorch's pipeline -------------------------------------------------------------------------


def pipeline():
    with running_site(LARGE_STEPS, LARGE_BATCH, {"f1": 1.0, "f2": 1.0}) as site:
        _, report = train(site, split("pair"))
        ours = tokens_per_second(site, "pair")
    theirs = python_json("pipeline_gloo.py", "--layers", LARGE["layers"], "--width", LARGE["width"], "--heads", LARGE["heads"],
                         "--batch", LARGE_BATCH, "--micro-batches", 8, "--steps", LARGE_STEPS)
    case = "50 M parameters split over two functions, TLS 1.3"
    reference = "torch.distributed.pipelining 1F1B, gloo, plain"
    yield Row(case, ours, "tokens/s", reference, theirs["tokens_per_second"], ratio_at_least=1.0)
    yield Row(f"{case}: most memory of a function",
              max(each["peak_memory_bytes"] for each in report["participants"]) / BYTES_OF_A_PROCESS, "MB", reference,
              max(theirs["peak_memory_bytes"]) / BYTES_OF_A_PROCESS, ratio_at_most=1.0)


def unequal():
    with running_site(LARGE_STEPS, LARGE_BATCH, {"f1": 1.0, "f2": 0.5}) as site:
        train(site, split("unequal"))
        ours, plan = tokens_per_second(site, "unequal"), chosen_plan(site, "unequal")
    bound = LARGE_BATCH * SEQUENCE / plan["step_seconds"]
    blocks = " / ".join(str(each["stage"]["blocks"]) for each in plan["members"])
    yield Row(f"50 M parameters over functions at 100 and 50 % of a core (blocks {blocks})", ours, "tokens/s",
              "best possible cut, by the measured blocks", bound, ratio_at_least=0.85)


# --- data parallelism ------------------------------------------------------------------------------------------------------


def small_rate(functions):
    with running_site(SMALL_STEPS, SMALL_BATCH, functions) as site:
        strategy = "data_parallel" if len(functions) > 1 else "one_function"
        train(site, text_recipe("small", SMALL, SMALL_BATCH, distribution={"strategy": strategy}))
        return tokens_per_second(site, "small")


def rows_parallel():
    case = f"transformer, 4 layers of 128, batch {SMALL_BATCH} of {SEQUENCE} tokens"
    two, one = in_turns(2, lambda: small_rate({"f1": 1.0, "f2": 1.0}), lambda: small_rate({"f1": 1.0}))
    yield Row(f"{case}: two functions on two cores", two, "tokens/s", "one function", one, ratio_at_least=1.85)
    both = small_rate({"f1": 0.6, "f2": 0.2})
    alone = [small_rate({"f1": cores}) for cores in (0.6, 0.2)]
    yield Row(f"{case}: functions at 60 and 20 % of a core", both, "tokens/s", "sum of each alone", sum(alone),
              ratio_at_least=0.9)


# --- quality ---------------------------------------------------------------------------------------------------------------


def quality():
    recipe = yaml.safe_load((SHAKESPEARE / "tiny-shakespeare.yaml").read_text())
    recipe["optimizer"]["learning_rate"] = float(recipe["optimizer"]["learning_rate"])  # YAML 1.1: a text
    sources = {f"tiny-shakespeare/{part}": SHAKESPEARE / f"{part}.txt" for part in ("train", "test")}
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        site = harness.Site(pathlib.Path(folder) / "site", sources, producer={"times": {}})
        try:
            site.start_producer()
            for name in ("f1", "f2"):
                site.start_function(name, capacity={"cpu_cores": 1.0, "bandwidth_mbit": 1000})
            site.wait_connected()
            begin = time.monotonic()
            _, report = train(site, recipe)
            seconds = time.monotonic() - begin
        finally:
            site.stop()
    yield Row("tiny-shakespeare: loss on the last tenth", report["metrics"]["test"]["log_loss"], "nats",
              "5-gram model (Witten-Bell)", 1.669, ratio_at_most=1.0)
    yield Row("tiny-shakespeare: time, two functions of one core", seconds, "s", value_at_most=1200)


GROUPS = {"large": large, "pipeline": pipeline, "unequal": unequal, "rows": rows_parallel, "quality": quality}
