"""Which algorithm computes a layer. It changes rounding, never the function.

On a CPU, 3x3 convolutions of stride 1 with 256 input channels or more go by Winograd's algorithm, dilated
ones by phases first: with fewer channels its additions cost what its multiplications save. 1x1 convolutions
are matrix products. Unpadded larger kernels, fc6, are a matrix product for each row of the kernel, at two to
five times the rate. ResNet's pooling goes along columns, then rows, in 0.1 to 0.8 of the time. Sums of blocks
are written so that each is computed once.

On a GPU or TPU all stays with XLA, whose libraries choose their own algorithms; so do convolutions in half
precision, which these sums would not bear.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.algorithms.dilation import join, separate
from fcn_jax.algorithms.winograd import transform_kernel, winograd_conv
from fcn_jax.models.layers import convolve, multiply_pixels
from fcn_jax.models.resnet import Bottleneck, MaxPool

CHANNELS = 256


def convolve_by_winograd(x, kernel, strides, padding, *, rhs_dilation, **settings) -> jax.Array:
    """Convolves at stride 1 and to the same size by a 3x3 kernel, given as `transform_kernel` makes it."""
    dilation = rhs_dilation[0]
    height, width = x.shape[1:3]
    if dilation == 1:
        return winograd_conv(x, kernel, padding=1)
    x = separate(separate(x, dilation, 1), dilation, 2)
    y = winograd_conv(x, kernel, padding=1)
    return join(join(y, dilation, 1, height), dilation, 2, width)


def convolve_by_rows(x, kernel, strides, padding, *, precision, **settings) -> jax.Array:
    """Convolves, unpadded and at stride 1, by a matrix product for each row of the kernel."""
    height, width, channels, features = kernel.shape
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    x = jnp.concatenate([x[:, :, i : i + columns] for i in range(width)], axis=-1)
    kernel = kernel.reshape(height, width * channels, features)
    return sum(jnp.matmul(x[:, i : i + rows], kernel[i], precision=precision) for i in range(height))


def add_rectified_once(x: jax.Array, shortcut: jax.Array) -> jax.Array:
    """Computes relu(x + shortcut), of finite numbers to the bit, in a form that XLA computes once.

    What ends in relu, an operation on one array, XLA's CPU compiler computes again for each of its readers:
    here the next block's convolution and its sum, whose readers compute both again, and so on to the last.
    """
    return jnp.maximum(x, -shortcut) + shortcut


class SeparateMaxPool(nnx.Module):
    """`MaxPool`, one direction after the other."""

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(x, (1, 3), strides=(1, 2), padding=((0, 0), (1, 1)))
        return nnx.max_pool(x, (3, 1), strides=(2, 1), padding=((1, 1), (0, 0)))


def choose_algorithms(model: nnx.Module, platform: str) -> None:
    """Chooses how a model's layers are computed on "cpu", "gpu" or "tpu", whatever JAX computes on here."""
    if platform != "cpu":
        for _, layer in nnx.iter_modules(model):
            if isinstance(layer, nnx.Conv) and layer.conv_general_dilated is convolve:
                layer.conv_general_dilated = jax.lax.conv_general_dilated
        return
    for _, module in list(nnx.iter_modules(model)):
        if isinstance(module, Bottleneck):
            module.add = add_rectified_once
        for name, layer in list(vars(module).items()):
            if isinstance(layer, nnx.Conv) and _suits_winograd(layer):
                use_winograd(layer)
            elif isinstance(layer, nnx.Conv) and _suits_rows(layer):
                layer.conv_general_dilated = convolve_by_rows
            elif isinstance(layer, nnx.Conv) and _suits_product(layer):
                layer.conv_general_dilated = multiply_pixels
            elif isinstance(layer, MaxPool):
                setattr(module, name, SeparateMaxPool())


def use_winograd(conv: nnx.Conv) -> None:
    """Has a 3x3 convolution computed by Winograd's algorithm, its kernel transformed once."""
    conv.kernel = nnx.Param(jax.device_put(transform_kernel(np.asarray(conv.kernel[...]))))
    conv.conv_general_dilated = convolve_by_winograd


def _suits_winograd(conv: nnx.Conv) -> bool:
    dilation = conv.kernel_dilation
    return (
        conv.kernel.shape[:2] == (3, 3)
        and _is_plain(conv)
        and isinstance(dilation, tuple)
        and len(set(dilation)) == 1
        and conv.padding == tuple((pixels, pixels) for pixels in dilation)
        and conv.kernel.shape[2] >= CHANNELS
    )


def _suits_rows(conv: nnx.Conv) -> bool:
    return (
        min(conv.kernel.shape[:2]) > 3
        and _is_plain(conv)
        and conv.kernel_dilation in (1, (1, 1))
        and conv.padding == ((0, 0), (0, 0))
    )


def _suits_product(conv: nnx.Conv) -> bool:
    return (
        conv.kernel.shape[:2] == (1, 1)
        and conv.padding == ((0, 0), (0, 0))
        and conv.input_dilation in (1, (1, 1))
        and conv.feature_group_count == 1
    )


def _is_plain(conv: nnx.Conv) -> bool:
    return (
        conv.strides == (1, 1)
        and conv.input_dilation in (1, (1, 1))
        and conv.feature_group_count == 1
        and jnp.dtype(conv.dtype or conv.kernel.dtype).itemsize >= 4
    )
