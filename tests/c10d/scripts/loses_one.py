"""Rank 1 is killed in the middle; the others print how the operation failed."""
import os
import signal

import muster_c10d
muster_c10d.init_process_group()

import torch
import torch.distributed as dist

try:
    dist.barrier()  # which rank 1 may have left, and be gone, before the others have
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.ones(1 << 20))
except RuntimeError as error:
    print("failed:", error, flush=True)
