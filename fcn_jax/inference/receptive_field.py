"""What part of an image each of the coarse logits depends on, found out from the network itself.

A copy of the network with one channel, and kernels of one positive value, lets nothing cancel: where a single
bright pixel leaves a trace, there is a dependence, and elsewhere there is none. So paddings, strides,
dilations, pools and skips are what they are in the layers, and nothing is written down twice.
"""

import dataclasses
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.inference.folding import drop_what_only_training_needs, take_batch_norms
from fcn_jax.models.arrays import Structure
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.model import SegmentationModel

MOST = 64
"""No network here repeats itself in steps longer than this."""


class ReceptiveField(NamedTuple):
    """Row t of the coarse logits depends on pixels stride * t + low to stride * t + high at most.

    Columns depend on pixels alike.

    Attributes:
      stride: pixels from one row to the next.
      low: below 0 for what lies before.
      high: likewise at the other end, included.
      alignment: moved by a multiple of this, an image gives the same coarse logits, moved.
    """

    stride: int
    low: int
    high: int
    alignment: int


class Probe:
    """A copy of a model with one channel, small and picklable, to measure the receptive field when asked.

    Args:
      model: a tileable one, as `prepare` takes it.
    """

    def __init__(self, model: SegmentationModel):
        probe = _single_channel(model)
        self._structure = Structure(probe)
        params, rest = self._structure.split(probe)
        self._arrays = params | rest

    @cached_property
    def field(self) -> ReceptiveField:
        """The receptive field, the same along both axes; measured once."""
        model = self._structure.merge(self._arrays)
        length = 1024
        while True:
            traces = _traces(model, length)
            if traces is not None:
                return _read(*traces)
            length *= 2


def _single_channel(model: SegmentationModel) -> SegmentationModel:
    model = nnx.merge(*nnx.split(model))
    model.eval()
    model.drop_aux()
    drop_what_only_training_needs(model)
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
    return model


def _traces(model: SegmentationModel, length: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Gives (pixels, t) for a bright pixel at each of these pixels; None if some reach the image's ends."""

    def coarse(images: jax.Array) -> jax.Array:
        return jax.tree.leaves(model.coarse_logits(images)["out"])[0]

    def count(length: int) -> int:
        return jax.eval_shape(coarse, jax.ShapeDtypeStruct((1, length, 1, 1), jnp.float32)).shape[1]

    stride = 16 * MOST // (count(length + 16 * MOST) - count(length))
    pixels = length // 2 + np.arange(2 * MOST)
    images = np.zeros((len(pixels), length, 1, 1), np.float32)
    images[np.arange(len(pixels)), pixels] = 1
    values = np.asarray(jax.jit(coarse)(images)).max((2, 3))
    touched = np.flatnonzero(values.any(0))
    if touched[0] == 0 or touched[-1] == values.shape[1] - 1:
        return None
    return pixels, values, stride


def _read(pixels: np.ndarray, values: np.ndarray, stride: int) -> ReceptiveField:
    pixel, row = np.nonzero(values)
    distance = pixels[pixel] - stride * row
    alignment = stride
    while not np.allclose(
        values[:MOST, : values.shape[1] - alignment // stride],
        values[alignment : alignment + MOST, alignment // stride :],
        rtol=1e-4,
        atol=0,
    ):
        alignment *= 2
        if alignment > MOST:
            raise ValueError(f"expected a network that repeats itself every {MOST} pixels or less")
    return ReceptiveField(stride, int(distance.min()), int(distance.max()), alignment)
