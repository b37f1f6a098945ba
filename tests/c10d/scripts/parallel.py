"""FSDP2, a distributed checkpoint and a 1F1B pipeline against one process. Prints one line of JSON at rank 0."""
import json
import sys

import muster_c10d
muster_c10d.init_process_group()

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

rank, size = dist.get_rank(), dist.get_world_size()
folder = sys.argv[1]


def model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Tanh()) for _ in range(size))).double()


def difference(ours, theirs):
    return max((a - b).abs().max().item() for a, b in zip(ours, theirs))


def sharded(seed=0):
    made = model(seed)
    mesh = init_device_mesh("cpu", (size,))
    for layer in made:
        fully_shard(layer, mesh=mesh)
    return fully_shard(made, mesh=mesh)


def whole(parameters):
    return [each.full_tensor() for each in parameters]


torch.manual_seed(1)
rows, targets = torch.randn(8 * size, 16, dtype=torch.double), torch.randn(8 * size, 16, dtype=torch.double)
loss = torch.nn.functional.mse_loss
reference, fsdp = model(), sharded()
optimizers = [torch.optim.AdamW(each.parameters(), 1e-2) for each in (reference, fsdp)]
for _ in range(3):
    for each, optimizer, mine in ((reference, optimizers[0], slice(None)), (fsdp, optimizers[1], slice(rank, None, size))):
        optimizer.zero_grad()
        loss(each(rows[mine]), targets[mine]).backward()
        optimizer.step()
said = {"fsdp": difference(whole(fsdp.parameters()), reference.parameters())}

checkpoint.save({"model": get_model_state_dict(fsdp)}, checkpoint_id=folder)
other = sharded(seed=7)
said["before_loading"] = difference(whole(other.parameters()), reference.parameters())
state = {"model": get_model_state_dict(other)}
checkpoint.load(state, checkpoint_id=folder)
set_model_state_dict(other, state["model"])
said["checkpoint"] = difference(whole(other.parameters()), whole(fsdp.parameters()))

# One layer a rank, more micro-batches than stages, so that sends and receives go both ways at once.
mine = model()[rank]
stage = PipelineStage(mine, rank, size, torch.device("cpu"))
schedule = Schedule1F1B(stage, n_microbatches=4, loss_fn=loss)
one = model()
loss(one(rows), targets).backward()
if rank == 0:
    schedule.step(rows)
elif rank == size - 1:
    schedule.step(target=targets)
else:
    schedule.step()
said["pipeline"] = difference((each.grad for each in mine.parameters()), (each.grad for each in one[rank].parameters()))

everybody = [None] * size
dist.all_gather_object(everybody, said)
if rank == 0:
    result = {key: max(each[key] for each in everybody) for key in said}
    print(json.dumps(result | {"threads": muster_c10d._world.threads, "edges": [edge["cipher"] for edge in muster_c10d.edges()]}),
          flush=True)
dist.barrier()
dist.destroy_process_group()
