"""Sites that tests share. A test that breaks something has a site of its own."""
import os
import sys

import pytest

import harness


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds (real data)")


@pytest.fixture(scope="session", autouse=True)
def programs():
    for name in ("muster", "muster-worker", "muster-data"):
        if not (harness.BIN / name).exists():
            pytest.fail(f"{harness.BIN / name} is not built (set MUSTER_BIN, or ./run build)")
    harness.become_subreaper()
    yield
    left = [f"{pid} {harness.process_table()[pid][2]}" for pid in harness.descendants(os.getpid())]
    assert not left, f"processes are left: {left}"


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """{source name: file}: good data, and every kind of bad data."""
    folder = tmp_path_factory.mktemp("tables")
    good = harness.rows(400, seed=1)
    texts = list(good)
    texts[41] = "r41,a,fast,80.0,25.0"
    ragged = list(good)
    ragged[17] = "r17,a,1.0"
    return {
        "tiny/train": harness.write_table(folder / "train.csv", good),
        "tiny/test": harness.write_table(folder / "test.csv", harness.rows(80, seed=2)),
        "parts/train": harness.write_parts(folder / "parts", good),
        "office/train": harness.write_office_table(folder / "office.csv", good),
        "office/test": harness.write_office_table(folder / "office-test.csv", harness.rows(80, seed=2)),
        "big/train": harness.write_table(folder / "big.csv", harness.rows(5000, seed=3)),
        "cells/train": harness.write_series(folder / "cells.csv", 24 * 28, seed=6),
        "cells/test": harness.write_series(folder / "cells-test.csv", 24 * 10, seed=7),
        "drives/train": harness.write_messages(folder / "drives.csv", 300, seed=8),
        "drives/test": harness.write_messages(folder / "drives-test.csv", 100, seed=9),
        "text/train": harness.write_text(folder / "train.txt", 4000, seed=4),
        "text/test": harness.write_text(folder / "test.txt", 500, seed=5),
        "bad/latin1": harness.write_latin1(folder / "latin1.txt"),
        "bad/ragged": harness.write_table(folder / "ragged.csv", ragged),
        "bad/text": harness.write_table(folder / "text.csv", texts),
        "bad/empty": harness.write_table(folder / "empty.csv", []),
        "bad/missing": harness.write_table(
            folder / "missing.csv", [",".join([run, cell, "", speed, delay])
                                     for run, cell, _, speed, delay in (line.split(",") for line in good)]),
    }


def running_site(folder, tables, names, **options):
    """A site with functions of unequal speed, connected."""
    site = harness.Site(folder, tables, **options)
    try:
        site.start_producer()
        for name, cores in zip(names, (0.5, 0.4, 0.3)):
            site.start_function(name, capacity={"cpu_cores": cores, "bandwidth_mbit": 1000})
        site.wait_connected()
        site.add_recipe(harness.recipe())
        # Trains until somebody ends it.
        site.add_recipe(harness.recipe("endless", "ENDLESS", batch=32, epochs=1_000_000))
        yield site
    finally:
        site.stop()
        print(site.logs(), file=sys.stderr)


@pytest.fixture(scope="session")
def site(tmp_path_factory, tables):
    """A producer and three functions; tests leave it as they found it."""
    yield from running_site(tmp_path_factory.mktemp("site"), tables, ("nwdaf-1", "gnb-2", "gnb-1"))


@pytest.fixture
def own_site(tmp_path, tables):
    """A producer and two functions of one test, which may break them."""
    yield from running_site(tmp_path, tables, ("gnb-1", "gnb-2"))


@pytest.fixture(scope="session")
def finished(site):
    """Id of a request that three functions have trained."""
    site.submit("happy")
    site.wait_status("happy", "FINISHED")
    return "happy"
