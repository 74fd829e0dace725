"""torchvision's `fcn_resnet50` and `fcn_resnet101`, and the ImageNet ResNets for their backbones.

Source: the module trees of `torchvision.models.segmentation.fcn` and `torchvision.models.resnet`. Our names
are theirs, except that a word replaces a bare number (`classifier.4` is our `classifier.score`).
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.spec import ModelSpec
from weights_converter.tables.family import TORCHVISION, Family
from weights_converter.tables.layer import (
    BATCH_NORM,
    CONV,
    CONV_BIAS,
    OURS,
    SOURCE,
    Layer,
)

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
STAGE_WIDTHS = (64, 128, 256, 512)

# Tensors of a classifier that a backbone does not have, and why.
DROPPED = {
    "fc.weight": "the ImageNet classifier, which an FCN replaces",
    "fc.bias": "the ImageNet classifier, which an FCN replaces",
}


def layers(spec: ModelSpec) -> Iterator[Layer]:
    """Lists every layer of an FCN, or of a backbone alone, in the order of torchvision's state_dict."""
    if spec.is_classifier:
        yield from _resnet(BLOCKS[spec.name], spec.in_channels, "")
        return
    yield from _resnet(BLOCKS[spec.name.removeprefix("fcn_")], spec.in_channels, "backbone.")
    yield from _head("classifier", 2048, spec.num_classes)
    if spec.aux_loss:
        yield from _head("aux_classifier", 1024, spec.num_classes)


def _resnet(blocks: tuple[int, ...], in_channels: int, prefix: str) -> Iterator[Layer]:
    yield Layer(f"{prefix}conv1", f"{prefix}conv1", CONV, (64, in_channels, 7, 7))
    yield Layer(f"{prefix}bn1", f"{prefix}bn1", BATCH_NORM, (64,))
    inputs = 64
    for stage, (width, count) in enumerate(zip(STAGE_WIDTHS, blocks, strict=True), start=1):
        for block in range(count):
            at = f"{prefix}layer{stage}.{block}"
            outputs = 4 * width
            yield Layer(f"{at}.conv1", f"{at}.conv1", CONV, (width, inputs, 1, 1))
            yield Layer(f"{at}.bn1", f"{at}.bn1", BATCH_NORM, (width,))
            yield Layer(f"{at}.conv2", f"{at}.conv2", CONV, (width, width, 3, 3))
            yield Layer(f"{at}.bn2", f"{at}.bn2", BATCH_NORM, (width,))
            yield Layer(f"{at}.conv3", f"{at}.conv3", CONV, (outputs, width, 1, 1))
            yield Layer(f"{at}.bn3", f"{at}.bn3", BATCH_NORM, (outputs,))
            if block == 0:
                yield Layer(f"{at}.downsample.0", f"{at}.downsample.conv", CONV, (outputs, inputs, 1, 1))
                yield Layer(f"{at}.downsample.1", f"{at}.downsample.bn", BATCH_NORM, (outputs,))
            inputs = outputs


def _head(name: str, inputs: int, num_classes: int) -> Iterator[Layer]:
    channels = inputs // 4
    yield Layer(f"{name}.0", f"{name}.conv", CONV, (channels, inputs, 3, 3))
    yield Layer(f"{name}.1", f"{name}.bn", BATCH_NORM, (channels,))
    yield Layer(f"{name}.4", f"{name}.score", CONV_BIAS, (num_classes, channels, 1, 1))


def recognize(shapes: Mapping[str, tuple[int, ...]]) -> tuple[ModelSpec, str] | None:
    """Infers the spec, and whose names these are, from names and shapes.

    Returns:
      (spec, SOURCE or OURS), or None if the file does not belong to this family.

    Raises:
      CheckpointError: the file does, but no network has its depth.
    """
    if "backbone.conv1.weight" in shapes and "classifier.0.weight" in shapes:
        score, side = "classifier.4.bias", SOURCE
    elif "backbone.conv1.kernel" in shapes and "classifier.conv.kernel" in shapes:
        score, side = "classifier.score.bias", OURS
    elif "conv1.weight" in shapes and "layer4.0.conv3.weight" in shapes:
        return ModelSpec(name=_depth(shapes, "")), SOURCE
    elif "conv1.kernel" in shapes and "layer4.0.conv3.kernel" in shapes:
        return ModelSpec(name=_depth(shapes, "")), OURS
    else:
        return None
    if len(shapes.get(score, ())) != 1:
        raise CheckpointError(
            f"this looks like a torchvision FCN, but {score!r}, which shows the number of classes, "
            f"is {'missing' if score not in shapes else f'of shape {shapes[score]}'}"
        )
    aux = any(name.startswith("aux_classifier.") for name in shapes)
    name = f"fcn_{_depth(shapes, 'backbone.')}"
    return ModelSpec(name=name, num_classes=shapes[score][0], aux_loss=aux), side


def _depth(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> str:
    pattern = re.compile(re.escape(prefix) + r"layer([1-4])\.(\d+)\.")
    blocks = [0, 0, 0, 0]
    for match in filter(None, map(pattern.match, shapes)):
        stage, block = int(match[1]) - 1, int(match[2])
        blocks[stage] = max(blocks[stage], block + 1)
    for name, known in BLOCKS.items():
        if blocks[2] == known[2]:  # only this stage differs; tensors missing in others are reported later
            return name
    known = ", ".join(f"{name} {blocks}" for name, blocks in BLOCKS.items())
    raise CheckpointError(
        f"this looks like a ResNet with {tuple(blocks)} blocks in its stages; known are {known}"
    )


def _set_aside(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    if not spec.is_classifier:
        return {}
    return {name: why for name, why in DROPPED.items() if name in tensors}


RESNETS = Family(
    description="torchvision's fcn_resnet50 or fcn_resnet101, or its resnet50 or resnet101 for a backbone",
    models=("fcn_resnet50", "fcn_resnet101", "resnet50", "resnet101"),
    preset=TORCHVISION,
    recognize=recognize,
    layers=layers,
    set_aside=_set_aside,
    preset_of_ours=TORCHVISION,
)
