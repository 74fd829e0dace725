"""Measures the receptive field of a network: which pixels each row of coarse logits depends on.

The probe is a copy of the network with one channel and constant positive kernels, so no values cancel. An
output that changes with a single bright pixel depends on that pixel. This takes paddings, strides, dilations,
pools and skips from the layers themselves.
"""

import dataclasses
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.inference.folding import drop_dropouts_and_initializers, take_batch_norms
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.model import SegmentationModel

MAX_ALIGNMENT = 64
"""No network here has a larger alignment, in pixels."""


class ReceptiveField(NamedTuple):
    """Row t of the coarse logits depends at most on pixel rows stride * t + low to stride * t + high.

    The same holds for columns.

    Attributes:
      stride: pixels from one row of coarse logits to the next.
      low: first pixel, usually below 0.
      high: last pixel, included.
      alignment: shifting an image by a multiple of this shifts its coarse logits and changes nothing else.
    """

    stride: int
    low: int
    high: int
    alignment: int


class Probe:
    """Measures the receptive field of a model when it is asked for; it can be pickled.

    Args:
      model: must be `tileable`. Only its layers' shapes are kept.
    """

    def __init__(self, model: SegmentationModel):
        graph, state = nnx.split(model)
        self._model = graph, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)

    def __getstate__(self) -> dict[str, Any]:
        return {"field": self.field}  # the layers hold functions that cannot be pickled

    @cached_property
    def field(self) -> ReceptiveField:
        """The receptive field, the same along both axes; measured on first use."""
        model = _single_channel(nnx.merge(*self._model))
        length = 1024
        while True:
            traces = _traces(model, length)
            if traces is not None:
                return _receptive_field(*traces)
            length *= 2


def _single_channel(model: SegmentationModel) -> SegmentationModel:
    """Makes a model of one channel, in place: all kernels are constant, biases and batch norms are gone."""
    model.eval()
    model.drop_aux()
    drop_dropouts_and_initializers(model)
    list(take_batch_norms(model))
    model.spec = dataclasses.replace(model.spec, in_channels=1)
    for _, layer in list(nnx.iter_modules(model)):
        if not isinstance(layer, nnx.Conv | Deconvolution):
            continue
        height, width = layer.kernel.shape[:2]
        layer.kernel = nnx.Param(jnp.asarray(np.full((height, width, 1, 1), 1 / height, np.float32)))
        layer.dtype = None
        if isinstance(layer, nnx.Conv):
            layer.bias = nnx.data(None)
            layer.in_features, layer.out_features, layer.use_bias = 1, 1, False
            layer.feature_group_count = 1
            layer.conv_general_dilated = _convolve_sum
    return model


def _convolve_sum(x: jax.Array, kernel: jax.Array, *arguments: Any, **settings: Any) -> jax.Array:
    """Convolves the sum of all channels: a layer that reads several maps at once reads one."""
    return jax.lax.conv_general_dilated(x.sum(-1, keepdims=True), kernel, *arguments, **settings)


def _traces(model: SegmentationModel, length: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Computes the response to one bright pixel at several places; None if it reaches the ends of the image.

    Returns:
      pixels: where the bright pixels are; responses: (len(pixels), rows of coarse logits); the stride.
    """

    def coarse(images: jax.Array) -> jax.Array:
        return jax.tree.leaves(model.coarse_logits(images)["out"])[0]

    def count(length: int) -> int:
        return jax.eval_shape(coarse, jax.ShapeDtypeStruct((1, length, 1, 1), jnp.float32)).shape[1]

    stride = 16 * MAX_ALIGNMENT // (count(length + 16 * MAX_ALIGNMENT) - count(length))
    pixels = length // 2 + np.arange(2 * MAX_ALIGNMENT)
    images = np.zeros((len(pixels), length, 1, 1), np.float32)
    images[np.arange(len(pixels)), pixels] = 1
    values = np.asarray(jax.jit(coarse)(images)).max((2, 3))
    touched = np.flatnonzero(values.any(0))
    if touched[0] == 0 or touched[-1] == values.shape[1] - 1:
        return None
    return pixels, values, stride


def _receptive_field(pixels: np.ndarray, values: np.ndarray, stride: int) -> ReceptiveField:
    pixel, row = np.nonzero(values)
    distance = pixels[pixel] - stride * row
    alignment = stride
    while not np.allclose(
        values[:MAX_ALIGNMENT, : values.shape[1] - alignment // stride],
        values[alignment : alignment + MAX_ALIGNMENT, alignment // stride :],
        rtol=1e-4,
        atol=0,
    ):
        alignment *= 2
        if alignment > MAX_ALIGNMENT:
            raise ValueError(f"expected a network with an alignment of at most {MAX_ALIGNMENT} pixels")
    return ReceptiveField(stride, int(distance.min()), int(distance.max()), alignment)
