"""A dilated 3x3 convolution as an ordinary one: lines that see each other are put side by side.

With dilation d a line sees those d above and below it, so lines fall into d phases that never meet. Laid out
phase after phase, with a line of zeros between two, they are a picture for a plain convolution: exactly,
since the zeros are the padding that each phase has at its ends.
"""

import jax
import jax.numpy as jnp


def phases(length: int, dilation: int) -> list[range]:
    """Lists the lines of each phase that has any."""
    return [range(start, length, dilation) for start in range(min(length, dilation))]


def separate(x: jax.Array, dilation: int, axis: int) -> jax.Array:
    """Lays out the phases along an axis one after another, zeros between."""
    zeros = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
    parts = []
    for lines in phases(x.shape[axis], dilation):
        parts += [jax.lax.slice_in_dim(x, lines.start, lines.stop, dilation, axis), zeros]
    return jnp.concatenate(parts[:-1], axis)


def join(x: jax.Array, dilation: int, axis: int, length: int) -> jax.Array:
    """Puts `length` lines back in order."""
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
