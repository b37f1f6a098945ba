"""Two network namespaces joined by a veth pair whose rate is limited in both directions; removed however one leaves."""
import contextlib
import os
import re
import signal
import subprocess

PREFIX = "muster-bench"
BURST_BYTES = 128 << 10  # two of the largest packets that TCP hands down: less would cut them up and double the ACKs
QUEUE = "50ms"
CONGESTION_CONTROL = "cubic"  # Linux's own choice, whatever this machine was told; BBR probes and leaves gaps
INTERFACE = "muster0"


class NotPossible(Exception):
    """This machine does not let us make them; the text says why."""


def _run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotPossible(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _ours():
    """{name: process id} of namespaces that a bench has made."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return {name: int(pid) for name, pid in re.findall(rf"^({PREFIX}-(\d+)-\d)\b", listed, re.MULTILINE)}


def _remove(names):
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)  # takes its end of the pair along


@contextlib.contextmanager
def _without_interrupts():
    held = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)


class Link:
    """`with Link(bits_per_second) as link`: link.addresses, and link.inside(0) the words that run a program at one end.
    Raises NotPossible without the right to make it. Also removes what a killed bench has left."""

    def __init__(self, bits_per_second):
        self._rate = bits_per_second
        self._names = [f"{PREFIX}-{os.getpid()}-{end}" for end in range(2)]
        self.addresses = ["10.213.7.1", "10.213.7.2"]
        self.interface = INTERFACE

    def inside(self, end):
        return ["ip", "netns", "exec", self._names[end]]

    def __enter__(self):
        try:
            _remove(name for name, pid in _ours().items() if not os.path.exists(f"/proc/{pid}"))
            self._make()
        except FileNotFoundError as missing:
            raise NotPossible(f"{missing.filename} is not installed") from missing
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with _without_interrupts():
            _remove(name for name in _ours() if name in self._names)

    def _make(self):
        for name in self._names:
            _run("ip", "netns", "add", name)
        _run("ip", "-n", self._names[0], "link", "add", INTERFACE, "type", "veth", "peer", "name", INTERFACE, "netns",
             self._names[1])
        for name, address in zip(self._names, self.addresses):
            _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", INTERFACE)
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", name, "link", "set", INTERFACE, "up")
            _run("ip", "-n", name, "route", "replace", "10.213.7.0/30", "dev", INTERFACE, "src", address, "congctl",
                 CONGESTION_CONTROL)
            _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", INTERFACE, "root", "tbf",
                 "rate", f"{self._rate}bit", "burst", str(BURST_BYTES), "latency", QUEUE)
