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
LTE = ROOT / "examples" / "lte-kpi"
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


def train(site, recipe, *ends, metric="log_loss", output="next_character"):
    """Adds the recipe, trains, and gives the job's status, report and decision."""
    name = recipe["name"]
    site.add_recipe(recipe)
    site.submit(name, aIMLInferenceName=f"muster:{name}", performanceRequirements=[
        {"inferenceOutputName": output, "performanceMetric": metric, "performanceScore": 100.0}])
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
    memory = {}

    def ours():
        with running_site(LARGE_STEPS, LARGE_BATCH, {"f1": 1.0, "f2": 1.0}) as site:
            _, report = train(site, split("pair"))
            memory["ours"] = max(each["peak_memory_bytes"] for each in report["participants"]) / BYTES_OF_A_PROCESS
            return tokens_per_second(site, "pair")

    def theirs():
        found = python_json("pipeline_gloo.py", "--layers", LARGE["layers"], "--width", LARGE["width"], "--heads", LARGE["heads"],
                            "--batch", LARGE_BATCH, "--micro-batches", 8, "--steps", LARGE_STEPS)
        memory["theirs"] = max(found["peak_memory_bytes"]) / BYTES_OF_A_PROCESS
        return found["tokens_per_second"]

    own_rate, their_rate = in_turns(2, ours, theirs)
    case = "50 M parameters split over two functions, TLS 1.3"
    reference = "torch.distributed.pipelining 1F1B, gloo, plain"
    yield Row(case, own_rate, "tokens/s", reference, their_rate, ratio_at_least=1.0)
    yield Row(f"{case}: most memory of a function", memory["ours"], "MB", reference, memory["theirs"], ratio_at_most=1.0)


def split_rate(functions):
    """Tokens a second of the split model, and its plan."""
    with running_site(LARGE_STEPS, LARGE_BATCH, functions) as site:
        train(site, split("unequal"))
        return tokens_per_second(site, "unequal"), chosen_plan(site, "unequal")


def unequal():
    ours, plan = split_rate({"f1": 1.0, "f2": 0.5})
    # Of equal stages the one at half a core decides, whatever the other could do.
    equal, _ = split_rate({"f1": 0.5, "f2": 0.5})
    bound = LARGE_BATCH * SEQUENCE / plan["step_seconds"]
    blocks = " / ".join(str(each["stage"]["blocks"]) for each in plan["members"])
    yield Row(f"50 M parameters over functions at 100 and 50 % of a core (blocks {blocks})", ours, "tokens/s",
              "best possible cut, by the measured blocks", bound, ratio_at_least=0.85)
    yield Row(f"50 M parameters over functions at 100 and 50 % of a core (blocks {blocks})", ours, "tokens/s",
              "equal stages, as fast as the function at 50 %", equal, ratio_at_least=1.3)


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


# --- mixed precision -----------------------------------------------------------------------------------------------------


MIXED = (("transformer, 4 layers of 128", SMALL, SMALL_BATCH, SMALL_STEPS), ("50 M parameters", LARGE, LARGE_BATCH, LARGE_STEPS))


def mixed_precision():
    if "avx512_bf16" not in pathlib.Path("/proc/cpuinfo").read_text():
        yield Row.skip("a step with products in bf16", "this processor has no AVX512_BF16")
        return
    for case, model, batch, steps in MIXED:
        losses = {}

        def step_ms(number_type):
            with running_site(steps, batch, {"f1": 1.0}) as site:
                recipe = text_recipe("mixed", model, batch, number_type=number_type, distribution={"strategy": "one_function"})
                _, report = train(site, recipe)
                losses[number_type] = report["metrics"]["training"]["log_loss"]
                return 1e3 * batch * SEQUENCE / tokens_per_second(site, "mixed")

        narrow, wide = in_turns(2, lambda: step_ms("bf16"), lambda: step_ms("fp32"))
        case = f"{case}, batch {batch} of {SEQUENCE} tokens, number_type bf16"
        yield Row(f"{case}: time of a step", narrow, "ms", "fp32", wide, ratio_at_most=0.9)
        yield Row(f"{case}: training loss after {steps} steps", losses["bf16"], "nats", "fp32", losses["fp32"],
                  ratio_at_most=1.02, ratio_at_least=0.98)


# --- sharded state -----------------------------------------------------------------------------------------------------


