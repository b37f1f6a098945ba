"""Prints the figures that src/data/ue_delay_test.cpp expects, computed without Arrow and without Muster's code."""
import json
import pathlib

import encoded

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "ue-delay"


def main():
    arrays = encoded.encode(EXAMPLE / "train.csv.gz", EXAMPLE / "test.csv.gz", "delay_ms",
                            ["run_id", "pub_time_ms", "sub_time_ms"], ["cell_id"])
    for name, values in zip(("train.features", "train.target", "test.features", "test.target"), arrays):
        means = values.astype("float64").mean(axis=0)
        print(name, json.dumps({"shape": values.shape, "mean": means.tolist(),
                                "last": values[-1].tolist()}))


if __name__ == "__main__":
    main()
