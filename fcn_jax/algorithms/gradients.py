"""Layers whose gradients are computed in other ways than XLA's: the same functions, rounded differently.

The gradient of a kernel is a product: patches, the taps of every pixel side by side, by the gradient of the
output. All patches together would be nine times the map, so they are made one band of rows at a time, and a
band fits into a CPU's cache.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fcn_jax.algorithms.layers import (
    add_rectified_once,
    convolve_by_product,
    convolve_by_rows,
    convolve_by_winograd,
)
from fcn_jax.algorithms.winograd import transform_trained_kernel
from fcn_jax.models.pooling import max_pool

FEW = 512
"""Up to so many pixels of a batch Winograd's transformed kernels cost more than they save."""
LARGE = 1024
"""Fewest pixels of a batch for which bands are faster."""
BAND = 2**23
"""Bytes of the patches of a band; more if the kernel is larger, because each band adds to all of it."""


def convolve_with_kernel_bands(
    x: jax.Array,
    kernel: jax.Array,
    strides: Any,
    padding: Any,
    *,
    rhs_dilation: Any,
    precision: Any,
    **settings: Any,
) -> jax.Array:
    """Computes a convolution of stride 1; on large maps the kernel's gradient band by band."""
    convolve = _convolve if x.shape[0] * x.shape[1] * x.shape[2] >= LARGE else _direct
    return convolve(x, kernel, tuple(padding), tuple(rhs_dilation), precision)


def convolve_by_winograd_both_ways(
    x: jax.Array,
    kernel: jax.Array,
    strides: Any,
    padding: Any,
    *,
    rhs_dilation: Any,
    precision: Any,
    **settings: Any,
) -> jax.Array:
    """Computes a 3x3 convolution of stride 1 to the same size; on all but small maps Winograd's way.

    Both gradients are the transposes of its linear steps, with the same savings.
    """
    if x.shape[0] * x.shape[1] * x.shape[2] <= FEW:
        return _direct(x, kernel, tuple(padding), tuple(rhs_dilation), precision)
    return convolve_by_winograd(
        x, transform_trained_kernel(kernel), strides, padding, rhs_dilation=rhs_dilation
    )


def convolve_by_rows_both_ways(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, *, precision: Any, **settings: Any
) -> jax.Array:
    """Computes `convolve_by_rows`, and both gradients as products."""
    return _convolve_by_rows(x, kernel, precision)


def convolve_by_product_both_ways(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, *, precision: Any, **settings: Any
) -> jax.Array:
    """Computes `convolve_by_product`; XLA computes what leads to its gradients once for both."""
    return _product(x[:, :: strides[0], :: strides[1]], kernel, precision)


def add_rectified_once_both_ways(x: jax.Array, shortcut: jax.Array) -> jax.Array:
    """Computes `add_rectified_once`, with the gradient of relu(x + shortcut)."""
    return _add(x, shortcut)


def pool_by_comparison(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Computes `max_pool` of windows of 2x2, stride 2; a window's gradient goes to the first maximum."""
    assert (window, stride) == (2, 2), "chosen for VGG16 alone"
    return _halve(x, x.shape[1:3])


def _direct(x: jax.Array, kernel: jax.Array, padding: tuple, dilation: tuple, precision: Any) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, rhs_dilation=dilation, dimension_numbers=numbers, precision=precision
    )


_convolve = jax.custom_vjp(_direct, nondiff_argnums=(2, 3, 4))


def _convolve_forward(x, kernel, padding, dilation, precision):
    return _direct(x, kernel, padding, dilation, precision), (x, kernel)


