"""DistributedDataParallel against one process, by the two lines of the README. Prints one line of JSON at rank 0."""
import json

import muster_c10d
muster_c10d.init_process_group()

import torch
import torch.distributed as dist

rank, size = dist.get_rank(), dist.get_world_size()


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(15, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).double()


reference, ddp = model(), torch.nn.parallel.DistributedDataParallel(model())
rows, targets = torch.randn(12 * size, 15, dtype=torch.double), torch.randn(12 * size, 1, dtype=torch.double)
optimizers = [torch.optim.AdamW(each.parameters(), 1e-2) for each in (reference, ddp)]
for _ in range(5):
    for each, optimizer, mine in ((reference, optimizers[0], slice(None)), (ddp, optimizers[1], slice(rank, None, size))):
        optimizer.zero_grad()
        (each(rows[mine]) - targets[mine]).square().mean().backward()
        optimizer.step()
difference = max((a - b).abs().max().item() for a, b in zip(reference.parameters(), ddp.parameters()))

dist.broadcast_object_list(word := ["never in torchrun's store" if rank == 0 else None])
names = [None] * size
dist.all_gather_object(names, word[0])
everybody = [None] * size
dist.all_gather_object(everybody, difference)
if rank == 0:
    print(json.dumps({"backend": dist.get_backend(), "difference": max(everybody), "names": names}), flush=True)
dist.destroy_process_group()
