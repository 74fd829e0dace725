"""Turns a dilated 3x3 convolution into a plain one, by reordering the rows and columns of its input.

With dilation d, row i depends on rows i - d, i and i + d. So the rows form d phases that are independent. A
plain convolution computes all phases when they lie one after another with a row of zeros between them: that
row is the padding at the end of a phase. Columns are treated in the same way. The result is exact.
"""

import jax
import jax.numpy as jnp


def phases(length: int, dilation: int) -> list[range]:
    """Lists the rows (or columns) of each phase; phases without rows are left out."""
    return [range(start, length, dilation) for start in range(min(length, dilation))]


def separate(x: jax.Array, dilation: int, axis: int) -> jax.Array:
    """Reorders an axis by phases, with a row of zeros between two phases."""
    zeros = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
    parts = []
    for lines in phases(x.shape[axis], dilation):
        parts += [jax.lax.slice_in_dim(x, lines.start, lines.stop, dilation, axis), zeros]
    return jnp.concatenate(parts[:-1], axis)


def join(x: jax.Array, dilation: int, axis: int, length: int) -> jax.Array:
    """Undoes `separate` for an axis of `length` rows."""
    parts, begin = [], 0
    longest = -(-length // dilation)
    for lines in phases(length, dilation):
        part = jax.lax.slice_in_dim(x, begin, begin + len(lines), axis=axis)
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, longest - len(lines))
        parts.append(jnp.pad(part, widths))
        begin += len(lines) + 1
    x = jnp.stack(parts, axis + 1)
    x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
    return jax.lax.slice_in_dim(x, 0, length, axis=axis)
