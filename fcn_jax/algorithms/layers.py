"""Layers computed another way: the same function, rounded differently. `choice` says which is used where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.algorithms.dilation import join, separate
from fcn_jax.algorithms.winograd import transform_kernel, winograd_conv
from fcn_jax.models.pooling import padded_max_pool


def convolve_by_product(x, kernel, strides, padding, *, precision, **settings) -> jax.Array:
    """Convolves by a 1x1 kernel, unpadded, as one matrix product."""
    return jnp.matmul(x[:, :: strides[0], :: strides[1]], kernel[0, 0], precision=precision)


def convolve_by_rows(x, kernel, strides, padding, *, precision, **settings) -> jax.Array:
    """Convolves, unpadded and at stride 1, by a matrix product for each row of the kernel."""
    height, width, channels, features = kernel.shape
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    x = jnp.concatenate([x[:, :, i : i + columns] for i in range(width)], axis=-1)
    kernel = kernel.reshape(height, width * channels, features)
    products = (jnp.matmul(x[:, i : i + rows], kernel[i], precision=precision) for i in range(height))
    return functools.reduce(jnp.add, products)


def convolve_by_winograd(x, kernel, strides, padding, *, rhs_dilation, **settings) -> jax.Array:
    """Convolves at stride 1 and to the same size by a 3x3 kernel, given as `transform_kernel` makes it."""
    dilation = rhs_dilation[0]
    height, width = x.shape[1:3]
    if dilation == 1:
        return winograd_conv(x, kernel)
    x = separate(separate(x, dilation, 1), dilation, 2)
    y = winograd_conv(x, kernel)
    return join(join(y, dilation, 1, height), dilation, 2, width)


def use_winograd(conv: nnx.Conv) -> None:
    """Has a 3x3 convolution computed by Winograd's algorithm, its kernel transformed once."""
    conv.kernel = nnx.Param(jax.device_put(transform_kernel(np.asarray(conv.kernel[...]))))
    conv.conv_general_dilated = convolve_by_winograd


def add_rectified_once(x: jax.Array, shortcut: jax.Array) -> jax.Array:
    """Computes relu(x + shortcut), of finite numbers to the bit, in a form that XLA computes once.

    XLA's CPU compiler repeats a final relu, an operation on one array, for each of its readers. A block's
    readers are the next block's convolution and its sum; the readers of that sum repeat both, and so on to
    the last block.
    """
    return jnp.maximum(x, -shortcut) + shortcut


class SeparateMaxPool(nnx.Module):
    """`MaxPool`, one direction after the other."""

    def __call__(self, x: jax.Array) -> jax.Array:
        x = padded_max_pool(x, (1, 3), (1, 2), ((0, 0), (1, 1)))
        return padded_max_pool(x, (3, 1), (2, 1), ((1, 1), (0, 0)))
