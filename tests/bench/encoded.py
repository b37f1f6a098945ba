"""The encoded matrix of a recipe for the Python baselines, made with numpy from CSV or read from muster-data's cache."""
import csv
import gzip
import json
import pathlib

import numpy as np

MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"}  # as in src/data/cell.cpp


def read_columns(path):
    """Returns {column name: list of cells} of a CSV or CSV.gz file, in header order."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        cells = list(zip(*rows))
    return dict(zip(header, cells))


def to_number(cell):
    """Returns the cell as float, nan when it is missing, None when it is text."""
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def learn_input(name, cells, categorical):
    """Returns what Preprocessing (src/model/preprocessing.h) keeps for one input column."""
    numbers = None if name in categorical else [to_number(cell) for cell in cells]
    if numbers is None or None in numbers:
        categories = sorted({cell for cell in cells if cell.strip().lower() not in MISSING})
        missing = any(cell.strip().lower() in MISSING for cell in cells)
        return {"name": name, "kind": "category", "categories": categories, "missing_flag": missing}
    values = np.array(numbers)
    fill = float(np.nanmean(values))
    missing = bool(np.isnan(values).any())
    scale = float(np.nanstd(values)) or 1.0
    return {"name": name, "kind": "number", "fill": fill, "mean": fill, "scale": scale, "missing_flag": missing}


def encode_input(column, cells):
    """Returns float32 [rows, encoded columns of this input]."""
    missing = np.array([cell.strip().lower() in MISSING for cell in cells])
    if column["kind"] == "number":
        values = np.array([to_number(cell) for cell in cells])
        values = np.where(np.isnan(values), column["fill"], values)
        parts = [(values - column["mean"]) / column["scale"]]
    else:
        array = np.array(cells)
        parts = [array == category for category in column["categories"]]
    if column["missing_flag"]:
        parts.append(missing)
    return np.stack(parts, axis=1).astype(np.float32)


def encode(train_path, test_path, target, exclude, categorical):
    """Encodes two files with the statistics of the first; regression targets only.

    Returns (train features, train target, test features, test target), all float32.
    """
    train, test = read_columns(train_path), read_columns(test_path)
    names = [name for name in train if name != target and name not in exclude]
    columns = [learn_input(name, train[name], categorical) for name in names]
    features = [np.concatenate([encode_input(c, table[c["name"]]) for c in columns], axis=1) for table in (train, test)]
    targets = [np.array(table[target], dtype=np.float64).astype(np.float32) for table in (train, test)]
    return features[0], targets[0], features[1], targets[1]


def load(folder):
    """Reads a folder written by muster-data. Returns the same four arrays as encode()."""
    folder = pathlib.Path(folder)
    info = json.loads((folder / "matrix.json").read_text())
    columns = info["info"]["columns"]
    read = lambda name: np.fromfile(folder / name, dtype=np.float32)
    return (read("train.features").reshape(-1, columns), read("train.target"),
            read("test.features").reshape(-1, columns), read("test.target"))
