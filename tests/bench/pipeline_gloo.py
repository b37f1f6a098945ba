"""PyTorch's own way to split a language model over ranks: torch.distributed.pipelining, 1F1B, over gloo.

    python3 tests/bench/pipeline_gloo.py --layers 16 --width 512 --heads 8 --batch 8 --micro-batches 8 --steps 12

Starts its ranks with torchrun and prints one JSON line: tokens per second of the measured steps and each rank's most
resident memory. Equal numbers of blocks on each rank, one thread each, no encryption.
"""
import argparse
import json
import math
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

VOCABULARY = 65
LAUNCH_LIMIT_S = 500


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("layers", 16), ("width", 512), ("heads", 8), ("sequence", 128), ("batch", 8),
                        ("micro-batches", 8), ("steps", 12), ("warm-up", 2), ("ranks", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
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


def blocks_of(chosen, torch, begin, end):
    """Blocks begin to end - 1 of the chain: an embedding, decoders, a head."""
    nn, functional = torch.nn, torch.nn.functional

    half = chosen.width // chosen.heads // 2
    angle = torch.arange(chosen.sequence)[:, None] * torch.exp(torch.arange(half) * (-math.log(10000.0) / half))
    turn = torch.polar(torch.ones_like(angle), angle)

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(chosen.width), nn.LayerNorm(chosen.width)
            self.attention, self.out = nn.Linear(chosen.width, 3 * chosen.width), nn.Linear(chosen.width, chosen.width)
            self.up, self.down = nn.Linear(chosen.width, 4 * chosen.width), nn.Linear(4 * chosen.width, chosen.width)

        def forward(self, x):
            rows, tokens, width = x.shape
            h = self.attention(self.norm_1(x)).view(rows, tokens, 3, chosen.heads, -1).permute(2, 0, 3, 1, 4)
            pairs = torch.view_as_complex(h[:2].unflatten(-1, (half, 2)))
            q, k = torch.view_as_real(pairs * turn[:tokens]).flatten(-2)
            h = functional.scaled_dot_product_attention(q, k, h[2], is_causal=True)
            x = x + self.out(h.transpose(1, 2).reshape(rows, tokens, width))
            return x + self.down(functional.gelu(self.up(self.norm_2(x))))

    def block(position):
        if position == 0:
            return nn.Embedding(VOCABULARY, chosen.width)
        if position <= chosen.layers:
            return Decoder()
        return nn.Sequential(nn.LayerNorm(chosen.width), nn.Linear(chosen.width, VOCABULARY))

    return nn.Sequential(*(block(position) for position in range(begin, end)))


def rank_main(chosen):
    rank = int(os.environ["RANK"])
    import torch
    import torch.distributed
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(rank)
    blocks = chosen.layers + 2
    model = blocks_of(chosen, torch, blocks * rank // chosen.ranks, blocks * (rank + 1) // chosen.ranks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    stage = PipelineStage(model, rank, chosen.ranks, torch.device("cpu"))
    schedule = Schedule1F1B(stage, chosen.micro_batches, loss_fn=lambda outputs, target:
                            torch.nn.functional.cross_entropy(outputs.flatten(0, 1), target.flatten()))
    tokens = torch.randint(0, VOCABULARY, (chosen.batch, chosen.sequence + 1))

    def step():
        optimizer.zero_grad()
        if rank == 0:
            schedule.step(tokens[:, :-1])
        elif rank == chosen.ranks - 1:
            schedule.step(target=tokens[:, 1:], losses=[])
        else:
            schedule.step()
        optimizer.step()

    for _ in range(chosen.warm_up):
        step()
    torch.distributed.barrier()
    started = time.perf_counter()
    for _ in range(chosen.steps):
        step()
    torch.distributed.barrier()
    seconds = time.perf_counter() - started
    memory = [None] * chosen.ranks
    torch.distributed.all_gather_object(memory, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    if rank == 0:
        pathlib.Path(chosen.result).write_text(json.dumps(
            {"name": "pipeline_gloo", "ranks": chosen.ranks, "steps": chosen.steps, "seconds": round(seconds, 3),
             "tokens_per_second": round(chosen.steps * chosen.batch * chosen.sequence / seconds, 1),
             "peak_memory_bytes": memory, "torch": torch.__version__}))
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
