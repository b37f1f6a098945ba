"""Muster's programs as processes: what runs below one, starting and ending them by their id, and waiting for things.

Whatever a process leaves behind becomes a child of the tests (they are the subreaper), so nothing can hide.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MUSTER_BIN", ROOT / "build" / "release" / "bin"))
START_SECONDS = 20.0
STOP_SECONDS = 15.0
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """Orphans of our processes become our own children instead of init's."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def wait_for(what, condition, seconds=START_SECONDS, every=0.05):
    """Asks `condition` until it gives something true, and gives that. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)  # another process is asked again, it does not call


def process_table():
    """{pid: (parent, state, name)} of all processes."""
    table = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        table[int(entry.name)] = (int(rest[1]), rest[0], name)
    return table


def descendants(pid, name=None):
    """Ids of living processes below `pid`, only those called `name` if given. Zombies are no longer alive."""
    table = process_table()
    found, front = [], [pid]
    while front:
        parent = front.pop()
        for child, (its_parent, state, its_name) in table.items():
            if its_parent == parent:
                front.append(child)
                if state != "Z" and name in (None, its_name):
                    found.append(child)
    return found


def orphans(name):
    """Ids of living processes whose parent has died: they became ours."""
    return [pid for pid, (parent, state, its_name) in process_table().items()
            if parent == os.getpid() and state != "Z" and its_name == name]


def alive(pid):
    return process_table().get(pid, (0, "Z", ""))[1] != "Z"


def reap_orphans(known):
    """Collects ended children that subprocess does not know of."""
    for pid, (parent, state, _) in process_table().items():
        if parent == os.getpid() and state == "Z" and pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


class Program:
    """A running `muster` with its log; ends with its context."""

    def __init__(self, log, *arguments, cwd=None, environment=None):
        self.log = pathlib.Path(log)
        self.arguments = [str(BIN / "muster"), *map(str, arguments)]
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=cwd,
                env={**os.environ, **(environment or {})}, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def children(self, name=None):
        return descendants(self.pid, name)

    def wait(self, seconds=STOP_SECONDS):
        """Gives (exit code, what it wrote to stdout)."""
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output.decode()

    def kill(self):
        """kill -9, as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self):
        """Asks it to end; kills it and what it has started when it does not. Gives the exit code."""
        if self.process.returncode is not None:
            return self.process.returncode
        below = self.children()
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            code, _ = self.wait()
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            code, _ = self.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
        reap_orphans({self.pid})
        return code

    def words(self):
        return self.log.read_text(errors="replace")


def muster(*arguments, client=None, cwd=None, seconds=60.0, input=None):
    """Runs a verb to its end. Gives the completed process with text in stdout and stderr."""
    environment = {key: value for key, value in os.environ.items() if key != "MUSTER_CLIENT"}
    environment["HOME"] = str(cwd or "/nonexistent")
    if client:
        environment["MUSTER_CLIENT"] = str(client)
    return subprocess.run([BIN / "muster", *map(str, arguments)], capture_output=True, text=True, timeout=seconds,
                          cwd=cwd, env=environment, input=input)


def muster_json(*arguments, **options):
    done = muster(*arguments, "--output", "json", **options)
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)