SHARDED = {"family": "transformer", "layers": 6, "width": 256, "heads": 8}  # 4.8 million parameters
STATE_STEPS, STATE_BATCH = 40, 32


def state_job(state):
    """Tokens a second, bytes of the optimizer's state at each function, and the plan's."""
    with running_site(STATE_STEPS, STATE_BATCH, {"f1": 1.0, "f2": 1.0}) as site:
        recipe = text_recipe("state", SHARDED, STATE_BATCH, distribution={"strategy": "data_parallel"})
        recipe["optimizer"]["state"] = state
        _, report = train(site, recipe)
        plan = chosen_plan(site, "state")
        bytes_of = {each["dn"]: each["state_bytes"] for each in report["participants"]}
        return (tokens_per_second(site, "state"), [bytes_of[each["dn"]] for each in plan["members"]],
                [each["state_share"] for each in plan["members"]], report["metrics"]["training"]["log_loss"])


def sharded():
    runs = {state: [] for state in ("sharded", "replicated")}
    for _ in range(2):
        for state, found in runs.items():
            found.append(state_job(state))
    rate = {state: max(each[0] for each in found) for state, found in runs.items()}
    case = "4.8 M parameters, AdamW, two functions, state cut by free memory (ZeRO-1)"
    yield Row(f"{case}: time of a step", 1e3 * STATE_BATCH * SEQUENCE / rate["sharded"], "ms", "state at each",
              1e3 * STATE_BATCH * SEQUENCE / rate["replicated"], ratio_at_most=1.1)
    _, held, shares, loss = runs["sharded"][0]
    whole = runs["replicated"][0][1][0]
    off = max(abs(have / (share * whole) - 1.0) for have, share in zip(held, shares))
    yield Row(f"{case}: state at a function ({' / '.join(f'{share:.0%}' for share in shares)}), difference from the plan",
              100 * off, "%", value_at_most=5.0)
    yield Row(f"{case}: training loss, difference", abs(loss / runs["replicated"][0][3] - 1.0), "", value_at_most=1e-5)


# --- quality ---------------------------------------------------------------------------------------------------------------


def example(file, sources):
    """Trains an example's recipe on two functions of one core: its report, and the seconds it took."""
    recipe = yaml.safe_load(file.read_text())
    if "optimizer" in recipe:
        recipe["optimizer"]["learning_rate"] = float(recipe["optimizer"]["learning_rate"])  # YAML 1.1: a text
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        site = harness.Site(pathlib.Path(folder) / "site", sources, producer={"times": {}})
        try:
            site.start_producer()
            for name in ("f1", "f2"):
                site.start_function(name, capacity={"cpu_cores": 1.0, "bandwidth_mbit": 1000})
            site.wait_connected()
            begin = time.monotonic()
            metric, output = recipe["metrics"][0], recipe["data"].get("target", "next_character")
            _, report = train(site, recipe, metric=metric, output=output)
            return report, time.monotonic() - begin
        finally:
            site.stop()


def forecast():
    sources = {f"lte-kpi/{part}": LTE / f"{part}.csv.gz" for part in ("train", "test")}
    for name, what, ridge, bound in (("lte-drop-rate", "drop rate", 0.0070, 0.0070),
                                     ("lte-rrc-failures", "RRC failures", 0.0046, 0.0050)):
        report, seconds = example(LTE / f"{name}.yaml", sources)
        yield Row(f"lte-kpi, {what} one hour ahead: MAE on 2019 ({seconds:.0f} s)", report["metrics"]["test"]["MAE"], "%",
                  "ridge on 25 lags, the last week and the calendar", ridge, value_at_most=bound)


def quality():
    sources = {f"tiny-shakespeare/{part}": SHAKESPEARE / f"{part}.txt" for part in ("train", "test")}
    report, seconds = example(SHAKESPEARE / "tiny-shakespeare.yaml", sources)
    yield Row("tiny-shakespeare: loss on the last tenth", report["metrics"]["test"]["log_loss"], "nats",
              "5-gram model (Witten-Bell)", 1.669, ratio_at_most=1.0)
    yield Row("tiny-shakespeare: time, two functions of one core", seconds, "s", value_at_most=1200)


GROUPS = {"large": large, "pipeline": pipeline, "unequal": unequal, "rows": rows_parallel, "bf16": mixed_precision,
          "sharded": sharded, "forecast": forecast, "quality": quality}
