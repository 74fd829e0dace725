"""A family of checkpoints: how its files are known, and what their table does not say."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from weights_converter.spec import ModelSpec
from weights_converter.tables.layer import Layer

# The images that a network was trained on, which no tensor tells: BGR from 0 to 255 minus the mean colour, or
# RGB normalized by torchvision's mean and deviation.
CAFFE, TORCHVISION = "caffe", "torchvision"
PRESETS = (CAFFE, TORCHVISION)

Shapes = Mapping[str, tuple[int, ...]]


class Family(NamedTuple):
    """Checkpoints that one table serves.

    Attributes:
      known: its files, in the words of a message.
      models: the names of its networks.
      preset: CAFFE or TORCHVISION, the images that weights in the source's names expect.
      recognize: infers the spec, and the side that the names are from, SOURCE or OURS, from names and
        shapes; None if the file is not of this family.
      layers: the table, in the order of the source's own files.
      set_aside: names the source's tensors that are left out, and why; raises CheckpointError if their
        numbers are wrong.
      preset_of_ours: the images that weights in our names expect, where that is always the same.
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
