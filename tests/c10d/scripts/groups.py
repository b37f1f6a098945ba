"""Groups of some ranks, two at once, and groups made anew. Prints one line of JSON at rank 0."""
import json

import muster_c10d
muster_c10d.init_process_group()

import torch
import torch.distributed as dist

rank, size = dist.get_rank(), dist.get_world_size()


def total(group=None):
    value = torch.tensor([1 << rank])
    dist.all_reduce(value, group=group)
    return value.item()


def members(ranks):
    return sum(1 << each for each in ranks)


pairs = {}
for ranks in ([0, 1], [1, 2], [2, 0], [1]):
    pairs[tuple(ranks)] = dist.new_group(ranks)
for ranks, group in pairs.items():
    assert rank not in ranks or total(group) == members(ranks), ranks
assert total() == members(range(size))
for _ in range(3):  # the same ranks again, after the group has ended
    group = dist.new_group([0, 2], use_local_synchronization=True) if rank in (0, 2) else None
    if group is not None:
        assert total(group) == members([0, 2])
        dist.destroy_process_group(group)
dist.barrier()
dist.destroy_process_group()
muster_c10d.init_process_group()  # a new meeting in the same process
assert total() == members(range(size))
dist.destroy_process_group()

# By torch's own call: its store carries rank 0's address, and nothing that must be believed.
dist.init_process_group("muster")
assert total() == members(range(size))
store = dist.distributed_c10d._get_default_store()
if rank == 0:
    print(json.dumps({"backend": dist.get_backend()}), flush=True)
dist.destroy_process_group()
