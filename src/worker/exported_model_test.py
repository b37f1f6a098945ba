#!/usr/bin/env python3
"""Loads exported archives with plain PyTorch and gets the numbers that the C++ side got for the same raw rows.

usage: exported_model_test.py PATH/TO/muster_worker_test   (its test Exported writes the archives and its numbers)
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import torch


def check(archive: pathlib.Path) -> None:
    expected = json.loads(archive.with_suffix(".json").read_text())
    model = torch.jit.load(str(archive))
    assert model.number_names == expected["number_names"], model.number_names
    assert model.category_names == expected["category_names"], model.category_names
    assert model.target_name == expected["target_name"], model.target_name
    assert model.target_categories == expected["target_categories"], model.target_categories
    assert not any(parameter.requires_grad for parameter in model.parameters())

    # The documented way: one row of numbers and one list of texts for each row; NaN and "" are missing.
    numbers = torch.tensor([[math.nan if x is None else x for x in row] for row in expected["numbers"]],
                           dtype=torch.float64)
    outputs = model(numbers, expected["categories"])
    assert outputs.dtype == torch.float64
    torch.testing.assert_close(outputs, torch.tensor(expected["outputs"], dtype=torch.float64), rtol=1e-6, atol=1e-9)
    # One row alone gives what it gives among others.
    torch.testing.assert_close(model(numbers[1:2], expected["categories"][1:2]), outputs[1:2], rtol=1e-6, atol=1e-9)


def main(program: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "--gtest_filter=*Exported.*", "--gtest_brief=1"], check=True, timeout=120,
                       env={**os.environ, "MUSTER_EXPORT_FOLDER": folder})
        archives = sorted(pathlib.Path(folder).glob("*.pt"))
        assert len(archives) == 6, archives
        for archive in archives:
            check(archive)
            print(f"{archive.name}: the same numbers in Python")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
