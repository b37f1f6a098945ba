"""The build backend (PEP 517) of muster_c10d: CMake and Ninja build the module, a wheel is a zip of it.

It needs nothing that is not needed anyway, hence works without a network. The wheel is bound to the Python and the torch
with which it was built: pip must be told --no-build-isolation, since the torch is the installed one.
Setting build-dir: a build folder of the project to use, instead of build/wheel.
"""
import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import zipfile

NAME = "muster_c10d"
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
FOLDERS = "base;tls;collective;process_group"  # no sandbox, no training engine, no REST


def version():
    return re.search(r'^__version__ = "(.+)"', (HERE / NAME / "__init__.py").read_text(), re.MULTILINE).group(1)


def torch_version():
    if importlib.util.find_spec("torch") is None:
        raise RuntimeError("muster_c10d is built against the installed torch, and pip hides it: add --no-build-isolation (or "
                           "install torch first)")
    return importlib.metadata.version("torch").partition("+")[0]


def tag():
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{python}-{python}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def metadata():
    return {
        "METADATA": "\n".join([
            "Metadata-Version: 2.1", f"Name: {NAME.replace('_', '-')}", f"Version: {version()}",
            "Summary: PyTorch collectives over mutual TLS 1.3", "License: Apache-2.0",
            f"Requires-Python: =={sys.version_info.major}.{sys.version_info.minor}.*",
            f"Requires-Dist: torch=={torch_version()}", "", ""]),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: {NAME}\nRoot-Is-Purelib: false\nTag: {tag()}\n",
    }


def build(build_folder):
    # CMake asks "python3" for torch and for Python's headers: that must be this one.
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment["PATH"]])
    if not (build_folder / "build.ninja").exists():
        subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", build_folder, "-DCMAKE_BUILD_TYPE=Release",
                        f"-DMUSTER_FOLDERS={FOLDERS}", "-DBUILD_TESTING=OFF"], env=environment, check=True)
    subprocess.run(["cmake", "--build", build_folder, "--target", NAME], env=environment, check=True)
    modules = list((build_folder / "python" / NAME).glob(f"_muster{sysconfig.get_config_var('EXT_SUFFIX')}"))
    if len(modules) != 1:
        raise RuntimeError(f"{build_folder} holds a module for another Python than {sys.executable}: configure it anew")
    return modules[0]


def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = pathlib.Path(metadata_directory) / f"{NAME}-{version()}.dist-info"
    folder.mkdir()
    for name, text in metadata().items():
        (folder / name).write_text(text)
    return folder.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    torch_version()  # before minutes of compiling
    build_folder = pathlib.Path((config_settings or {}).get("build-dir") or ROOT / "build" / "wheel").resolve()
    module = build(build_folder)
    info = f"{NAME}-{version()}.dist-info"
    files = {f"{NAME}/{file.name}": file.read_bytes() for file in sorted((HERE / NAME).glob("*.py"))}
    files[f"{NAME}/{module.name}"] = module.read_bytes()
    files[f"{info}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files |= {f"{info}/{name}": text.encode() for name, text in metadata().items()}
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = f"{NAME}-{version()}-{tag()}.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # A fixed time: the same sources make the same wheel.
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    raise RuntimeError("muster_c10d is built from the project's repository; there is no source distribution")
