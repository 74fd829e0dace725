"""Which part of a buffer belongs to its picture; what lies outside is kept at zero.

Pictures of several sizes share a batch: each lies in the upper left corner of its buffer. Convolutions pad
with zeros, so their result is that of the picture alone if everything outside its map is zero. Three kinds of
layers need this: convolutions that pad, poolings (their inputs come out of a ReLU, so zero is never a new
maximum) and transposed convolutions. The rest of a buffer may hold anything, even NaN.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Extent(NamedTuple):
    """The sizes of the maps of a batch inside a buffer; a pytree.

    Attributes:
      sizes: (N, 2) int32, rows and columns of each map; None if every map fills the buffer.
    """

    sizes: jax.Array | None = None

    def over(self, stride: int) -> "Extent":
        """Returns the extent of maps whose sizes are divided by a stride and rounded up, as in ResNet."""
        return self if self.sizes is None else Extent(-(-self.sizes // stride))

    def conv(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "Extent":
        """Returns the extent after a convolution."""
        reach = dilation * (kernel - 1) - 2 * padding
        return self if self.sizes is None else Extent((self.sizes - reach - 1) // stride + 1)

    def pool(self, window: int, stride: int) -> "Extent":
        """Returns the extent after a pooling whose sizes are rounded up."""
        return self if self.sizes is None else Extent(-((window - self.sizes) // stride) + 1)

    def deconv(self, kernel: int, stride: int) -> "Extent":
        """Returns the extent after an unpadded transposed convolution."""
        return self if self.sizes is None else Extent(stride * (self.sizes - 1) + kernel)

    def keep(self, x: jax.Array) -> jax.Array:
        """Sets what lies outside the maps of (N, h, w, C) to zero."""
        if self.sizes is None:
            return x
        inside = [
            jax.lax.broadcasted_iota(jnp.int32, (1, *x.shape[1:3], 1), axis + 1)
            < self.sizes[:, axis, None, None, None]
            for axis in (0, 1)
        ]
        return jnp.where(inside[0] & inside[1], x, 0)


EVERYTHING = Extent()
