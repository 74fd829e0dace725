"""What part of an image each score depends on, found out from the network itself.

A copy of the network with one channel, and kernels of one positive value, lets nothing cancel: where a single
bright pixel leaves a trace, there is a dependence, and elsewhere there is none. So paddings, strides,
dilations, pools and skips are what they are in the layers, and nothing is written down twice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.inference.folding import fold_batch_norms
from fcn_jax.models import FCN, SkipFCN
from fcn_jax.models.deconvolution import Deconvolution

MOST = 64
"""No network here repeats itself in steps longer than this."""


class ReceptiveField(NamedTuple):
    """Score t of an axis depends on pixels stride * t + low to stride * t + high, at most.

    Attributes:
      stride: pixels from one score to the next.
      low: below 0 for what lies before.
      high: likewise at the other end, included.
      alignment: moved by a multiple of this, an image gives the same scores, moved.
    """

    stride: int
    low: int
    high: int
    alignment: int


def receptive_field(model: FCN | SkipFCN) -> ReceptiveField:
    """Measures a model's receptive field, the same along both axes."""
    model = _single_channel(model)
    length = 1024
    while True:
        traces = _traces(model, length)
        if traces is not None:
            return _read(*traces)
        length *= 2


def _single_channel(model: nnx.Module) -> nnx.Module:
    model = nnx.merge(*nnx.split(model))
    model.eval()
    fold_batch_norms(model)
    if isinstance(model, FCN):
        model.aux_classifier = None
    reads_image = getattr(model.backbone, "conv1_1", None) or model.backbone.conv1
    for _, layer in list(nnx.iter_modules(model)):
        if not isinstance(layer, nnx.Conv | Deconvolution):
            continue
        inputs = 3 if layer is reads_image else 1
        height, width = layer.kernel.shape[:2]
        layer.kernel = nnx.Param(jnp.full((height, width, inputs, 1), 1 / height, jnp.float32))
        layer.bias = nnx.data(None)
        layer.dtype = None
        if isinstance(layer, nnx.Conv):
            layer.in_features, layer.out_features, layer.use_bias = inputs, 1, False
            layer.feature_group_count = 1
        else:
            layer.groups = 1
    return model


def _traces(model: nnx.Module, length: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Scores (pixels, t) for a bright pixel at each of these pixels; None if some reach the image's ends."""

    def scores(images):
        return jax.tree.leaves(model.coarse_logits(images)["out"])[0]

    def count(length):
        return jax.eval_shape(scores, jax.ShapeDtypeStruct((1, length, 1, 3), jnp.float32)).shape[1]

    stride = 16 * MOST // (count(length + 16 * MOST) - count(length))
    pixels = length // 2 + np.arange(2 * MOST)
    images = np.zeros((len(pixels), length, 1, 3), np.float32)
    images[np.arange(len(pixels)), pixels] = 1
    values = np.asarray(jax.jit(scores)(images)).max((2, 3))
    seen = np.flatnonzero(values.any(0))
    if seen[0] == 0 or seen[-1] == values.shape[1] - 1:
        return None
    return pixels, values, stride


def _read(pixels: np.ndarray, values: np.ndarray, stride: int) -> ReceptiveField:
    pixel, score = np.nonzero(values)
    distance = pixels[pixel] - stride * score
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
