"""Jobs of plain Python processes with muster_c10d, as the build tree has it."""
import datetime
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MUSTER_BIN", ROOT / "build" / "release" / "bin"))
PACKAGES = BIN.parent / "python"
SCRIPTS = pathlib.Path(__file__).parent / "scripts"
sys.path.insert(0, str(PACKAGES))


@pytest.fixture(scope="session", autouse=True)
def programs():
    if not list((PACKAGES / "muster_c10d").glob("_muster*.so")):
        pytest.fail(f"{PACKAGES}/muster_c10d is not built (./run build)")


def issue_job(folder, name="demo", ranks=3, **options):
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    subprocess.run([BIN / "muster", "ca", "issue-job", name, "--ranks", str(ranks), "--out", folder, *flags], check=True,
                   capture_output=True)
    return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with the certificates of three ranks."""
    return issue_job(tmp_path_factory.mktemp("job") / "certificates")


def write_certificate(stem, uri, begins_in, ends_in):
    """A self-signed certificate of any span, which `muster ca` would not make. Times in seconds from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(seconds=begins_in))
                   .not_valid_after(now + datetime.timedelta(seconds=ends_in))
                   .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
                   .sign(key, hashes.SHA256()))
    stem.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    stem.with_suffix(".key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def environment(**changes):
    """The environment of a script: without settings of the person who runs the tests."""
    base = {name: value for name, value in os.environ.items()
            if not name.startswith(("MUSTER_C10D", "TORCHELASTIC")) and name not in ("RANK", "WORLD_SIZE", "MASTER_PORT")}
    return base | {"PYTHONPATH": str(PACKAGES), "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in changes.items()}}


def run_all(command, *, timeout, env):
    """Runs a command that starts others. None of them is left when the time is over. stdout and stderr are one text."""
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          start_new_session=True) as process:
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"{command} has not ended within {timeout} s:\n{process.communicate()[0]}")
    return subprocess.CompletedProcess(command, process.returncode, said)


def torchrun(script, *arguments, ranks, timeout=120, **settings):
    """Runs a script of scripts/ under torchrun on this machine. Returns the finished process, stdout and stderr in one."""
    return run_all(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--master-addr", "127.0.0.1",
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1",
         str(SCRIPTS / script), *map(str, arguments)],
        timeout=timeout, env=environment(**settings))
