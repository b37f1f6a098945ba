#!/usr/bin/env python3
"""Loads texts of boosted trees with plain LightGBM and gets the numbers that the C++ side got for the same rows.

usage: tree_model_test.py PATH/TO/muster_worker_test   (its test TreeModel writes the texts and its numbers)
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import lightgbm
import numpy


def check(text: pathlib.Path) -> None:
    booster = lightgbm.Booster(model_file=str(text))
    outputs = booster.num_model_per_iteration()
    numbers = numpy.fromfile(text.with_suffix(".numbers"))
    columns = booster.num_feature()
    rows = len(numbers) // (columns + 2 * outputs)
    inputs, raw, predicted = numpy.split(numbers, [rows * columns, rows * (columns + outputs)])
    inputs = inputs.reshape(rows, columns)
    assert rows == 300, rows
    assert numpy.array_equal(booster.predict(inputs, raw_score=True).ravel(), raw)
    numpy.testing.assert_allclose(booster.predict(inputs).ravel(), predicted, rtol=1e-14)


def main(program: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "--gtest_filter=TreeModel.predicts_what_python_predicts", "--gtest_brief=1"],
                       check=True, timeout=120, env={**os.environ, "MUSTER_TREES_FOLDER": folder})
        texts = sorted(pathlib.Path(folder).glob("*.txt"))
        assert len(texts) == 6, texts
        for text in texts:
            check(text)
            print(f"{text.name}: the same numbers in Python")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
