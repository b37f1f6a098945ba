"""Data-parallel training over mutual TLS. muster ca issue-job demo --ranks 2 --out certificates, then
MUSTER_C10D_FOLDER=certificates torchrun --nproc-per-node 2 examples/c10d/train.py"""
import muster_c10d
muster_c10d.init_process_group()

import torch
import torch.distributed as dist

torch.manual_seed(dist.get_rank())
truth = torch.arange(1.0, 9.0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 1, bias=False))
optimizer = torch.optim.Adam(model.parameters(), 0.05)
for step in range(301):
    rows = torch.randn(256, 8)  # other rows on each rank
    loss = (model(rows).squeeze() - rows @ truth).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0 and dist.get_rank() == 0:
        print(f"step {step}: loss {loss.item():.4f}", flush=True)
if dist.get_rank() == 0:
    for edge in muster_c10d.edges():
        print(f"{edge['identity']} at {edge['address']}: {edge['bytes_sent']} bytes sent, {edge['cipher']}", flush=True)
dist.destroy_process_group()
