"""The wheel is built by one command, without a network, and can be imported where it is unpacked."""
import os
import subprocess
import sys
import zipfile

from conftest import BIN, ROOT, environment


def test_the_wheel_of_the_build_tree(tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-index",
                    "--no-build-isolation", "--no-deps", "-w", tmp_path, "-C", f"build-dir={BIN.parent}", ROOT / "python"],
                   check=True, env=environment(PIP_NO_CACHE_DIR=1))
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
        metadata = next(archive.read(name).decode() for name in names if name.endswith("METADATA"))
    assert "Requires-Dist: torch==" in metadata
    assert any(name.startswith("muster_c10d/_muster.") for name in names) and "muster_c10d/__init__.py" in names
    told = subprocess.run(
        [sys.executable, "-c", "import muster_c10d, torch.distributed as d; print(muster_c10d.__file__, 'muster' in d.Backend.backend_list)"],
        env=environment() | {"PYTHONPATH": os.fspath(tmp_path / "site")}, capture_output=True, text=True, check=True).stdout
    assert told.split() == [os.fspath(tmp_path / "site" / "muster_c10d" / "__init__.py"), "True"]
