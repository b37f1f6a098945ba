"""DistributedDataParallel over a backend of torch.distributed, on one machine, one thread a rank.

    python3 tests/bench/ddp_model.py --backend gloo --width 512 --layers 4 --batch 512
    MUSTER_C10D_FOLDER=certificates python3 tests/bench/ddp_model.py --backend muster ...

Trains a stack of square layers on random rows with torchrun and prints one JSON line: rows a second of all ranks, and
what a step spends when gradients are not exchanged (compute_ms) and on exchanging them alone (communication_ms).
For muster the package muster_c10d must be installed and MUSTER_C10D_FOLDER be what `muster ca issue-job` wrote.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LAUNCH_LIMIT_S = 600


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["gloo", "muster"], required=True)
    parser.add_argument("--width", type=int, default=512, help="units of each layer")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=512, help="rows of a step, over all ranks")
    parser.add_argument("--steps", type=int, default=20, help="measured steps")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args()


def launch(chosen):
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "result.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={chosen.ranks}",
                   __file__, *sys.argv[1:], "--result", str(result)]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=LAUNCH_LIMIT_S,
                       stdout=sys.stderr)
        return json.loads(result.read_text())


def join(backend):
    import torch.distributed
    if backend == "muster":
        import muster_c10d
        muster_c10d.init_process_group()
    else:
        torch.distributed.init_process_group(backend)


def median_ms(rounds, work):
    """The median time of `work` after a barrier."""
    import torch.distributed
    times = []
    for _ in range(rounds):
        torch.distributed.barrier()
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def rank_main(chosen):
    import torch
    import torch.distributed
    torch.set_num_threads(1)
    join(chosen.backend)
    ranks = torch.distributed.get_world_size()
    torch.manual_seed(1)
    layers = [layer for _ in range(chosen.layers)
              for layer in (torch.nn.Linear(chosen.width, chosen.width), torch.nn.ReLU())]
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    own = chosen.batch // ranks
    rows = torch.randn(own, chosen.width)

    def step():
        optimizer.zero_grad()
        model(rows).square().mean().backward()
        optimizer.step()

    def step_alone():
        with model.no_sync():
            step()

    for _ in range(chosen.warm_up):
        step()
    torch.distributed.barrier()
    begin = time.perf_counter()
    for _ in range(chosen.steps):
        step()
    torch.distributed.barrier()
    seconds = time.perf_counter() - begin
    parameters = sum(each.numel() for each in model.parameters())
    gradients = torch.zeros(parameters)
    rounds = max(3, chosen.steps // 4)
    communication = median_ms(rounds, lambda: torch.distributed.all_reduce(gradients))
    compute = median_ms(rounds, step_alone)  # last: the ranks' parameters differ from here on
    if torch.distributed.get_rank() == 0:
        pathlib.Path(chosen.result).write_text(json.dumps(
            {"name": "ddp_model", "backend": chosen.backend, "ranks": ranks, "parameters": parameters, "batch": chosen.batch,
             "steps": chosen.steps, "rows_per_second": chosen.steps * own * ranks / seconds,
             "compute_ms": compute, "communication_ms": communication, "torch": torch.__version__}))
    torch.distributed.barrier()
    os._exit(0)  # torch's own way out, destroy_process_group(), sometimes aborts in a thread of gloo


def main():
    chosen = options()
    if "RANK" in os.environ:
        rank_main(chosen)
    else:
        print(json.dumps(launch(chosen)))


if __name__ == "__main__":
    main()
