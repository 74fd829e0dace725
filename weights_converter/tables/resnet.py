"""The rows of a ResNet, and its depth from the names of tensors: shared by two families.

Our names are those of torchvision and mmsegmentation, except that a word replaces a bare number.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from weights_converter.errors import CheckpointError
from weights_converter.spec import RESNET_WIDTHS
from weights_converter.tables.layer import BATCH_NORM, CONV, Layer


class Depth(NamedTuple):
    """A ResNet's blocks.

    Attributes:
      blocks: their number in each of the four stages.
      convolutions: kernel sizes inside a block.
      expansion: output channels of a block by its width.
    """

    blocks: tuple[int, int, int, int]
    convolutions: tuple[int, ...] = (1, 3, 1)
    expansion: int = 4


DEPTHS = {
    "resnet18": Depth((2, 2, 2, 2), convolutions=(3, 3), expansion=1),
    "resnet50": Depth((3, 4, 6, 3)),
    "resnet101": Depth((3, 4, 23, 3)),
}


def resnet(
    name: str,
    in_channels: int,
    prefix: str,
    widths: tuple[int, ...] = RESNET_WIDTHS,
    *,
    deep_stem: bool = False,
) -> Iterator[Layer]:
    """Lists every layer of a ResNet, in the order of its state_dict.

    Args:
      name: one of `DEPTHS`.
      in_channels: of the images.
      prefix: of all names, on both sides.
      widths: of the stem and the four stages.
      deep_stem: whether it begins with three 3x3 convolutions.
    """
    depth, (inputs, *widths_of_stages) = DEPTHS[name], widths
    if deep_stem:
        half = inputs // 2
        shapes = ((half, in_channels, 3, 3), (half, half, 3, 3), (inputs, half, 3, 3))
        for number, shape in enumerate(shapes):
            at, ours = f"{prefix}stem.{3 * number}", f"{prefix}stem.conv{number + 1}"
            yield Layer(at, ours, CONV, shape)
            at, ours = f"{prefix}stem.{3 * number + 1}", f"{prefix}stem.bn{number + 1}"
            yield Layer(at, ours, BATCH_NORM, shape[:1])
    else:
        yield Layer(f"{prefix}conv1", f"{prefix}conv1", CONV, (inputs, in_channels, 7, 7))
        yield Layer(f"{prefix}bn1", f"{prefix}bn1", BATCH_NORM, (inputs,))
    for stage, (width, count) in enumerate(zip(widths_of_stages, depth.blocks, strict=True), start=1):
        for block in range(count):
            outputs = depth.expansion * width
            project = block == 0 and (stage > 1 or inputs != outputs)
            yield from _block(f"{prefix}layer{stage}.{block}", depth, inputs, width, project)
            inputs = outputs


def _block(at: str, depth: Depth, inputs: int, width: int, project: bool) -> Iterator[Layer]:
    outputs, before = depth.expansion * width, inputs
    for number, kernel in enumerate(depth.convolutions, start=1):
        after = outputs if number == len(depth.convolutions) else width
        yield Layer(f"{at}.conv{number}", f"{at}.conv{number}", CONV, (after, before, kernel, kernel))
        yield Layer(f"{at}.bn{number}", f"{at}.bn{number}", BATCH_NORM, (after,))
        before = after
    if project:
        yield Layer(f"{at}.downsample.0", f"{at}.downsample.conv", CONV, (outputs, inputs, 1, 1))
        yield Layer(f"{at}.downsample.1", f"{at}.downsample.bn", BATCH_NORM, (outputs,))


def find_depth(
    shapes: Mapping[str, tuple[int, ...]],
    prefix: str,
    names: Iterable[str] = ("resnet50", "resnet101"),
) -> str:
    """Returns which of the named ResNets has these tensors.

    Raises:
      CheckpointError: none has their number of blocks in the third stage.
    """
    pattern = re.compile(re.escape(prefix) + r"layer([1-4])\.(\d+)\.")
    blocks = [0, 0, 0, 0]
    for match in filter(None, map(pattern.match, shapes)):
        stage, block = int(match[1]) - 1, int(match[2])
        blocks[stage] = max(blocks[stage], block + 1)
    known = {name: DEPTHS[name].blocks for name in names}
    for name, counts in known.items():
        if blocks[2] == counts[2]:  # only this stage differs; tensors missing in others are reported later
            return name
    described = ", ".join(f"{name} {counts}" for name, counts in known.items())
    raise CheckpointError(
        f"this looks like a ResNet with {tuple(blocks)} blocks in its stages; known are {described}"
    )
