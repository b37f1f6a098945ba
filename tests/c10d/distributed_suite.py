"""Runs torch.testing._internal.distributed.distributed_test on one backend: a process that pytest starts.

    python distributed_suite.py BACKEND RANKS list                the names of all tests
    python distributed_suite.py BACKEND RANKS run FILE NAME...    adds one line of JSON for each to FILE

Each test is so many forked ranks. The module asks for the name of the backend in many places, since it knows only torch's
own. For "muster" its source is read with these words exchanged, and nothing else; each must occur.
"""
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
import unittest

backend = sys.argv[1]
os.environ.update(BACKEND=backend, WORLD_SIZE=sys.argv[2], TEMP_DIR=tempfile.mkdtemp(), MASTER_ADDR="127.0.0.1")

import torch

NAME = "torch.testing._internal.distributed.distributed_test"
EXCHANGED = [
    # What Gloo must do, ours must do: no test for Gloo alone is skipped, no sub-group is made of Gloo.
    ('"gloo"', '"muster"'), ("dist.Backend.GLOO", "dist.Backend.MUSTER"),
    # All-to-all on CPU tensors, which Gloo's tests leave to MPI: we have it.
    ('BACKEND != "mpi", "Only MPI supports', 'BACKEND != "muster", "Only MPI supports'),
    # torch.distributed.monitored_barrier refuses every backend but Gloo, before it asks the group.
    ("dist.monitored_barrier(", '__import__("muster_c10d").monitored_barrier('),
    # torch::c10d's name of every backend that is not its own.
    ('ddp_logging_data.get("backend_name"), dist.get_backend(group_id)', 'ddp_logging_data.get("backend_name"), "custom"'),
]


def load():
    """The module of torch's tests, for this backend."""
    if backend != "muster":
        return importlib.import_module(NAME)
    import muster_c10d  # noqa: F401 (registers the backend, which must come before the import of the tests)
    from torch.testing._internal import common_distributed
    # Tests of the group of ranks 1 and 2, for which torch asks eight ranks of all backends but MPI: three will do.
    common_distributed.skip_if_small_worldsize = lambda test: test
    for feature in ("ddp", "subgroup", "plugin", "gpu"):
        common_distributed.DistTestCases.backend_feature[feature].add(backend)
    spec = importlib.util.find_spec(NAME)
    source = spec.loader.get_source(NAME)
    for theirs, ours in EXCHANGED:
        if theirs not in source:
            sys.exit(f"{NAME} has no {theirs} any more")
        source = source.replace(theirs, ours)
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


torch.set_num_threads(1)
tests = load()


class Suite(tests.TestDistBackend, tests.DistributedTest._DistTestBase):
    def setUp(self):
        super().setUp()
        self._start_processes(torch.multiprocessing.get_context("fork").Process)


def run(name):
    out = io.StringIO()
    began = time.monotonic()
    result = unittest.TextTestRunner(stream=out, verbosity=0).run(unittest.TestSuite([Suite(name)]))
    outcome = "failed" if result.failures or result.errors else "skipped" if result.skipped else "passed"
    said = result.skipped[0][1] if result.skipped else out.getvalue()
    line = {"name": name, "outcome": outcome, "said": said[-3000:], "seconds": round(time.monotonic() - began, 2)}
    with open(sys.argv[4], "a", encoding="utf-8") as file:  # not stdout, where the forked ranks write too
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    if sys.argv[3] == "list":
        print("\n".join(sorted(name for name in dir(Suite) if name.startswith("test_"))))
    else:
        for each in sys.argv[5:]:
            run(each)
