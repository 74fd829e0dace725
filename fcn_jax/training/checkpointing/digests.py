"""A digest for every array of a tree, computed where the array lives.

Orbax does not notice a flipped bit in the numbers it reads back. So a checkpoint carries a digest of each
array: 64 bits that change with any bit, position, shape or dtype. -0.0 and 0.0 differ, and so do NaNs with
different bits.

A mixing function combines each 32-bit word of an array with its position, and the results are summed modulo
2**32; this is done with two functions. A sum of integers does not depend on the order. So the digest does not
depend on how the array is sharded over devices and hosts, and only the sums leave the device. At each
position a mixing function maps words one to one: a single changed word always changes both sums.

Source of the mixing functions: fmix32 of Appleby's MurmurHash3, and Ellis's lowbias32.
"""

import hashlib
import math
from typing import Any

import jax
import jax.numpy as jnp

from fcn_jax.training.checkpointing.array_names import named_arrays, stored_form

GOLDEN = 0x9E3779B9
FMIX32 = (16, 0x85EBCA6B, 13, 0xC2B2AE35, 16)
LOWBIAS32 = (16, 0x7FEB352D, 15, 0x846CA68B, 16)


def digests(tree: Any) -> dict[str, str]:
    """Computes the digest of each array. Every process that holds a part of one must call this.

    Args:
      tree: a pytree of jax arrays: real numbers of whole bytes, or typed random keys. Positions count modulo
        2**32 words.

    Returns:
      {name: 16 hexadecimal digits}, with the names of `named_arrays`.

    Raises:
      WrongTypeError, ArrayError: see `named_arrays`.
    """
    named = named_arrays(tree)
    sums = jax.device_get({name: _sums(stored_form(array)) for name, array in named.items()})
    return {name: _digest(array, *sums[name]) for name, array in named.items()}


def _digest(array: jax.Array, first: int, second: int) -> str:
    described = f"{array.dtype} {array.shape} {first:08x} {second:08x}"
    return hashlib.sha256(described.encode()).hexdigest()[:16]


@jax.jit
def _sums(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    words = _words(array)
    places = _mixed(_positions(words.shape) * jnp.uint32(GOLDEN) + jnp.uint32(GOLDEN), FMIX32)
    mixtures = _mixed(words ^ places, FMIX32), _mixed(words + (places << 7 | places >> 25), LOWBIAS32)
    # One reduction for both: with two, XLA keeps the mixtures in memory, twice the size of the array.
    zero = jnp.uint32(0)
    return jax.lax.reduce(
        mixtures, (zero, zero), lambda sums, more: (sums[0] + more[0], sums[1] + more[1]), range(words.ndim)
    )


def _words(array: jax.Array) -> jax.Array:
    """Returns the bits as uint32: one word for each number, or two along a further axis for 8 bytes."""
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    narrow = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[array.dtype.itemsize]
    return jax.lax.bitcast_convert_type(array, narrow).astype(jnp.uint32)


def _positions(shape: tuple[int, ...]) -> jax.Array:
    """Numbers the positions of an array row by row. A reshape instead would gather a sharded array."""
    position = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = jnp.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        position += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return position


def _mixed(words: jax.Array, mixture: tuple[int, int, int, int, int]) -> jax.Array:
    first_shift, first_factor, second_shift, second_factor, third_shift = mixture
    words = (words ^ words >> first_shift) * jnp.uint32(first_factor)
    words = (words ^ words >> second_shift) * jnp.uint32(second_factor)
    return words ^ words >> third_shift
