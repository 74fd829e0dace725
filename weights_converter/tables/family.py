"""A family of checkpoints: how its files are known, and what a table alone does not say of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from weights_converter.spec import ModelSpec
from weights_converter.tables.layer import Layer

# What images a network was trained on, which no tensor tells: BGR from 0 to 255 minus the mean colour, or RGB
# normalized by torchvision's mean and deviation.
CAFFE, TORCHVISION = "caffe", "torchvision"
PRESETS = (CAFFE, TORCHVISION)

Shapes = Mapping[str, tuple[int, ...]]


class Family(NamedTuple):
    """Checkpoints that one table serves.

    Attributes:
      known: its files, in the words of a message.
      models: the names of its networks.
      preset: CAFFE or TORCHVISION, the images that weights in the source's names expect.
      recognize: infers the spec, and whose names they are, from names and shapes; None if these are
        not of this family.
      layers: the table, in the order of the source's own files.
      set_aside: names the source's tensors that have no place with us, and why; raises CheckpointError if
        something is amiss that names and shapes do not tell.
      preset_of_ours: what weights in our names expect, where that is always the same.
      legacy_shapes: whether vectors and matrices may have leading axes of length 1, as Caffe's old files have
        them, and a matrix that becomes a convolution may be one already.
      twins: {network: another with the same tensors in every respect}.
    """

    known: str
    models: tuple[str, ...]
    preset: str
    recognize: Callable[[Shapes], tuple[ModelSpec, str] | None]
    layers: Callable[[ModelSpec], Iterable[Layer]]
    set_aside: Callable[[ModelSpec, Mapping[str, np.ndarray]], dict[str, str]]
    preset_of_ours: str | None = None
    legacy_shapes: bool = False
    twins: Mapping[str, str] = {}
