"""What torchrun's own store has seen in the end. Prints one line of JSON at rank 0."""
import json
import os

import muster_c10d
muster_c10d.init_process_group()

import torch.distributed as dist

dist.distributed_c10d._get_default_store().set("secret", "of the group")
dist.all_gather_object([None] * dist.get_world_size(), "secret")
dist.barrier()
if dist.get_rank() == 0:
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    keys = [key for key in store.list_keys() if "rdzv" not in key and "torchelastic" not in key]
    print(json.dumps({"keys": keys, "values": [store.get(key).decode() for key in keys]}), flush=True)
dist.barrier()
dist.destroy_process_group()
