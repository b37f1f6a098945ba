"""The figures of the collectives. Each group is a function that yields rows.

Ranks are processes with one thread of arithmetic each; a time is the median over rounds of the slowest rank, each round
after a barrier. What is compared is measured in turns.
"""
import functools
import importlib.util
import os
import statistics
import tempfile

from collectives_engines import (KIB, MIB, MUSTER, Gloo, Muster, MusterWithoutCipher, OpenMpi, bench, cipher_rate,
                                 cores, encrypted_bytes, gloo_on_loopback, size_text)
from measure import Row, in_turns, python_json, run_json
from namespaces import Link, NotPossible

TURNS = 5
SMALL = (4 * KIB, 64 * KIB)
LARGE = (MIB, 25 * MIB, 100 * MIB)
RATIO_AT_MOST = {(2, 4 * KIB): 0.3, (4, 4 * KIB): 0.1, (2, 64 * KIB): 0.6, (4, 64 * KIB): 0.15, (4, MIB): 0.8}
CIPHER_ALLOWANCE = 1.2  # times what the cipher alone would take
LINK_SIZE = 25 * MIB
LINK_RATES = {"100 Mb/s": 100_000_000, "1 Gb/s": 1_000_000_000}
LINK_ROUNDS = 5
DDP_TURNS = 3
DDP_MODELS = {"1 M": (512, 4, 20), "25 M": (2048, 6, 8)}  # width, layers, steps
DDP_BATCHES = {"1 M": (1024, 64), "25 M": (1024, 64)}
COMPUTE_BOUND = 3  # times the communication


# --- loopback ----------------------------------------------------------------------------------------------------


def cipher_ms(size, ranks, rate):
    """The cipher's own part of an all-reduce. Two ranks have a core each; more share the cores with all others."""
    own = encrypted_bytes(size, ranks) / rate
    return 1e3 * (own if ranks <= 2 else own * ranks / cores())


def loopback(ranks):
    has_mpi = not OpenMpi.missing()
    with gloo_on_loopback(ranks) as gloo:
        for size in SMALL + LARGE:
            engines = {"gloo": gloo, "ours": Muster(ranks), "plain": MusterWithoutCipher(ranks)}
            engines |= {"mpi": OpenMpi(ranks)} if has_mpi else {}
            *times, rate = in_turns(
                TURNS, *(functools.partial(engine.all_reduce, size) for engine in engines.values()), cipher_rate)
            yield from rows_of(size, ranks, dict(zip(engines, times)), rate)


def rows_of(size, ranks, times, rate):
    """What the milliseconds of the engines mean."""
    case = f"all_reduce {size_text(size)}, {ranks} ranks"
    limit = RATIO_AT_MOST.get((ranks, size))
    yield Row(f"{case}, TLS", times["ours"], "ms", "Gloo, plain", times["gloo"], ratio_at_most=limit)
    if limit is None:
        added = CIPHER_ALLOWANCE * cipher_ms(size, ranks, rate)
        yield Row(f"{case}, TLS", times["ours"], "ms", f"Gloo, plain + {CIPHER_ALLOWANCE} x AES-128-GCM at "
                  f"{rate / 1e9:.1f} GB/s ({times['gloo']:.3g} + {added:.3g})", times["gloo"] + added, ratio_at_most=1.0)
    yield Row(f"{case}, the engine without cipher", times["plain"], "ms", "Gloo, plain", times["gloo"],
              ratio_at_most=1.0 if ranks == 2 and size in LARGE else None)
    if "mpi" in times:
        yield Row(f"{case}, TLS", times["ours"], "ms", "OpenMPI tcp, plain", times["mpi"])
    else:
        yield Row.skip(f"{case}, TLS, against OpenMPI", OpenMpi.missing())


def two_ranks():
    yield from loopback(2)


def four_ranks():
    yield from loopback(4)


# --- a link of a known rate --------------------------------------------------------------------------------------


def line_ms(bits_per_second, ranks=2):
    """What the payload alone takes at the line's rate; headers are excess."""
    return 1e3 * 2 * (ranks - 1) / ranks * LINK_SIZE * 8 / bits_per_second


