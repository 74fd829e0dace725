"""The parts of a table: layers, and the kinds of layer with their leaves.

A leaf is one array of a layer. Each side, the checkpoint and fcn_jax, has its own name and layout for it.
Layouts differ in the order of axes; some convolutions are matrices in the checkpoint. No number changes.
"""

import math
from typing import NamedTuple

import numpy as np

# The two sides of a table: the names and layouts of the checkpoint, and those of fcn_jax.
SOURCE, OURS = "source", "ours"


class Leaf(NamedTuple):
    """One array of a layer.

    Attributes:
      source, ours: its name on each side.
      axes: the source's axes, in our order.
      flat: whether the source has a matrix: all axes but the first flattened into one, in C order.
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
# A fully connected layer (out, C*H*W) that becomes a convolution with a kernel as large as its input.
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
      kind: which leaves it has.
      shape: the shape of `weight` in the source's layout, before any flattening. Every vector of the layer
        has length shape[0].
    """

    source: str
    ours: str
    kind: Kind
    shape: tuple[int, ...]

    def leaf_shape(self, leaf: Leaf, side: str) -> tuple[int, ...]:
        """Returns the shape of a leaf in one side's layout."""
        shape = self.shape[: len(leaf.axes)]
        if side == OURS:
            return tuple(shape[axis] for axis in leaf.axes)
        return (shape[0], math.prod(shape[1:])) if leaf.flat else shape

    def to_ours(self, leaf: Leaf, array: np.ndarray) -> np.ndarray:
        """Converts a leaf from the source's layout to ours, as a view."""
        return array.reshape(self.shape if leaf.flat else array.shape).transpose(leaf.axes)

    def to_source(self, leaf: Leaf, array: np.ndarray) -> np.ndarray:
        """Converts a leaf from our layout to the source's, as a view unless the source has a matrix."""
        return array.transpose(np.argsort(leaf.axes)).reshape(self.leaf_shape(leaf, SOURCE))

    def name(self, leaf: Leaf, side: str) -> str:
        """Returns the full name of a leaf on one side."""
        return f"{self.source}.{leaf.source}" if side == SOURCE else f"{self.ours}.{leaf.ours}"
