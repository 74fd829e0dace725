"""Swaps rows and columns of kernels, so that a network computes transposed images."""

import math

import jax
import numpy as np

from fcn_jax.algorithms.winograd import INPUTS


def transpose_kernel(array: jax.Array) -> jax.Array | np.ndarray:
    """Swaps rows and columns of a weight of the inference form.

    Args:
      array: a kernel (k, k, in, out), a kernel for Winograd (36, in, out), or a vector, which stays.

    Returns:
      A new array, or `array` itself where nothing changes.
    """
    if array.ndim == 3:  # Winograd's 36 values are those of 6 columns and 6 rows
        assert array.shape[0] == INPUTS**2, array.shape
        square = np.asarray(array).reshape(INPUTS, INPUTS, *array.shape[1:])
        return np.ascontiguousarray(square.swapaxes(0, 1)).reshape(array.shape)
    if array.ndim == 4 and math.prod(array.shape[:2]) > 1:
        return np.ascontiguousarray(np.asarray(array).swapaxes(0, 1))
    return array
