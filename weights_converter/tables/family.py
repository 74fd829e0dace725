"""A checkpoint family: its table, how its files are recognized, and what the table cannot express."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from weights_converter.spec import ModelSpec
from weights_converter.tables.layer import Layer

# The images that weights expect; no tensor shows it. CAFFE: BGR from 0 to 255 minus the mean colour.
# TORCHVISION: RGB, normalized by torchvision's mean and standard deviation.
CAFFE, TORCHVISION = "caffe", "torchvision"
PRESETS = (CAFFE, TORCHVISION)

Shapes = Mapping[str, tuple[int, ...]]
Notes = Mapping[str, object]
"""What a file holds beside its tensors, as plain data by name: {"meta": {"CLASSES": [...], ...}}."""


class Described(NamedTuple):
    """What a file says of its network beside the tensors.

    Attributes:
      spec: the network, as far as it is known; the rest is a guess.
      unknown: fields of the spec that neither the tensors nor the notes show.
      metadata: what our own files' metadata would hold: categories, palette, transforms, window.
    """

    spec: ModelSpec
    unknown: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}


class Family(NamedTuple):
    """Checkpoints that share one table.

    Attributes:
      description: its files, in words, for messages.
      models: the names of its networks.
      preset: CAFFE or TORCHVISION, the images that weights in the source's names expect.
      recognize: infers the spec, and whose names these are (SOURCE or OURS), from names and shapes; None if
        the file does not belong to this family.
      layers: the table, in the order of the source's own files.
      set_aside: {source tensor to leave out: why}; raises CheckpointError if its numbers are wrong.
      preset_of_ours: the images that weights in our names expect, if always the same.
      legacy_shapes: whether vectors and matrices may have leading axes of length 1, as in old Caffe files,
        and a matrix that becomes a convolution may already be one.
      twins: {network: another network with the same names and shapes}.
      describe: completes a recognized spec from the file's notes; raises CheckpointError if they contradict
        the tensors. None if tensors show all.
    """

    description: str
    models: tuple[str, ...]
    preset: str
    recognize: Callable[[Shapes], tuple[ModelSpec, str] | None]
    layers: Callable[[ModelSpec], Iterable[Layer]]
    set_aside: Callable[[ModelSpec, Mapping[str, np.ndarray]], dict[str, str]]
    preset_of_ours: str | None = None
    legacy_shapes: bool = False
    twins: Mapping[str, str] = {}
    describe: Callable[[ModelSpec, Notes], Described] | None = None
