"""What a table is made of: layers, and the kinds of layer with their leaves.

A leaf is one array of a layer. It has a name and a layout on either side; the two layouts differ by a
permutation of axes at most, so that a conversion never changes a bit of any number.
"""

from typing import NamedTuple

# One table serves two sides: the checkpoint's names and layouts, and those of fcn_jax.
SOURCE, OURS = "source", "ours"


class Leaf(NamedTuple):
    """One array of a layer: its name on either side, and the axes of the source in our order."""

    source: str
    ours: str
    axes: tuple[int, ...] = (0,)


class Kind(NamedTuple):
    """A kind of layer: the leaves that both sides have, and counters that only the source has."""

    leaves: tuple[Leaf, ...]
    counters: tuple[str, ...] = ()


_KERNEL = Leaf("weight", "kernel", (2, 3, 1, 0))  # OIHW to HWIO
_BIAS = Leaf("bias", "bias")

CONV = Kind((_KERNEL,))
CONV_BIAS = Kind((_KERNEL, _BIAS))
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
      shape: of `weight` in the source's layout; every vector of the layer has the length shape[0].
    """

    source: str
    ours: str
    kind: Kind
    shape: tuple[int, ...]

    def leaf_shape(self, leaf: Leaf, side: str) -> tuple[int, ...]:
        """Gives the shape of one leaf in the layout of one side."""
        shape = self.shape[: len(leaf.axes)]
        return shape if side == SOURCE else tuple(shape[axis] for axis in leaf.axes)

    def name(self, leaf: Leaf, side: str) -> str:
        """Gives the full name of one leaf on one side."""
        return f"{self.source}.{leaf.source}" if side == SOURCE else f"{self.ours}.{leaf.ours}"


class Architecture(NamedTuple):
    """What can be told of a model from its tensors.

    Attributes:
      model_name: as `fcn_jax.get_model` knows it, or the backbone's name ("resnet50") of a classifier.
      num_classes: of the segmentation head; None for a classifier.
      aux: whether the auxiliary head is there.
    """

    model_name: str
    num_classes: int | None = None
    aux: bool = False
