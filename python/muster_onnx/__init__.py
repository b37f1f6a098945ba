"""Makes an ONNX model of the weights that `muster model export --format safetensors` writes.

    python3 python/muster_onnx model.safetensors model.onnx      (what `muster model export --format onnx` runs)

The network is built anew from the names of the weights and the metadata; no program of the archive's is run. What is
inside the file: docs/export.md.
"""
