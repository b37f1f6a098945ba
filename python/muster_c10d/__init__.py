"""Encrypted, authenticated collectives for any PyTorch script on CPU tensors.

    import muster_c10d
    muster_c10d.init_process_group()

under torchrun gives DistributedDataParallel, FSDP2, pipelining and distributed checkpoints over mutual TLS 1.3.
Importing the package registers the backend "muster", so that torch.distributed.init_process_group("muster") works too.
Certificates come from files: see `init_process_group`, and docs/c10d.md of the project.
"""
import datetime

import torch
import torch.distributed as dist

from . import _muster, rendezvous
from .rendezvous import Identity

__all__ = ["Identity", "edges", "init_process_group", "monitored_barrier"]
__version__ = "0.1.0"

if torch.__version__ != _muster.torch_version:
    raise ImportError(f"muster_c10d was built for torch {_muster.torch_version}, and this is torch {torch.__version__}: "
                      "build its wheel again with this torch installed")

_world = None  # the ranks of the default group, as long as that group is one of ours
_prepared = None  # a Meeting of init_process_group, on its way through torch to _create


def init_process_group(*, certificate=None, key=None, authority=None, identities=None, store=None, host=None,
                       rank=None, world_size=None, timeout=None, **others):
    """Connects all ranks over mutual TLS 1.3 and makes them torch.distributed's default group.

    What is not given is taken from the environment; torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
    `{rank}` in a path is replaced by the rank.

    certificate, key, authority
        PEM files: this rank's certificate and private key, and the CA that all ranks' certificates come from.
        MUSTER_C10D_CERT, MUSTER_C10D_KEY, MUSTER_C10D_CA; or all three from MUSTER_C10D_FOLDER, a folder that
        `muster ca issue-job` has written.
    identities
        The SAN URI that each rank's certificate must carry: a list in rank order, or one text with `{rank}`.
        MUSTER_C10D_IDENTITIES: such a text, or a file with one SAN URI a line. Else muster://job/JOB/rank-{rank}, with
        the JOB of this rank's own certificate.
    store
        "host:port" where rank 0 serves the store (MUSTER_C10D_STORE). Else MASTER_ADDR and MASTER_PORT; under torchrun,
        whose own store is there, rank 0 takes a free port and leaves the address in torchrun's store.
    host
        Address of this machine at which other ranks reach it (MUSTER_C10D_HOST). Else the one from which it reaches
        rank 0.
    timeout
        datetime.timedelta for the meeting and for each operation; torch's default is 30 minutes.
    others
        As of torch.distributed.init_process_group, e.g. device_id.

    Raises ValueError for wrong settings and certificates, torch.distributed.DistError when the ranks do not meet.
    """
    global _prepared, _world
    identity = Identity.find(certificate=certificate, key=key, authority=authority, identities=identities,
                             rank=rank, world_size=world_size)
    timeout = timeout or dist.default_pg_timeout
    if dist.is_initialized():
        raise ValueError("muster_c10d: there is a default process group already")
    _world = None
    meeting = rendezvous.Meeting(identity, host)
    kept = meeting.open(timeout, store=store)
    _prepared = meeting
    try:
        dist.init_process_group("muster", store=kept, rank=identity.rank, world_size=identity.world_size, timeout=timeout,
                                **others)
    finally:
        _prepared = None


def monitored_barrier(group=None, timeout=None, wait_all_ranks=False):
    """torch.distributed.monitored_barrier, which torch itself keeps for Gloo: rank 0 names the rank, or with
    `wait_all_ranks` all ranks, of `group` that did not come within `timeout` (datetime.timedelta)."""
    if group == dist.GroupMember.NON_GROUP_MEMBER:
        return
    group = group or dist.group.WORLD
    if timeout is not None and not isinstance(timeout, datetime.timedelta):
        timeout = datetime.timedelta(seconds=timeout)
    group.monitored_barrier(dist.default_pg_timeout if timeout is None else timeout, wait_all_ranks)


def edges():
    """What is known of the connections with each other rank of the default group, as a list of dicts: rank, identity,
    address, bytes_sent, bytes_received, wait_seconds, cipher, certificate_expires."""
    if _world is None or _world.closed:
        raise ValueError("muster_c10d: there is no default process group of this backend")
    return _world.edges()


def _create(options, _):
    """Makes the backend of a group, for torch: the default one, or one of some ranks."""
    global _world
    ranks = list(options.global_ranks_in_group)
    timeout = datetime.timedelta(seconds=options.timeout.total_seconds())
    if ranks and _world is not None and not _world.closed:
        return _world.subgroup(options.group_id, ranks, timeout)
    meeting = _prepared
    if meeting is None:  # torch.distributed.init_process_group("muster"): the store that torch has carries one address
        identity = Identity.find(rank=options.group_rank, world_size=options.group_size, global_ranks=ranks)
        meeting = rendezvous.Meeting(identity, None, fresh=not ranks)
        if not ranks:
            _world = None
        meeting.open(timeout, carrier=options.store)
    world = meeting.connect(timeout)
    if not ranks:
        _world = world
    return world.backend()


dist.Backend.register_backend("muster", _create, extended_api=True, devices=["cpu"])
