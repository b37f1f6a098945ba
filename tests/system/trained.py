"""What the system tests train: names of objects, a good request, a small recipe and its table."""
import math
import pathlib
import random

OWN = "SubNetwork=1,MLTrainingFunction=mlt"  # the producer's entry for requests
REPOSITORY = "SubNetwork=1,MLModelRepository=1"


def function_dn(name):
    return f"SubNetwork=1,ManagedElement={name},MLTrainingFunction=1"


def request_dn(identity):
    return f"{OWN},MLTrainingRequest={identity}"


def process_dn(identity):
    return f"{OWN},MLTrainingProcess={identity}"


def report_dn(identity):
    return f"{OWN},MLTrainingReport={identity}"


def request_attributes(**changes):
    """Attributes of a good request; `changes` replace some, None removes one."""
    attributes = {
        "trainingRequestSource": "SubNetwork=1,ManagedElement=analytics", "aIMLInferenceName": "TINY_DELAY",
        "mLTrainingType": "INITIAL_TRAINING",
        "performanceRequirements": [
            {"inferenceOutputName": "delay", "performanceMetric": "MAE", "performanceScore": 1000.0}],
        "distributedTrainingExpectation": {"expectedTrainingTime": 5, "dataSplitIndication": True}, **changes}
    return {name: value for name, value in attributes.items() if value is not None}


def recipe(name="tiny", inference="TINY_DELAY", source="tiny/train", test="tiny/test", **changes):
    return {"name": name, "inference": inference,
            "data": {"source": source, "test": test, "target": "delay", "exclude": ["run"], "validation": 0.2},
            "model": {"family": "mlp", "hidden": [8]}, "loss": "l1",
            "optimizer": {"name": "adamw", "learning_rate": 0.01}, "batch": 64, "epochs": 2, "metrics": ["MAE", "R2"],
            **changes}


HEADER = "run,cell,load,speed,delay"


def rows(count, seed):
    """Lines of a small table: delay depends on load and cell; some loads are missing."""
    source = random.Random(seed)
    lines = []
    for index in range(count):
        cell, load, speed = source.choice(["a", "b", "c"]), source.uniform(0, 10), source.uniform(0, 120)
        delay = 20 + 3 * load + 5 * "abc".index(cell) + source.gauss(0, 1)
        lines.append(f"r{index},{cell},{'' if source.random() < 0.05 else f'{load:.4f}'},{speed:.2f},{delay:.4f}")
    return lines


def write_table(path, lines, header=HEADER):
    path = pathlib.Path(path)
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def write_parts(folder, lines):
    """The same in three files of three kinds, and one that is still being written."""
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet

    folder = pathlib.Path(folder)
    folder.mkdir()
    thirds = [lines[:100], lines[100:250], lines[250:]]
    write_table(folder / "part-0.csv", thirds[0])
    for number, write in ((1, pyarrow.parquet.write_table), (2, pyarrow.feather.write_feather)):
        table = pyarrow.csv.read_csv(write_table(folder / "_new.csv", thirds[number]))
        write(table, folder / f"part-{number}")
    return folder


def write_office_table(path, lines):
    """The same as an office program with a comma for decimals writes it: semicolons, CR LF, Latin-1."""
    office = [";".join(cell.replace(".", ",") for cell in line.split(",")) for line in lines]
    header = HEADER.replace(",", ";").replace("delay", "verz\u00f6gerung")
    path = pathlib.Path(path)
    path.write_bytes(("\r\n".join([header, *office]) + "\r\n").encode("latin-1"))
    return path


def text_recipe(name="tiny-text", source="text/train", test="text/test", **changes):
    return {"name": name, "data": {"source": source, "test": test, "text": {"sequence": 16}, "validation": 0.1},
            "model": {"family": "transformer", "layers": 1, "width": 16, "heads": 2}, "loss": "cross_entropy",
            "optimizer": {"name": "adamw", "learning_rate": 0.01}, "batch": 16, "epochs": 3, "metrics": ["log_loss"],
            **changes}


def forecast_recipe(name="tiny-forecast", source="cells/train", test="cells/test", windows=None, **changes):
    return {"name": name, "data": {"source": source, "test": test, "target": "load", "validation": 0.1,
                                   "windows": windows or {"length": 8, "horizon": 1, "time": "hour", "series": "cell"}},
            "model": {"family": "gru", "width": 12}, "loss": "mse",
            "optimizer": {"name": "adamw", "learning_rate": 0.01}, "batch": 32, "epochs": 6, "metrics": ["MAE"], **changes}


def write_series(path, hours, seed):
    """The load of two cells, which follows the time of the day; rows in no order, some hours missing."""
    source = random.Random(seed)
    lines = []
    for cell, height in (("a", 20.0), ("b", 60.0)):
        for hour in range(hours):
            wave = 1.0 + math.sin(2 * math.pi * hour / 24) + source.uniform(-0.1, 0.1)
            if source.random() > 0.02:
                lines.append(f"2026-01-{1 + hour // 24:02d}T{hour % 24:02d}:00,{cell},{height * wave:.3f}")
    source.shuffle(lines)
    path = pathlib.Path(path)
    path.write_text("\n".join(["hour,cell,load", *lines]) + "\n", encoding="utf-8")
    return path


def write_messages(path, count, seed):
    """Round trips of drives: a delay is like the one before it, and known only when the echo is back."""
    source = random.Random(seed)
    lines = []
    for drive, level in (("n", 20.0), ("s", 60.0), ("w", 90.0)):
        sent, delay = 1_000_000.0, level
        for _ in range(count):
            delay = 0.8 * delay + 0.2 * level + source.gauss(0, 6)
            lines.append(f"{drive},{'ab'[source.random() < 0.3]},{sent:.0f},{sent + delay:.3f},{delay:.4f}")
            sent += source.choice([20, 40, 200])
    source.shuffle(lines)
    path = pathlib.Path(path)
    path.write_text("\n".join(["drive,cell,sent,back,delay", *lines]) + "\n", encoding="utf-8")
    return path


def write_text(path, words, seed):
    """Words that follow one another by rule: what comes next can be learned."""
    source = random.Random(seed)
    vocabulary = ["cell", "beam", "slot", "ré"]
    path = pathlib.Path(path)
    path.write_text(" ".join(source.choice(vocabulary) for _ in range(words)), encoding="utf-8")
    return path


def write_latin1(path):
    path = pathlib.Path(path)
    path.write_bytes(("plain text " * 100 + "r\u00e9seau").encode("latin-1"))
    return path
