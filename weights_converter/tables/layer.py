"""What a table is made of: layers, and the kinds of layer with their leaves.

A leaf is one array of a layer. It has a name and a layout on either side. The layouts differ at most in the
order of axes, and in a convolution that is a matrix on the other side: a conversion changes no number.
"""

import math
from typing import NamedTuple

import numpy as np

# One table serves two sides: the names and layouts of the checkpoint, and of fcn_jax.
SOURCE, OURS = "source", "ours"


class Leaf(NamedTuple):
    """One array of a layer.

    Attributes:
      source, ours: its name on either side.
      axes: the source's axes, in our order.
      flat: whether the source has it as a matrix: all axes but the first in one, in C order.
    """

    source: str
    ours: str
    axes: tuple[int, ...] = (0,)
    flat: bool = False


class Kind(NamedTuple):
    """A kind of layer: the leaves that both sides have, and counters that only the source has."""

    leaves: tuple[Leaf, ...]
    counters: tuple[str, ...] = ()


_KERNEL = Leaf("weight", "kernel", (2, 3, 1, 0))  # OIHW to HWIO
_BIAS = Leaf("bias", "bias")

CONV = Kind((_KERNEL,))
CONV_BIAS = Kind((_KERNEL, _BIAS))
# A fully connected layer (out, C*H*W) that becomes a convolution of the size of its input.
DENSE_AS_CONV = Kind((_KERNEL._replace(flat=True), _BIAS))
# (in, out, H, W) to (H, W, out, in): what `lax.conv_transpose(..., transpose_kernel=True)` takes, unflipped.
DECONV = Kind((_KERNEL,))
BATCH_NORM = Kind(
    (Leaf("weight", "scale"), _BIAS, Leaf("running_mean", "mean"), Leaf("running_var", "var")),
    # An int64 scalar that PyTorch reads only when momentum is None; files from before 0.4.1 lack it.
    counters=("num_batches_tracked",),
)


class Layer(NamedTuple):
    """One row of a table.

    Attributes:
      source: the module's name in the checkpoint.
      ours: the module's name in fcn_jax.
      kind: its leaves.
      shape: of `weight` in the source's layout before any flattening; every vector of the layer has length
        shape[0].
    """

    source: str
    ours: str
    kind: Kind
    shape: tuple[int, ...]

    def leaf_shape(self, leaf: Leaf, side: str) -> tuple[int, ...]:
        """Gives the shape of one leaf in the layout of one side."""
        shape = self.shape[: len(leaf.axes)]
        if side == OURS:
            return tuple(shape[axis] for axis in leaf.axes)
        return (shape[0], math.prod(shape[1:])) if leaf.flat else shape

    def to_ours(self, leaf: Leaf, array: np.ndarray) -> np.ndarray:
        """Brings one leaf from the source's layout into ours, as a view."""
        return array.reshape(self.shape if leaf.flat else array.shape).transpose(leaf.axes)

    def to_source(self, leaf: Leaf, array: np.ndarray) -> np.ndarray:
        """Brings one leaf from our layout into the source's, as a view unless it is flat there."""
        return array.transpose(np.argsort(leaf.axes)).reshape(self.leaf_shape(leaf, SOURCE))

    def name(self, leaf: Leaf, side: str) -> str:
        """Gives the full name of one leaf on one side."""
        return f"{self.source}.{leaf.source}" if side == SOURCE else f"{self.ours}.{leaf.ours}"
