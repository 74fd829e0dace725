"""The algorithms that `choice` chooses from: the same functions as the layers, rounded differently."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.algorithms.dilation import join, separate
from fcn_jax.algorithms.winograd import transform_kernel, winograd_conv
from fcn_jax.models.pooling import padded_max_pool


def convolve_by_product(x, kernel, strides, padding, *, precision, **settings) -> jax.Array:
    """Computes an unpadded 1x1 convolution as one matrix product."""
    return jnp.matmul(x[:, :: strides[0], :: strides[1]], kernel[0, 0], precision=precision)


FEW_POSITIONS = 512
"""Up to so many output pixels a convolution is one product; the copies of its inputs take 50 MB for fc6."""


def convolve_by_rows(x, kernel, strides, padding, *, precision, **settings) -> jax.Array:
    """Computes an unpadded convolution of stride 1 as one matrix product for each row of the kernel.

    With few output pixels it is one product of the whole kernel, transposed, with the inputs of each pixel.
    """
    height, width, channels, features = kernel.shape
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    if isinstance(x.shape[0], int) and x.shape[0] * rows * columns <= FEW_POSITIONS:
        taps = [x[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]
        inputs = jnp.concatenate(taps, axis=-1).reshape(-1, height * width * channels)
        contracted = (((0,), (1,)), ((), ()))
        y = jax.lax.dot_general(kernel.reshape(-1, features), inputs, contracted, precision=precision)
        return y.T.reshape(x.shape[0], rows, columns, features)
    x = jnp.concatenate([x[:, :, i : i + columns] for i in range(width)], axis=-1)
    kernel = kernel.reshape(height, width * channels, features)
    products = (jnp.matmul(x[:, i : i + rows], kernel[i], precision=precision) for i in range(height))
    return functools.reduce(jnp.add, products)


def convolve_by_winograd(x, kernel, strides, padding, *, rhs_dilation, **settings) -> jax.Array:
    """Computes a 3x3 convolution of stride 1 to the same size; the kernel comes from `transform_kernel`."""
    return _dilated_winograd(x, kernel, rhs_dilation[0])


@functools.partial(jax.jit, static_argnums=2)  # so that layers of one shape are traced once
def _dilated_winograd(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    height, width = x.shape[1:3]
    if dilation == 1:
        return winograd_conv(x, kernel)
    x = separate(separate(x, dilation, 1), dilation, 2)
    y = winograd_conv(x, kernel)
    return join(join(y, dilation, 1, height), dilation, 2, width)


def use_winograd(conv: nnx.Conv) -> None:
    """Makes a 3x3 convolution use Winograd's algorithm, and transforms its kernel."""
    conv.kernel = nnx.Param(jax.device_put(transform_kernel(np.asarray(conv.kernel[...]))))
    conv.conv_general_dilated = convolve_by_winograd


def add_rectified_once(x: jax.Array, shortcut: jax.Array) -> jax.Array:
    """Computes relu(x + shortcut) in a form that XLA computes once; finite results are equal to the bit.

    XLA's CPU compiler repeats a final relu in every operation that reads its result. The result of a block is
    read by the convolution and by the sum of the next block, whose readers repeat both, down to the last
    block.
    """
    return jnp.maximum(x, -shortcut) + shortcut


class SeparateMaxPool(nnx.Module):
    """`MaxPool` along columns, then along rows."""

    def __call__(self, x: jax.Array) -> jax.Array:
        x = padded_max_pool(x, (1, 3), (1, 2), ((0, 0), (1, 1)))
        return padded_max_pool(x, (3, 1), (2, 1), ((1, 1), (0, 0)))
