"""Writes models as ONNX files, for ONNX Runtime, OpenVINO, TensorRT and phones.

fcn_jax.export_onnx(model, "model.onnx")                          # images of any size, batches of any length
fcn_jax.export_int8_onnx(model, "small.onnx", ["a.jpg", "b.jpg"]) # 8-bit, calibrated on pictures

The graph is written from the model's modules, one small function for each kind of layer: so batch, height and
width stay dynamic, every layer keeps its name, and the graph holds the operators that runtimes optimize.
jax2onnx, which converts a traced program, was weighed: it works at fixed sizes, needs ResNet's pooling
rewritten, and brings a dozen packages.

Needs `pip install 'fcn_jax[onnx]'`.
"""

from fcn_jax.onnx_export.errors import OnnxError
from fcn_jax.onnx_export.export import export_onnx
from fcn_jax.onnx_export.int8 import export_int8_onnx

__all__ = ["OnnxError", "export_int8_onnx", "export_onnx"]
