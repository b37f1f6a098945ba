"""Reads safetensors files that Muster wrote. They may come from anybody: nothing in one is believed."""
import dataclasses
import json
import math
import struct

import numpy

HEADER_BYTES_MAX = 100_000_000  # of the format
TYPES = {"F64": numpy.dtype("<f8"), "F32": numpy.dtype("<f4")}  # those that Muster trains in
FACTS_VERSION = "1"


class WeightsError(Exception):
    """The file is not what it should be; the text says where."""


@dataclasses.dataclass
class Weights:
    """A model's tensors and what else is known of it."""

    tensors: dict  # name: numpy array
    metadata: dict  # text: text
    settings: dict  # name: whole number
    preprocessing: dict

    @property
    def type(self):
        return next(iter(self.tensors.values())).dtype

    def take(self, name, *shape):
        """The tensor with this shape; None stands for any size."""
        if name not in self.tensors:
            raise WeightsError(f"there is no tensor {name}")
        found = self.tensors[name]
        if len(found.shape) != len(shape) or any(want not in (None, have) for want, have in zip(shape, found.shape)):
            raise WeightsError(f"the tensor {name} has the shape {list(found.shape)} and not {list(shape)}")
        return found


def once(pairs):
    """A JSON object in which each name stands once."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def parse(text, where):
    try:
        parsed = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as why:
        raise WeightsError(f"{where} is no JSON: {why}") from why
    if not isinstance(parsed, dict):
        raise WeightsError(f"{where} is no JSON object")
    return parsed


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def read_tensor(name, entry, numbers):
    """(begin, end, array) of a row of the header."""
    good = (isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
            and all(isinstance(entry[key], list) and all(map(is_whole, entry[key])) for key in ("shape", "data_offsets"))
            and len(entry["data_offsets"]) == 2)
    if not good:
        raise WeightsError(f"the header's entry of {name} is malformed")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in TYPES:
        raise WeightsError(f"the tensor {name} has numbers of type {entry['dtype']}, not one of {', '.join(TYPES)}")
    begin, end = entry["data_offsets"]
    element = TYPES[entry["dtype"]]
    if not begin <= end <= len(numbers) or end - begin != math.prod(entry["shape"]) * element.itemsize:
        raise WeightsError(f"the place of the tensor {name} does not fit its shape or the file")
    return begin, end, numpy.frombuffer(numbers[begin:end], dtype=element).reshape(entry["shape"])


def read_tensors(header, numbers):
    """{name: array}; together they must cover the numbers."""
    tensors, places = {}, []
    for name, entry in header.items():
        begin, end, tensors[name] = read_tensor(name, entry, numbers)
        places.append((begin, end))
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise WeightsError("the tensors leave a gap between them, or overlap")
        reached = end
    if reached != len(numbers):
        raise WeightsError("the file is longer than its tensors")
    if not tensors or len({tensor.dtype for tensor in tensors.values()}) != 1:
        raise WeightsError("there are no tensors, or of more than one type of number")
    return tensors


def split(content):
    """(header, numbers) of a file."""
    if len(content) < 8:
        raise WeightsError("the file is shorter than a header's length")
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(HEADER_BYTES_MAX, len(content) - 8):
        raise WeightsError("the file is shorter than its header, or it is no safetensors file")
    try:
        text = content[8:8 + length].decode("utf-8")
    except UnicodeDecodeError as why:
        raise WeightsError(f"the header is not UTF-8: {why}") from why
    return parse(text, "the header"), memoryview(content)[8 + length:]


def read_weights(path):
    """Reads a file that `muster model export --format safetensors` wrote. Raises WeightsError, OSError."""
    header, numbers = split(path.read_bytes())
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError("the file has no metadata")
    if metadata.get("muster") != FACTS_VERSION:
        raise WeightsError(f"the metadata are not of Muster, or of another version (muster: {metadata.get('muster')})")
    missing = {"recipe", "task", "family", "settings", "preprocessing"} - metadata.keys()
    if missing:
        raise WeightsError(f"the metadata lack {', '.join(sorted(missing))}")
    return Weights(read_tensors(header, numbers), metadata, parse(metadata["settings"], "settings"),
                   parse(metadata["preprocessing"], "preprocessing"))
