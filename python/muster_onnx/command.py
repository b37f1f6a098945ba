"""The command: a safetensors file in, an ONNX file out, complete or not at all."""
import argparse
import os
import pathlib
import secrets
import sys

WRONG_INPUT = 4
MISSING_PACKAGE = 3  # muster model export tells it apart


def write_whole(path, content):
    """Replaces `path` in one step."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main(words):
    parser = argparse.ArgumentParser(prog="muster_onnx", description="Makes an ONNX model of a model's weights.")
    parser.add_argument("weights", type=pathlib.Path, help="what muster model export --format safetensors wrote")
    parser.add_argument("out", type=pathlib.Path, help="ONNX file to write")
    options = parser.parse_args(words)
    try:
        from muster_onnx.model import build_model
        from muster_onnx.weights import WeightsError, read_weights
    except ImportError as missing:
        requirements = pathlib.Path(__file__).with_name("requirements.txt")
        print(f"{sys.executable} has not what ONNX files are made with ({missing}); to install it:\n"
              f"  {sys.executable} -m pip install -r {requirements}", file=sys.stderr)
        return MISSING_PACKAGE
    try:
        content = build_model(read_weights(options.weights)).SerializeToString(deterministic=True)
        write_whole(options.out, content)
    except (WeightsError, OSError) as refused:
        print(refused, file=sys.stderr)
        return WRONG_INPUT
    return 0
