"""Who this rank is, and how it finds the others."""
import os
import pathlib
import socket
import warnings

import torch.distributed as dist

from . import _muster

EXPIRY_WARNING_SECONDS = 24 * 3600
_meetings = 0  # default groups that this process has begun; the same on all ranks


def _setting(value, name):
    return value if value is not None else os.environ.get(name) or None


def _number(value, name):
    text = value if value is not None else os.environ.get(name)
    if text is None:
        raise ValueError(f"muster_c10d: {name} is not set. Start the script with torchrun, which sets it, or pass it to "
                         "init_process_group()")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"muster_c10d: {name}={text} is no number") from None


def _read(path, what):
    try:
        return pathlib.Path(path).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"muster_c10d: the {what} cannot be read: {problem}") from None


def _span(seconds):
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


class Identity:
    """A rank's certificate, key and CA, and what the other ranks' certificates must say."""

    def __init__(self, rank, identities, job, generation, certificate, key, authority):
        self.rank = rank
        self.world_size = len(identities)
        self.identities = identities
        self.job = job
        self.generation = generation
        self._pem = (certificate, key, authority)

    def membership(self, generation):
        return _muster.Membership(self.job, generation, self.rank, self.identities, *self._pem)

    @classmethod
    def find(cls, *, certificate=None, key=None, authority=None, identities=None, rank=None, world_size=None,
             global_ranks=()):
        """Reads and checks the files. `global_ranks`: this is a group of some ranks, numbered as they are in the whole."""
        rank = _number(rank, "RANK")
        world_size = _number(world_size, "WORLD_SIZE")
        if not 0 <= rank < world_size:
            raise ValueError(f"muster_c10d: rank {rank} of {world_size}")
        ranks = list(global_ranks) or list(range(world_size))
        own = ranks[rank]
        paths = cls._paths(certificate, key, authority, own)
        certificate_pem, key_pem, authority_pem = (_read(path, what) for what, path in paths.items())
        try:
            uri, job, begins, ends = _muster.inspect(certificate_pem)
        except ValueError:
            raise ValueError(f"muster_c10d: {paths['certificate']} holds no certificate in PEM form") from None
        if ends <= 0:
            raise ValueError(f"muster_c10d: the certificate {paths['certificate']} has expired {_span(-ends)} ago; issue a "
                             "new one (muster ca issue-job)")
        if begins > 0:
            raise ValueError(f"muster_c10d: the certificate {paths['certificate']} is valid only in {_span(begins)}; is this "
                             "machine's clock right?")
        if ends < EXPIRY_WARNING_SECONDS:
            warnings.warn(f"muster_c10d: the certificate {paths['certificate']} expires in {_span(ends)}", stacklevel=3)
        expected = cls._expected(identities, ranks, job, uri, own, paths["certificate"])
        if uri != expected[rank]:
            raise ValueError(f"muster_c10d: the certificate {paths['certificate']} carries {uri}, but rank {own} must be "
                             f"{expected[rank]}")
        # Part of what the ranks must have in common. Certificates of an own CA may name different jobs, or none.
        given = _setting(identities, "MUSTER_C10D_IDENTITIES")
        return cls(rank, expected, job if given is None else "job", int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")), certificate_pem, key_pem,
                   authority_pem)

    @staticmethod
    def _paths(certificate, key, authority, rank):
        folder = os.environ.get("MUSTER_C10D_FOLDER")
        known = {"certificate": (certificate, "MUSTER_C10D_CERT", f"rank-{rank}.pem"),
                 "private key": (key, "MUSTER_C10D_KEY", f"rank-{rank}.key"),
                 "CA certificate": (authority, "MUSTER_C10D_CA", "ca.pem")}
        paths = {}
        for what, (given, name, file) in known.items():
            path = _setting(given, name)
            if path is None and folder:
                path = os.path.join(folder, file)
            if path is None:
                raise ValueError(f"muster_c10d: no {what}. Make certificates with `muster ca issue-job JOB --ranks N --out "
                                 f"FOLDER` and set MUSTER_C10D_FOLDER=FOLDER, or set {name} to a PEM file")
            paths[what] = os.fspath(path).replace("{rank}", str(rank))
        return paths

    @staticmethod
    def _expected(identities, ranks, job, uri, own, path):
        given = _setting(identities, "MUSTER_C10D_IDENTITIES")
        if given is None:
            if not job:
                raise ValueError(f"muster_c10d: the certificate {path} carries {uri}, which names no job. Certificates that "
                                 "`muster ca issue-job` did not make need MUSTER_C10D_IDENTITIES: which SAN URI each rank has")
            given = f"muster://job/{job}/rank-{{rank}}"
        if isinstance(given, str) and "{rank}" in given:
            return [given.replace("{rank}", str(rank)) for rank in ranks]
        if isinstance(given, str):
            given = [line.strip() for line in _read(given, "list of identities").splitlines() if line.strip()]
        if len(given) <= max(max(ranks), own):
            raise ValueError(f"muster_c10d: {len(given)} identities for at least {max(ranks) + 1} ranks")
        return [given[rank] for rank in ranks]


class Meeting:
    """Brings the ranks of one group together: first the store of rank 0, then all of them."""

    def __init__(self, identity, host, fresh=True):
        global _meetings
        self._identity = identity
        self._host = _setting(host, "MUSTER_C10D_HOST")
        self._store = None
        self._number = _meetings if fresh else 0
        if fresh:
            _meetings += 1
        # A store of the group before this one refuses this one's ranks, and says that they are early.
        self._membership = identity.membership(identity.generation * 1_000_000 + self._number)

    def open(self, timeout, store=None, carrier=None):
        """Rank 0 serves the store, all connect to it. `carrier`: a store of torch's, which carries the address only."""
        address = None if carrier is not None else _setting(store, "MUSTER_C10D_STORE")
        master = os.environ.get("MASTER_ADDR")
        if address is None and carrier is None:
            port = _number(None, "MASTER_PORT")
            if master is None:
                raise ValueError("muster_c10d: MASTER_ADDR is not set. Start the script with torchrun, or set "
                                 "MUSTER_C10D_STORE to the host:port at which rank 0 shall serve the store")
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                carrier = dist.PrefixStore(f"muster_c10d/{self._membership.generation}",
                                           dist.TCPStore(master, port, is_master=False, timeout=timeout))
            else:
                address = f"[{master}]:{port}" if ":" in master else f"{master}:{port}"
        server = None
        if self._identity.rank == 0:
            host, port = self._own_end(address, master)
            server, served = _muster.serve(self._membership, host, port)
            address = address or served
            if carrier is not None:
                carrier.set("muster_c10d/store", served)
        elif carrier is not None:
            carrier.wait(["muster_c10d/store"], timeout)
            address = carrier.get("muster_c10d/store").decode(errors="replace")
        self._store = _muster.Store(self._membership, address, timeout, server)
        return self._store

    def _own_end(self, address, master):
        if address is None:
            return self._host or master or socket.gethostname(), 0
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"muster_c10d: '{address}' is no host:port")
        return host.strip("[]"), int(port)

    def connect(self, timeout):
        """Connects all ranks. Returns the World."""
        return _muster.World(self._store, self._host or "", timeout)
