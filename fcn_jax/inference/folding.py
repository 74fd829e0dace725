"""Removes layers that inference does not need.

A batch norm is folded into the convolution before it, since in inference it is a constant scale and shift.
"""

from collections.abc import Iterator

import jax
import numpy as np
from flax import nnx

from fcn_jax.models.layers import BatchNorm, Normalized


class Identity(nnx.Module):
    """Returns its input."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def fold_batch_norms(model: nnx.Module) -> None:
    """Folds batch norms into their convolutions, computing in float64; the model is in evaluation mode.

    Only batch norms that a `Normalized` module declares are folded; other modules stay as they are.
    """
    for conv, norm in take_batch_norms(model):
        _fold(conv, norm)


def take_batch_norms(model: nnx.Module) -> Iterator[tuple[nnx.Conv, BatchNorm]]:
    """Removes the batch norms of a model one by one, and yields each with the convolution before it."""
    for _, module in list(nnx.iter_modules(model)):
        if isinstance(module, Normalized):
            for name, conv in module.batch_norms.items():
                norm = getattr(module, name)
                if norm is not None:  # a ResNet with a deep stem has none of its own
                    setattr(module, name, Identity())
                    yield getattr(module, conv), norm


def drop_dropouts_and_initializers(model: nnx.Module) -> None:
    """Removes dropouts, which hold random streams, and initializers, which cannot be pickled."""
    for _, module in list(nnx.iter_modules(model)):
        for name, value in list(vars(module).items()):
            if isinstance(value, nnx.Dropout):
                setattr(module, name, Identity())
            elif name.endswith("_init"):
                setattr(module, name, None)


def _fold(conv: nnx.Conv, norm: BatchNorm) -> None:
    assert norm.scale is not None, "our BatchNorm always has scale and bias"
    assert norm.bias is not None, "our BatchNorm always has scale and bias"
    mean, var, gamma, beta = (
        np.asarray(value[...], np.float64) for value in (norm.mean, norm.var, norm.scale, norm.bias)
    )
    scale = gamma / np.sqrt(var + norm.epsilon)
    kernel = np.asarray(conv.kernel[...], np.float64)
    bias = 0.0 if conv.bias is None else np.asarray(conv.bias[...], np.float64)
    dtype = conv.kernel.dtype
    conv.kernel = nnx.Param(jax.device_put((kernel * scale).astype(dtype)))
    conv.bias = nnx.Param(jax.device_put(((bias - mean) * scale + beta).astype(dtype)))
    conv.use_bias = True
