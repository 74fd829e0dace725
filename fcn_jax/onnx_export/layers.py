"""Writes single layers: each function takes a map, appends operators, and returns the next map.

Paths are those of the model's layers, such as "backbone.layer1.0.conv2". An operator whose settings would
compute something else than the layer is an error.
"""

from typing import Any

import jax
import numpy as np
from flax import nnx

from fcn_jax.algorithms.gradients import (
    convolve_by_product_both_ways,
    convolve_by_rows_both_ways,
    convolve_by_winograd_both_ways,
    convolve_with_kernel_bands,
)
from fcn_jax.algorithms.layers import convolve_by_product, convolve_by_rows
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.grid import Grid
from fcn_jax.models.pooling import local_response_norm
from fcn_jax.onnx_export.errors import OnnxError
from fcn_jax.onnx_export.graph import Graph, Map

PLAIN_CONVOLUTIONS = (
    jax.lax.conv_general_dilated,
    convolve_by_product,
    convolve_by_product_both_ways,
    convolve_by_rows,
    convolve_by_rows_both_ways,
    convolve_by_winograd_both_ways,
    convolve_with_kernel_bands,
)
"""The functions that compute the same convolution from the same kernel."""


def conv(graph: Graph, path: str, layer: nnx.Conv, x: Map) -> Map:
    """Writes a square convolution, grouped or not, that pads all sides alike."""
    kernel, stride, padding, dilation = square_geometry(path, layer)
    inputs = [x.name, graph.constant(f"{path}.kernel", values(layer.kernel).transpose(3, 2, 0, 1))]
    if layer.bias is not None:
        inputs.append(graph.constant(f"{path}.bias", values(layer.bias)))
    name = graph.add(
        "Conv",
        path,
        *inputs,
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[padding] * 4,
        dilations=[dilation] * 2,
        group=layer.feature_group_count,
    )
    return Map(name, x.grid.conv(kernel, stride, padding, dilation))


def deconv(graph: Graph, path: str, layer: Deconvolution, x: Map) -> Map:
    """Writes a transposed convolution; one that leaves the channels apart, like bilinear ones, as grouped."""
    kernel = values(layer.kernel)  # (k, k, out, in)
    side, channels = kernel.shape[0], kernel.shape[3]
    alone = np.eye(channels, dtype=bool)
    apart = kernel.shape[2] == channels and not kernel[:, :, ~alone].any()
    kernel = kernel[:, :, alone][..., None, :] if apart else kernel
    name = graph.add(
        "ConvTranspose",
        path,
        x.name,
        graph.constant(f"{path}.kernel", kernel.transpose(3, 2, 0, 1)),
        kernel_shape=list(kernel.shape[:2]),
        strides=[layer.stride] * 2,
        group=channels if apart else 1,
    )
    return Map(name, x.grid.deconv(side, layer.stride))


def relu(graph: Graph, path: str, x: Map) -> Map:
    """Writes a ReLU."""
    return Map(graph.add("Relu", path, x.name), x.grid)


def max_pool(
    graph: Graph, path: str, x: Map, window: int, stride: int, *, padding: int = 0, round_up: bool = False
) -> Map:
    """Writes a pooling; if it rounds sizes up, the last window may reach beyond the end."""
    name = graph.add(
        "MaxPool",
        path,
        x.name,
        kernel_shape=[window] * 2,
        strides=[stride] * 2,
        pads=[padding] * 4,
        ceil_mode=int(round_up),
    )
    return Map(name, x.grid.conv(window, stride, padding))


def response_norm(graph: Graph, path: str, x: Map) -> Map:
    """Writes `local_response_norm` with its default settings."""
    settings: dict[str, Any] = {**(local_response_norm.__kwdefaults__ or {})}
    settings["bias"] = settings.pop("k")  # ONNX divides alpha by the size, too
    return Map(graph.add("LRN", path, x.name, **settings), x.grid)


def add(graph: Graph, path: str, x: Map, other: Map) -> Map:
    """Writes a sum of two maps."""
    return Map(graph.add("Add", path, x.name, other.name), x.grid)


def scale(graph: Graph, path: str, x: Map, factor: float) -> Map:
    """Writes a product with a number; nothing for 1."""
    if factor == 1:
        return x
    return Map(graph.add("Mul", path, x.name, graph.constant(f"{path}.scale", factor)), x.grid)


def size_of(graph: Graph, path: str, x: Map) -> str:
    """Writes the size of a map: the name of a tensor [h, w]."""
    return graph.add("Shape", path, x.name, start=2, end=4)


def crop(graph: Graph, path: str, x: Map, grid: Grid, size: str) -> Map:
    """Writes a crop from index 0 of another grid on.

    Args:
      grid: has the stride of the map.
      size: the name of a tensor [H, W].
    """
    offset = x.grid.index_of(grid)
    first = graph.constant(f"{path}.offset", [offset] * 2, np.int64)
    axes = graph.constant(f"{path}.axes", [2, 3], np.int64)
    beyond = graph.add("Add", path, size, first)
    return Map(graph.add("Slice", path, x.name, first, beyond, axes), grid)


def resize(graph: Graph, path: str, x: Map, size: str, *, align_corners: bool = False) -> Map:
    """Writes a bilinear resize without antialiasing, as `torch.nn.functional.interpolate`.

    Args:
      size: the name of a tensor [H, W].
    """
    shape = graph.add("Concat", path, graph.add("Shape", path, x.name, end=2), size, axis=0)
    name = graph.add(
        "Resize",
        path,
        x.name,
        "",
        "",
        shape,
        mode="linear",
        coordinate_transformation_mode="align_corners" if align_corners else "half_pixel",
    )
    return Map(name)


def values(variable: nnx.Variable) -> np.ndarray:
    """Returns a variable's values, float32."""
    return np.asarray(variable[...], np.float32)


def square_geometry(path: str, layer: nnx.Conv) -> tuple[int, int, int, int]:
    """Returns kernel side, stride, padding and dilation of a convolution.

    Raises:
      OnnxError: it is not square, pads sides differently, or has a setting that ONNX does not.
    """
    sides, made = tuple(layer.kernel_size), vars(layer)
    stride, dilation = (_one(made[name]) for name in ("strides", "kernel_dilation"))
    padding = made["padding"]
    if padding == "SAME" and stride == 1 and dilation is not None and sides[0] % 2:
        padding = dilation * (sides[0] - 1) // 2
    padding = 0 if padding == "VALID" else _one(padding)
    odd = {
        "kernel_size": len(sides) == 2 and len(set(sides)) == 1,
        "strides": stride is not None,
        "kernel_dilation": dilation is not None,
        "padding": padding is not None,
        "input_dilation": _one(made["input_dilation"]) == 1,
        "mask": layer.mask is None,
        "conv_general_dilated": layer.conv_general_dilated in PLAIN_CONVOLUTIONS,
    }
    for name, fits in odd.items():
        if not fits:
            raise OnnxError(
                subject=path,
                expected="a square convolution that pads all sides alike by a fixed number of pixels",
                got=f"one with {name}={made[name]!r}",
            )
    assert stride is not None, "checked above"
    assert dilation is not None, "checked above"
    assert padding is not None, "checked above"
    return sides[0], stride, padding, dilation


def _one(setting: Any) -> int | None:
    """Returns the number that a setting has along all axes and sides; None if there are several."""
    numbers = set(jax.tree.leaves(setting)) or {1}  # None is 1
    return numbers.pop() if len(numbers) == 1 and all(isinstance(each, int) for each in numbers) else None
