"""Rows of a table: from raw values to what the network reads, and from what it gives to the unit of the target."""
import math

import numpy
from onnx import TensorProto

from muster_onnx.weights import WeightsError, is_whole


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def are_texts(values):
    return isinstance(values, list) and all(isinstance(each, str) for each in values)


def checked_input(each):
    """An entry of `inputs` whose members have the types that they should have."""
    good = isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("missing_flag"), bool)
    if good and each.get("kind") == "number":
        clip = each.get("clip", [0.0, 1.0])
        good = (all(is_number(each.get(key)) for key in ("fill", "mean", "scale")) and isinstance(each.get("log", False), bool)
                and isinstance(clip, list) and len(clip) == 2 and all(is_number(limit) for limit in clip))
    elif good and each.get("kind") == "date":
        pass
    elif good and each.get("kind") == "category":
        categories = each.get("categories")
        good = (are_texts(categories) and "" not in categories and len(set(categories)) == len(categories)
                and isinstance(each.get("bucket", False), bool))
    else:
        good = False
    if not good:
        raise WeightsError(f"preprocessing: the input {each!r:.100} is malformed")
    return each


def checked_target(preprocessing):
    target = preprocessing.get("target")
    if not (isinstance(target, dict) and isinstance(target.get("name"), str) and are_texts(target.get("categories"))
            and is_number(target.get("mean")) and is_number(target.get("scale"))):
        raise WeightsError("preprocessing: the target is malformed")
    return target


def checked_windows(preprocessing):
    """The windows of a forecast; of other tables each row is one."""
    windows = preprocessing.get("windows", {"length": 1, "horizon": 0, "time": "", "series": ""})
    if not (isinstance(windows, dict) and all(is_whole(windows.get(key)) for key in ("length", "horizon"))
            and windows["length"] > 0 and are_texts([windows.get("time"), windows.get("series")])):
        raise WeightsError("preprocessing: the windows are malformed")
    return windows