def _convolve_backward(padding, dilation, precision, inputs, upstream):
    x, kernel = inputs
    transposed = jax.linear_transpose(lambda x: _direct(x, kernel, padding, dilation, precision), x)
    padded = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    return *transposed(upstream), kernel_gradient(padded, upstream, kernel.shape[:2], dilation, precision)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def kernel_gradient(
    x: jax.Array, upstream: jax.Array, size: tuple[int, int], dilation: tuple[int, int], precision: Any
) -> jax.Array:
    """Computes the gradient of the kernel of an unpadded convolution of stride 1.

    Args:
      x: (N, h + dilation * (H - 1), w + dilation * (W - 1), in), the input.
      upstream: (N, h, w, out), the gradient of the output.
      size: (H, W) of the kernel.
      dilation: of rows and of columns.
      precision: of the products.

    Returns:
      (H, W, in, out).
    """
    batch, height, width, features = upstream.shape
    taps = [(i * dilation[0], j * dilation[1]) for i in range(size[0]) for j in range(size[1])]
    patch = len(taps) * x.shape[-1] * x.dtype.itemsize  # bytes
    fitting = max(BAND, patch * features) // (batch * width * patch)
    count = -(-height // max(1, fitting))
    rows = -(-height // count)
    below = [(0, 0), (0, rows * count - height), (0, 0), (0, 0)]
    x, upstream = jnp.pad(x, below), jnp.pad(upstream, below)  # zeros add nothing

    def product(index: int | jax.Array) -> jax.Array:
        lines = jax.lax.dynamic_slice_in_dim(x, index * rows, rows + taps[-1][0], 1)
        patches = jnp.concatenate([lines[:, i : i + rows, j : j + width] for i, j in taps], -1)
        part = jax.lax.dynamic_slice_in_dim(upstream, index * rows, rows, 1)
        return jnp.tensordot(patches, part, ((0, 1, 2), (0, 1, 2)), precision=precision)

    total = jax.lax.fori_loop(1, count, lambda index, total: total + product(index), product(0))
    return total.reshape(*size, -1, features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    return convolve_by_product(x, kernel, (1, 1), None, precision=precision)


def _product_forward(x, kernel, precision):
    return _product(x, kernel, precision), (x, kernel)


def _product_backward(precision, inputs, upstream):
    x, kernel = inputs
    pixels = (0, 1, 2)
    of_kernel = jnp.tensordot(x, upstream, (pixels, pixels), precision=precision)
    return jnp.matmul(upstream, kernel[0, 0].T, precision=precision), of_kernel[None, None]


_product.defvjp(_product_forward, _product_backward)


_add = jax.custom_vjp(add_rectified_once)


def _add_forward(x, shortcut):
    result = add_rectified_once(x, shortcut)
    return result, result > 0


def _add_backward(positive, upstream):
    gradient = jnp.where(positive, upstream, 0)
    return gradient, gradient


_add.defvjp(_add_forward, _add_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_by_rows(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    return convolve_by_rows(x, kernel, (1, 1), None, precision=precision)


def _rows_forward(x, kernel, precision):
    return _convolve_by_rows(x, kernel, precision), (x, kernel)


def _rows_backward(precision, inputs, upstream):
    x, kernel = inputs
    high, wide = kernel.shape[:2]
    products = jnp.tensordot(kernel, upstream, ((3,), (3,)), precision=precision)  # (H, W, in, N, h, w)
    shifted = [
        jnp.pad(products[i, j], [(0, 0), (0, 0), (i, high - 1 - i), (j, wide - 1 - j)])
        for i in range(high)
        for j in range(wide)
    ]
    gradient = jnp.moveaxis(functools.reduce(jnp.add, shifted), 0, -1)
    return gradient, kernel_gradient(x, upstream, (high, wide), (1, 1), precision)


_convolve_by_rows.defvjp(_rows_forward, _rows_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _halve(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    return max_pool(x, 2, 2)


def _halve_forward(x, size):
    odd = [(0, length % 2) for length in size]
    x = jnp.pad(x, [(0, 0), *odd, (0, 0)], constant_values=-jnp.inf)
    values = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    largest = functools.reduce(jnp.maximum, values)
    place = jnp.full(largest.shape, 3, jnp.uint8)
    for index in (2, 1, 0):
        place = jnp.where(values[index] == largest, jnp.uint8(index), place)
    return largest, place


def _halve_backward(size, place, upstream):
    places = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    windows = jnp.where(place[:, :, None, :, None] == places, upstream[:, :, None, :, None], 0)
    batch, rows, _, columns, _, channels = windows.shape
    return (windows.reshape(batch, 2 * rows, 2 * columns, channels)[:, : size[0], : size[1]],)


_halve.defvjp(_halve_forward, _halve_backward)
