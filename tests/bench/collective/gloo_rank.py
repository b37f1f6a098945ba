"""One rank of the reference in Gloo through torch, without encryption. Takes orders as JSON lines on stdin.

    python3 gloo_rank.py RANK RANKS STORE_FILE INTERFACE

{"bytes": 4096, "rounds": 100, "warm_up": 3} -> [milliseconds of each round at this rank]. Fills and checks its buffer as
the ranks of `muster bench collectives` do; one thread; ends with its stdin.
"""
import datetime
import json
import os
import sys
import time

import torch
import torch.distributed

PATTERN_LENGTH = 1021
OPERATION_LIMIT = datetime.timedelta(seconds=120)


def measure(rank, ranks, order):
    elements = order["bytes"] // 4
    pattern = (torch.arange(elements, dtype=torch.int32) % PATTERN_LENGTH).to(torch.float32)
    own, data, times = pattern + rank, torch.empty(elements), []
    for number in range(-order["warm_up"], order["rounds"]):
        data.copy_(own)
        torch.distributed.barrier()
        begin = time.perf_counter()
        torch.distributed.all_reduce(data)
        if number >= 0:
            times.append((time.perf_counter() - begin) * 1e3)
    if not torch.equal(data, pattern * ranks + ranks * (ranks - 1) // 2):
        raise RuntimeError(f"all_reduce of {order['bytes']} bytes gave a wrong sum")
    return times


def main():
    rank, ranks, store, interface = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks,
                                         timeout=OPERATION_LIMIT)
    for line in sys.stdin:
        print(json.dumps(measure(rank, ranks, json.loads(line))), flush=True)
    os._exit(0)  # torch's own way out, destroy_process_group(), sometimes aborts in a thread of gloo


if __name__ == "__main__":
    main()
