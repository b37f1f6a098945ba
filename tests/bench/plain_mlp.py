"""Trains the delay example with plain PyTorch on one machine: the figures Muster is compared with.

    python3 tests/bench/plain_mlp.py --hidden 128,128 --epochs 8 --batch 1024 --seeds 1,2,3

Prints one JSON line for each seed: test MAE, RMSE and R2 in the target's unit, CPU and wall seconds of training.
"""
import argparse
import json
import math
import pathlib
import time

import numpy as np
import torch

import encoded

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "ue-delay"


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", help="folder written by muster-data; default: encode the example's CSV files here")
    parser.add_argument("--hidden", type=numbers, default=[128, 128], help="units of each hidden layer")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1024, help="rows per step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
    parser.add_argument("--validation", type=float, default=0.1, help="part of the rows kept from training")
    parser.add_argument("--seeds", type=numbers, default=[1])
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def mlp(inputs, hidden):
    layers, width = [], inputs
    for units in hidden:
        layers += [torch.nn.Linear(width, units), torch.nn.ReLU()]
        width = units
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1), torch.nn.Flatten(0))


def scores(prediction, truth):
    error = (prediction - truth).double()
    total = (truth.double() - truth.double().mean()).pow(2).sum()
    return {"MAE": error.abs().mean().item(), "RMSE": error.pow(2).mean().sqrt().item(),
            "R2": 100 * (1 - (error.pow(2).sum() / total).item())}


def train(seed, chosen, features, target):
    """Returns (model, training rows). The target is standardised, the loss is L1."""
    torch.manual_seed(seed)
    order = torch.randperm(len(target))
    kept = order[int(len(target) * chosen.validation):]
    features, target = features[kept], target[kept]
    model = mlp(features.shape[1], chosen.hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay)
    steps = chosen.epochs * math.ceil(len(target) / chosen.batch)
    factor = (lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))) if chosen.schedule == "cosine" else (lambda _: 1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for _ in range(chosen.epochs):
        order = torch.randperm(len(target))
        for rows in order.split(chosen.batch):
            optimizer.zero_grad()
            torch.nn.functional.l1_loss(model(features[rows]), target[rows]).backward()
            optimizer.step()
            schedule.step()
    return model, len(target)


def main():
    chosen = options()
    torch.set_num_threads(chosen.threads)
    if chosen.matrix:
        arrays = encoded.load(chosen.matrix)
    else:
        arrays = encoded.encode(EXAMPLE / "train.csv.gz", EXAMPLE / "test.csv.gz", "delay_ms",
                                ["run_id", "pub_time_ms", "sub_time_ms"], ["cell_id"])
    features, target, test_features, test_target = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    mean, scale = target.double().mean().float(), target.double().std(correction=0).float()
    for seed in chosen.seeds:
        cpu, wall = time.process_time(), time.perf_counter()
        model, rows = train(seed, chosen, features, (target - mean) / scale)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        with torch.no_grad():
            result = scores(model(test_features) * scale + mean, test_target)
        line = {name: round(value, 4) for name, value in result.items()}
        line |= {"seed": seed, "hidden": chosen.hidden, "epochs": chosen.epochs, "batch": chosen.batch,
                 "learning_rate": chosen.learning_rate, "weight_decay": chosen.weight_decay,
                 "schedule": chosen.schedule, "cpu_seconds": round(cpu, 2), "wall_seconds": round(wall, 2),
                 "rows_per_second": round(rows * chosen.epochs / wall)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
