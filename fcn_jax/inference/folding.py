"""Batch normalization folded into the convolutions before it: a scale and a shift that never change again."""

import jax
import numpy as np
from flax import nnx

from fcn_jax.models.heads import FCNHead
from fcn_jax.models.layers import BatchNorm
from fcn_jax.models.resnet import Bottleneck, Downsample, ResNet


class Identity(nnx.Module):
    """Gives back what it gets."""

    def __call__(self, x):
        return x


def fold_batch_norms(model: nnx.Module) -> None:
    """Folds every batch norm of a model, in evaluation mode, into its convolution; in float64.

    A batch norm `bn`, `bn1`, ... follows the convolution `conv`, `conv1`, ... of the same module: the naming
    of torchvision's ResNet and FCNHead. Those of modules of another make stay.
    """
    for _, module in list(nnx.iter_modules(model)):
        if not isinstance(module, ResNet | Bottleneck | Downsample | FCNHead):
            continue
        pairs = [(name, norm) for name, norm in vars(module).items() if isinstance(norm, BatchNorm)]
        for name, norm in pairs:
            _fold(getattr(module, name.replace("bn", "conv")), norm)
            setattr(module, name, Identity())


def _fold(conv: nnx.Conv, norm: BatchNorm) -> None:
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
