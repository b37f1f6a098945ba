"""Plain LightGBM on the table of a file: alone, or as one of two members over its own sockets. One line of JSON.

usage: plain_lightgbm.py FILE COLUMNS TREES [RANK PORT,PORT]
"""
import json
import sys
import time

import lightgbm
import numpy


def main(file, columns, trees, rank=None, ports=None):
    columns, trees = int(columns), int(trees)
    table = numpy.fromfile(file, dtype=numpy.float32).reshape(-1, columns + 1)
    settings = {"objective": "regression", "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 20, "max_bin": 255,
                "num_threads": 1, "verbosity": -1, "force_col_wise": True, "enable_bundle": False}
    own = table
    if rank is not None:
        rank, ports = int(rank), ports.split(",")
        own = table[len(table) * rank // len(ports):len(table) * (rank + 1) // len(ports)]
        settings |= {"tree_learner": "data", "pre_partition": True, "num_machines": len(ports), "time_out": 2,
                     "machines": ",".join(f"127.0.0.1:{port}" for port in ports), "local_listen_port": int(ports[rank])}
    data = lightgbm.Dataset(own[:, :-1], own[:, -1], params=settings)
    booster = lightgbm.Booster(settings, data)
    for _ in range(trees // 4):
        booster.update()
    begin = time.monotonic()
    for _ in range(trees):
        booster.update()
    seconds = time.monotonic() - begin
    error = numpy.sqrt(((booster.predict(own[:, :-1], num_threads=1) - own[:, -1]) ** 2).mean())
    print(json.dumps({"seconds_per_tree": seconds / trees, "rmse": float(error)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
