"""Where the standard's files and the dump program are."""
import json
import os
import pathlib
import subprocess

import pytest

from openapi import Specification


@pytest.fixture(scope="session")
def specification():
    folder = os.environ.get("MUSTER_3GPP_DIR")
    if not folder:
        pytest.skip("MUSTER_3GPP_DIR is not set: the 3GPP OpenAPI files are not part of this repository")
    if not (pathlib.Path(folder) / "TS28105_AiMlNrm.yaml").exists():
        pytest.fail(f"MUSTER_3GPP_DIR={folder} holds no TS28105_AiMlNrm.yaml")
    return Specification(folder)


@pytest.fixture(scope="session")
def nrm_dump():
    """Runs muster_nrm_dump: nrm_dump() gives the tables, nrm_dump(questions) the answers."""
    root = pathlib.Path(__file__).resolve().parents[2]
    program = pathlib.Path(os.environ.get("MUSTER_BIN", root / "build" / "release" / "bin")) / "muster_nrm_dump"
    if not program.exists():
        pytest.fail(f"{program} is not built (set MUSTER_BIN, or ./run build)")

    def run(questions=None):
        if questions is None:
            done = subprocess.run([program, "tables"], capture_output=True, text=True, timeout=60, check=True)
            return json.loads(done.stdout)
        lines = "".join(json.dumps(question) + "\n" for question in questions)
        done = subprocess.run([program, "answer"], input=lines, capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def tables(nrm_dump):
    return {row["name"]: row for row in nrm_dump()}
