"""Layers that inference does without.

A batch norm is folded into the convolution before it: it is a scale and a shift that never change again.
"""

from collections.abc import Iterator

import jax
import numpy as np
from flax import nnx

from fcn_jax.models.layers import BatchNorm, Normalized


class Identity(nnx.Module):
    """Gives back what it gets."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


def fold_batch_norms(model: nnx.Module) -> None:
    """Folds the batch norms of a model, in evaluation mode, into their convolutions; in float64.

    It folds those that a `Normalized` module declares. Those of modules of another make stay.
    """
    for conv, norm in take_batch_norms(model):
        _fold(conv, norm)


def take_batch_norms(model: nnx.Module) -> Iterator[tuple[nnx.Conv, BatchNorm]]:
    """Takes the batch norms out of a model, one after another; gives each with the convolution before it."""
    for _, module in list(nnx.iter_modules(model)):
        if isinstance(module, Normalized):
            for name, conv in module.batch_norms.items():
                norm = getattr(module, name)
                setattr(module, name, Identity())
                yield getattr(module, conv), norm


def drop_what_only_training_needs(model: nnx.Module) -> None:
    """Takes out dropouts, which hold random streams, and initializers, which cannot be pickled."""
    for _, module in list(nnx.iter_modules(model)):
        for name, value in list(vars(module).items()):
            if isinstance(value, nnx.Dropout):
                setattr(module, name, Identity())
            elif name.endswith("_init"):
                setattr(module, name, None)


def _fold(conv: nnx.Conv, norm: BatchNorm) -> None:
    assert norm.scale is not None, "BatchNorm has both"
    assert norm.bias is not None, "BatchNorm has both"
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
