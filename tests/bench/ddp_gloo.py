"""PyTorch's own way to train the delay example on two ranks: DistributedDataParallel over gloo, equal parts.

    python3 tests/bench/ddp_gloo.py --hidden 256,256 --batch 1024
    python3 tests/bench/ddp_gloo.py --hidden 1024,1024 --batch 4096 --cpu-quota 1.0,0.5
    python3 tests/bench/ddp_gloo.py --control-groups /sys/fs/cgroup/cpu/a,/sys/fs/cgroup/cpu/b

Starts its ranks with torchrun and prints one JSON line: rows per second of both together over the measured steps, and the
time from the launch to the end of the first step. Rows are indexed directly, there is no DataLoader; each rank computes with
one thread. --cpu-quota makes a CPU control group for each rank (cgroup v1 or v2, root only); --control-groups enters
given ones.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

CONTROL_GROUPS = pathlib.Path("/sys/fs/cgroup")
PERIOD_US = 100_000
TRAINING_ROWS = 140_780  # the example's rows less the validation part
COLUMNS = 18
LAUNCH_LIMIT_S = 300


def integers(text):
    return [int(part) for part in text.split(",") if part]


def reals(text):
    return [float(part) for part in text.split(",") if part]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=integers, default=[256, 256], help="units of each hidden layer")
    parser.add_argument("--batch", type=int, default=1024, help="rows of a step, over all ranks")
    parser.add_argument("--steps", type=int, default=200, help="measured steps")
    parser.add_argument("--warm-up", type=int, default=10, help="steps before them")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--matrix", help="folder written by muster-data; default: random rows of the same shape")
    parser.add_argument("--cpu-quota", type=reals, help="cores of each rank, e.g. 1.0,0.5")
    parser.add_argument("--control-groups", type=lambda text: text.split(","), help="CPU control group of each rank")
    parser.add_argument("--result", help=argparse.SUPPRESS)
    parser.add_argument("--launched", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_control_groups(quotas):
    """Makes one CPU control group for each rank. Returns their folders."""
    version_2 = (CONTROL_GROUPS / "cgroup.controllers").exists()
    root = CONTROL_GROUPS if version_2 else CONTROL_GROUPS / "cpu"
    if version_2 and "cpu" not in (root / "cgroup.subtree_control").read_text().split():
        (root / "cgroup.subtree_control").write_text("+cpu")
    folders = []
    for rank, cores in enumerate(quotas):
        folder = root / f"ddp-gloo-{os.getpid()}-{rank}"
        folder.mkdir()
        quota = int(cores * PERIOD_US)
        if version_2:
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        folders.append(str(folder))
    return folders


def launch(chosen):
    """Starts torchrun and returns what rank 0 wrote."""
    made = make_control_groups(chosen.cpu_quota) if chosen.cpu_quota else []
    groups = made or chosen.control_groups or []
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = pathlib.Path(folder) / "result.json"
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={chosen.ranks}",
                       __file__, *sys.argv[1:], "--result", str(result), "--launched", repr(time.time())]
            if made:
                command += ["--control-groups", ",".join(groups)]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            subprocess.run(command, env=environment, check=True, timeout=LAUNCH_LIMIT_S, stdout=sys.stderr)
            return json.loads(result.read_text())
    finally:
        for folder in made:
            pathlib.Path(folder).rmdir()


def rank_main(chosen):
    rank = int(os.environ["RANK"])
    if chosen.control_groups:
        (pathlib.Path(chosen.control_groups[rank]) / "cgroup.procs").write_text(str(os.getpid()))
    import torch
    import torch.distributed
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    ranks = torch.distributed.get_world_size()
    torch.manual_seed(1)
    if chosen.matrix:
        import encoded
        features, target = (torch.from_numpy(part) for part in encoded.load(chosen.matrix)[:2])
        target = (target - target.mean()) / target.std()
    else:
        features, target = torch.randn(TRAINING_ROWS, COLUMNS), torch.randn(TRAINING_ROWS)
    layers, width = [], features.shape[1]
    for units in chosen.hidden:
        layers += [torch.nn.Linear(width, units), torch.nn.ReLU()]
        width = units
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers, torch.nn.Linear(width, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    own = chosen.batch // ranks

    def step(order, number):
        rows = order[number * chosen.batch + rank * own:][:own]
        optimizer.zero_grad()
        torch.nn.functional.l1_loss(model(features[rows]).squeeze(1), target[rows]).backward()
        optimizer.step()

    steps_of_epoch = len(target) // chosen.batch
    assert steps_of_epoch > 0, "the batch is larger than the data"
    epochs = math.ceil((chosen.warm_up + chosen.steps + 1) / steps_of_epoch)
    orders = [torch.randperm(len(target)) for _ in range(epochs)]  # every rank draws the same
    numbers = iter((orders[i // steps_of_epoch], i % steps_of_epoch) for i in range(epochs * steps_of_epoch))
    step(*next(numbers))
    first_step = time.time() - chosen.launched
    for _ in range(chosen.warm_up):
        step(*next(numbers))
    torch.distributed.barrier()
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(chosen.steps):
        step(*next(numbers))
    torch.distributed.barrier()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    gathered = [None] * ranks
    torch.distributed.all_gather_object(gathered, {"cpu_seconds": round(cpu, 3), "first_step_seconds": first_step})
    if rank == 0:
        line = {"name": "ddp_gloo", "ranks": ranks, "hidden": chosen.hidden, "batch": chosen.batch,
                "cpu_quota": chosen.cpu_quota, "steps": chosen.steps, "seconds": round(seconds, 3),
                "rows_per_second": round(chosen.steps * own * ranks / seconds),
                "launch_to_first_step_seconds": round(max(each["first_step_seconds"] for each in gathered), 3),
                "cpu_seconds": [each["cpu_seconds"] for each in gathered],
                "parameter_bytes": 4 * sum(p.numel() for p in model.parameters()), "torch": torch.__version__}
        pathlib.Path(chosen.result).write_text(json.dumps(line))
    torch.distributed.barrier()
    os._exit(0)  # torch's own way out, destroy_process_group(), sometimes aborts in a thread of gloo


def main():
    chosen = options()
    for name in ("cpu_quota", "control_groups"):
        given = getattr(chosen, name)
        if given and len(given) != chosen.ranks:
            sys.exit(f"--{name.replace('_', '-')} needs one value for each of the {chosen.ranks} ranks")
    if "RANK" in os.environ:
        rank_main(chosen)
    else:
        print(json.dumps(launch(chosen)))


if __name__ == "__main__":
    main()