def over_link(bits_per_second):
    """Milliseconds between two namespaces: (ours with one connection, with two, Gloo)."""
    with Link(bits_per_second) as link:
        ends = range(2)
        places = [f"{link.addresses[end]}={' '.join(link.inside(end))} {MUSTER}" for end in ends]
        with Gloo([(link.interface, link.inside(end)) for end in ends]) as gloo:
            return in_turns(2, *(lambda engine=engine: engine.all_reduce(LINK_SIZE, LINK_ROUNDS, warm_up=1)
                                 for engine in (Muster(2, places), Muster(2, places, stripes=2), gloo)))


def namespaces():
    for name, rate in LINK_RATES.items():
        case = f"all_reduce {size_text(LINK_SIZE)}, 2 namespaces at {name}"
        try:
            one_ms, two_ms, gloo_ms = over_link(rate)
        except NotPossible as reason:
            yield Row.skip(case, str(reason))
            continue
        yield Row(f"{case}, TLS", one_ms, "ms", "the line's rate", line_ms(rate), ratio_at_most=1.05)
        yield Row(f"{case}, TLS, 2 stripes", two_ms, "ms", "the line's rate", line_ms(rate), ratio_at_most=1.05)
        yield Row(f"{case}, Gloo, plain", gloo_ms, "ms", "the line's rate", line_ms(rate))


# --- the group ---------------------------------------------------------------------------------------------------


def set_up():
    found = [bench("--ranks", 4, "--sizes", 4 * KIB, "--rounds", 1, "--rebuilds", 4) for _ in range(TURNS)]
    first = statistics.median(each["set_up_ms"] for each in found)
    again = statistics.median(time for each in found for time in each["rebuild_ms"])
    yield Row("group of 4 ranks: set-up after addresses are known", first, "ms", value_at_most=50)
    yield Row("group of 4 ranks: rebuild as another generation, new certificates", again, "ms", value_at_most=100)


def memory():
    for ranks in (2, 4):
        most = bench("--ranks", ranks, "--sizes", ",".join(map(str, SMALL + LARGE)), "--rounds", 3)["memory_bytes"]
        yield Row(f"memory of a rank beyond the caller's buffers, {ranks} ranks, up to {size_text(max(LARGE))}",
                  most / MIB, "MiB", value_at_most=8 + (ranks - 1))



# --- DistributedDataParallel in Python ---------------------------------------------------------------------------


@functools.cache
def certificates(ranks):
    """A folder of certificates for a job, which lives as long as this program."""
    folder = tempfile.TemporaryDirectory(prefix="muster-bench-")
    certificates.keep = folder
    run_json(MUSTER, "ca", "issue-job", "bench", "--ranks", ranks, "--out", f"{folder.name}/job", "--output", "json")
    return f"{folder.name}/job"


def train(backend, model, batch):
    width, layers, steps = DDP_MODELS[model]
    if backend == "muster":
        os.environ["MUSTER_C10D_FOLDER"] = certificates(2)
    return python_json("ddp_model.py", "--backend", backend, "--width", width, "--layers", layers, "--batch", batch,
                       "--steps", steps)


def ddp_row(model, batch):
    runs = {"muster": [], "gloo": []}

    def rate(backend):
        runs[backend].append(train(backend, model, batch))
        return runs[backend][-1]["rows_per_second"]

    ours, gloo = in_turns(DDP_TURNS, lambda: rate("muster"), lambda: rate("gloo"))
    compute, communication = (statistics.median(run[what] for run in runs["muster"])
                              for what in ("compute_ms", "communication_ms"))
    bound = compute >= COMPUTE_BOUND * communication
    return Row(f"DDP, {model} parameters, batch {batch}, 2 ranks, TLS (compute {compute:.3g} ms, communication "
               f"{communication:.3g} ms)", ours, "rows/s", "Gloo, plain", gloo, ratio_at_least=0.95 if bound else None)


def ddp():
    for model, batches in DDP_BATCHES.items():
        for batch in batches:
            if importlib.util.find_spec("muster_c10d") is None:
                yield Row.skip(f"DDP, {model} parameters, batch {batch}", "the package muster_c10d is not installed")
            else:
                yield ddp_row(model, batch)


GROUPS = {"two-ranks": two_ranks, "four-ranks": four_ranks, "namespaces": namespaces, "set-up": set_up, "memory": memory,
          "ddp": ddp}
