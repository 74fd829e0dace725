"""Some rows of the logits, from a model's scores: so that nobody need hold all of them.

The rows are those of `model.upsample`, up to rounding.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models import FCN, SkipFCN
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.layers import at_least_float32
from fcn_jax.models.upsampling import bilinear_taps

Scores = dict
"""{"out": (N, h, w, C), or a `FeatureMap` of these}, what `compute_scores` gives."""


def compute_logits(model: nnx.Module, images: jax.Array) -> dict[str, jax.Array]:
    """Computes what `model(images)` does, up to rounding."""
    if not isinstance(model, FCN):
        return model(images)
    # Rows are picked and mixed: a third of the time of matrix products, which the gradient prefers.
    scores = jax.tree.map(at_least_float32, model.coarse_logits(images))
    return {name: _bilinear_rows(x, images.shape[1:3], 0, images.shape[1]) for name, x in scores.items()}


def compute_scores(model: nnx.Module, images: jax.Array) -> Scores:
    """Computes "out" before it is upsampled; of a model of another make, its logits."""
    scores = model.coarse_logits(images) if isinstance(model, FCN | SkipFCN) else model(images)
    return {"out": jax.tree.map(at_least_float32, scores["out"])}


def upsample_rows(
    model: nnx.Module, scores: Scores, size: tuple[int, int], start: jax.Array | int, count: int
) -> jax.Array:
    """Computes rows start .. start + count - 1 of the logits.

    Args:
      model: what gave the scores.
      scores: of images of size (H, W).
      size: (H, W).
      start: from 0 to H - count.
      count: how many.

    Returns:
      (N, count, W, C), at least float32.
    """
    if isinstance(model, FCN):
        return _bilinear_rows(scores["out"], size, start, count)
    if isinstance(model, SkipFCN):
        layer = getattr(model, model.variant.last.name)
        return _transposed_rows(layer, scores["out"], size, start, count)
    return jax.lax.dynamic_slice_in_dim(scores["out"], start, count, axis=1)


def _bilinear_rows(x: jax.Array, size: tuple[int, int], start, count: int) -> jax.Array:
    for axis in (1, 2):
        low, high, weight = bilinear_taps(x.shape[axis], size[axis - 1])
        low, high, weight = jnp.asarray(low), jnp.asarray(high), jnp.asarray(weight, x.dtype)
        if axis == 1:
            low, high, weight = (
                jax.lax.dynamic_slice_in_dim(tap, start, count) for tap in (low, high, weight)
            )
        weight = weight.reshape((-1,) + (1,) * (3 - axis))
        x = jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight
    return x


def _transposed_rows(layer, scores: FeatureMap, size: tuple[int, int], start, count: int) -> jax.Array:
    kernel, stride = layer.kernel.shape[0], layer.stride
    whole = scores.grid.deconv(kernel, stride, layer.padding, layer.dilation)
    offset = whole.index_of(Grid())  # of the image in the upsampled map
    reading = (count + kernel) // stride + 2  # score rows that these rows see, and no fewer
    first = (start + offset - kernel + 1) // stride
    x = jnp.pad(scores.values, [(0, 0), (reading, reading), (0, 0), (0, 0)])  # zeros add nothing
    x = layer(jax.lax.dynamic_slice_in_dim(x, first + reading, reading, axis=1))
    x = jax.lax.dynamic_slice_in_dim(x, start + offset - first * stride, count, axis=1)
    return x[:, :, offset : offset + size[1]]
