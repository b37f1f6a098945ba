"""Runs the package as a folder: python3 FOLDER/muster_onnx."""
import pathlib
import sys

if not __package__:  # then the folder itself is searched for modules, and not the one it lies in
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from muster_onnx.command import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
