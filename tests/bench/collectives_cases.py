"""all_reduce over mutual TLS on loopback, as tests/bench/collective measures it."""
from measure import BIN, Row, run_json


def all_reduce():
    for found in run_json(BIN / "muster_collective_bench", 2):
        yield Row(found["case"], found["value"], found["unit"])


GROUPS = {"all-reduce": all_reduce}