class Table:
    """What preprocessing says of a table."""

    def __init__(self, preprocessing):
        inputs = preprocessing.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise WeightsError("preprocessing: there are no inputs")
        self.inputs = [checked_input(each) for each in inputs]
        # A date is a number of seconds, which stands for itself until its waves are made of it.
        as_number = {"fill": 0.0, "mean": 0.0, "scale": 1.0}
        self.numbers = [{**as_number, **each} for each in self.inputs if each["kind"] in ("number", "date")]
        self.categories = [each for each in self.inputs if each["kind"] == "category"]
        self.target = checked_target(preprocessing)
        self.windows = checked_windows(preprocessing)

    def facts(self):
        """What a user of the ONNX file must know, as its metadata."""
        facts = {"number_names": [each["name"] for each in self.numbers],
                 "date_names": [each["name"] for each in self.numbers if each["kind"] == "date"],
                 "category_names": [each["name"] for each in self.categories],
                 "target_name": self.target["name"], "target_categories": self.target["categories"]}
        return {**facts, "windows": self.windows} if self.windows["length"] > 1 else facts

    def encode(self, graph):
        """Adds the inputs `numbers` and `categories` and gives the encoded rows, float32."""
        pieces, columns = [], []  # columns[i]: (input, place within it) of column i of all pieces
        if self.numbers:
            self._encode_numbers(graph, pieces, columns)
        if self.categories:
            texts = graph.input("categories", TensorProto.STRING, ["rows", len(self.categories)])
            for place, each in enumerate(self.categories):
                self._encode_category(graph, graph.add("Gather", texts, graph.constant(place), axis=1), each, pieces, columns)
        if not columns:
            raise WeightsError("preprocessing: an encoded row has no columns")
        row = graph.add("Concat", *pieces, axis=1) if len(pieces) > 1 else pieces[0]
        order = {each["name"]: i for i, each in enumerate(self.inputs)}
        if len(order) != len(self.inputs):
            raise WeightsError("preprocessing: two inputs have one name")
        wanted = sorted(range(len(columns)), key=lambda i: (order[columns[i][0]], columns[i][1]))
        if wanted != list(range(len(columns))):
            row = graph.add("Gather", row, graph.constant(wanted), axis=1)
        return row, len(columns)

    @staticmethod
    def _encode_category(graph, text, each, pieces, columns):
        """Missing is the text "": one more category where training saw it, else no known one."""
        known, bucket = len(each["categories"]), each.get("bucket", False)
        names = each["categories"] + ([""] if each["missing_flag"] or bucket else [])
        if not names:
            return
        found = graph.add("OneHotEncoder", text, domain="ai.onnx.ml", cats_strings=names, zeros=1)
        if bucket:  # all that is none of these
            some = graph.add("MatMul", found, graph.constant([[1.0]] * len(names), numpy.float32))
            pieces.append(graph.add("Sub", graph.constant(1.0, numpy.float32), some))
            columns.append((each["name"], known))
        kept = list(range(known)) + ([known] if each["missing_flag"] else [])
        if kept and len(kept) < len(names):
            found = graph.add("Gather", found, graph.constant(kept), axis=1)
        if kept:
            pieces.append(found)
            columns += [(each["name"], i if i < known else known + 1) for i in kept]  # the flag is behind the bucket

    def _transformed(self, graph, numbers):
        """Numbers within their limits, of some the logarithm: sign(x) ln(1 + |x|)."""
        limits = [each.get("clip", [-math.inf, math.inf]) for each in self.numbers]
        if any(math.isfinite(low) for low, _ in limits):
            numbers = graph.add("Max", numbers, graph.constant([low for low, _ in limits], numpy.float64))
            numbers = graph.add("Min", numbers, graph.constant([high for _, high in limits], numpy.float64))
        if any(each.get("log") for each in self.numbers):
            one = graph.constant(1.0, numpy.float64)
            logarithm = graph.add("Mul", graph.add("Sign", numbers),
                                  graph.add("Log", graph.add("Add", one, graph.add("Abs", numbers))))
            chosen = graph.constant([bool(each.get("log")) for each in self.numbers], numpy.bool_)
            numbers = graph.add("Where", chosen, logarithm, numbers)
        return numbers

    def _encode_numbers(self, graph, pieces, columns):
        numbers = graph.input("numbers", TensorProto.DOUBLE, ["rows", len(self.numbers)])
        fill, mean, scale = (graph.constant([each[key] for each in self.numbers], numpy.float64)
                             for key in ("fill", "mean", "scale"))
        missing = graph.add("IsNaN", numbers)
        known = self._transformed(graph, numbers)
        values = graph.add("Div", graph.add("Sub", graph.add("Where", missing, fill, known), mean), scale)
        plain = [i for i, each in enumerate(self.numbers) if each["kind"] == "number"]
        if plain:
            pieces.append(graph.cast(graph.add("Gather", values, graph.constant(plain), axis=1), TensorProto.FLOAT))
            columns += [(self.numbers[i]["name"], 0) for i in plain]
        for i in (i for i, each in enumerate(self.numbers) if each["kind"] == "date"):
            pieces += self._waves(graph, graph.add("Gather", numbers, graph.constant([i]), axis=1))
            columns += [(self.numbers[i]["name"], wave) for wave in range(4)]
        flagged = [i for i, each in enumerate(self.numbers) if each["missing_flag"]]
        if flagged:
            flags = graph.add("Gather", graph.cast(missing, TensorProto.FLOAT), graph.constant(flagged), axis=1)
            pieces.append(flags)
            columns += [(self.numbers[i]["name"], 4) for i in flagged]  # behind all else of the input

    @staticmethod
    def _waves(graph, seconds):
        """Sine and cosine of the part of the day and of the week, [rows, 1] each; 0 where there is no date."""
        missing, nothing = graph.add("IsNaN", seconds), graph.constant(0.0, numpy.float64)
        waves = []
        for period in (86_400.0, 604_800.0):
            turns = graph.add("Div", seconds, graph.constant(period, numpy.float64))
            part = graph.add("Sub", turns, graph.add("Floor", turns))
            for shift in (0.0, 0.25):  # a cosine is a sine a quarter later
                later = graph.add("Add", part, graph.constant(shift, numpy.float64))
                sine = graph.add("Sin", graph.add("Mul", later, graph.constant(2 * math.pi, numpy.float64)))
                waves.append(graph.cast(graph.add("Where", missing, nothing, sine), TensorProto.FLOAT))
        return waves

    def finish(self, graph, outputs, count, task):
        """From the network's outputs, float64, to what the archive answers."""
        if task == "regression":
            scale, mean = (graph.constant(self.target[key], numpy.float64) for key in ("scale", "mean"))
            return graph.add("Add", graph.add("Mul", outputs, scale), mean)
        return graph.add("Sigmoid", outputs) if count == 1 else graph.add("Softmax", outputs, axis=1)
