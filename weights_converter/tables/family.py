"""A family of checkpoints: how its files are known, and what a table alone does not say of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from weights_converter.tables.layer import Architecture, Layer

# What images a network was trained on, which no tensor tells: BGR from 0 to 255 minus the mean colour, or RGB
# normalized by torchvision's mean and deviation.
CAFFE, TORCHVISION = "caffe", "torchvision"
PRESETS = (CAFFE, TORCHVISION)

Shapes = Mapping[str, tuple[int, ...]]


class Family(NamedTuple):
    """Checkpoints that one table serves.

    Attributes:
      known: its files, in the words of a message.
      preset: CAFFE or TORCHVISION, the images that weights in the source's names expect.
      recognize: infers the architecture, and whose names they are, from names and shapes; None if these are
        not of this family.
      layers: the table, in the order of the source's own files.
      set_aside: names the source's tensors that have no place with us, and why; raises CheckpointError if
        something is amiss that names and shapes do not tell.
      preset_of_ours: what weights in our names expect, where that is always the same.
      legacy_shapes: whether vectors and matrices may have leading axes of length 1, as Caffe's old files have
        them, and a matrix that becomes a convolution may be one already.
      parents: {model: the coarser one whose file can start its training}.
      twins: {model: another with the same tensors in every respect}.
      fresh: {our layer: how a model starts it where the parent has none}.
    """

    known: str
    preset: str
    recognize: Callable[[Shapes], tuple[Architecture, str] | None]
    layers: Callable[[Architecture], Iterable[Layer]]
    set_aside: Callable[[Architecture, Mapping[str, np.ndarray]], dict[str, str]]
    preset_of_ours: str | None = None
    legacy_shapes: bool = False
    parents: Mapping[str, str] = {}
    twins: Mapping[str, str] = {}
    fresh: Mapping[str, str] = {}
