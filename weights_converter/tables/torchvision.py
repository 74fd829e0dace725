"""torchvision's `fcn_resnet50` and `fcn_resnet101`, and the ImageNet ResNets for their backbones.

Source: the module trees of `torchvision.models.segmentation.fcn` and `torchvision.models.resnet`. Our names
are theirs, except that a word replaces a bare number (`classifier.4` is our `classifier.score`).
"""

from collections.abc import Iterator, Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.spec import ModelSpec
from weights_converter.tables.family import TORCHVISION, Family
from weights_converter.tables.layer import BATCH_NORM, CONV, CONV_BIAS, OURS, SOURCE, Layer
from weights_converter.tables.resnet import find_depth, resnet

# Tensors of a classifier that a backbone does not have, and why.
DROPPED = {
    "fc.weight": "the ImageNet classifier, which an FCN replaces",
    "fc.bias": "the ImageNet classifier, which an FCN replaces",
}


def layers(spec: ModelSpec) -> Iterator[Layer]:
    """Lists every layer of an FCN, or of a backbone alone, in the order of torchvision's state_dict."""
    if spec.is_classifier:
        yield from resnet(spec.name, spec.in_channels, "")
        return
    yield from resnet(spec.name.removeprefix("fcn_"), spec.in_channels, "backbone.")
    yield from _head("classifier", 2048, spec.num_classes)
    if spec.aux_loss:
        yield from _head("aux_classifier", 1024, spec.num_classes)


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
        spec = ModelSpec(name=find_depth(shapes, ""), in_channels=_in_channels(shapes, "conv1.weight"))
        return spec, SOURCE
    elif "conv1.kernel" in shapes and "layer4.0.conv3.kernel" in shapes:
        spec = ModelSpec(name=find_depth(shapes, ""), in_channels=_in_channels(shapes, "conv1.kernel"))
        return spec, OURS
    else:
        return None
    if len(shapes.get(score, ())) != 1:
        raise CheckpointError(
            f"this looks like a torchvision FCN, but {score!r}, which shows the number of classes, "
            f"is {'missing' if score not in shapes else f'of shape {shapes[score]}'}"
        )
    aux = any(name.startswith("aux_classifier.") for name in shapes)
    name = f"fcn_{find_depth(shapes, 'backbone.')}"
    channels = _in_channels(shapes, f"backbone.conv1.{'weight' if side == SOURCE else 'kernel'}")
    return ModelSpec(name=name, num_classes=shapes[score][0], aux_loss=aux, in_channels=channels), side


def _in_channels(shapes: Mapping[str, tuple[int, ...]], first: str) -> int:
    """Returns the channels of the images; 3 if the first kernel is missing, which is reported later."""
    shape = shapes.get(first, ())
    return shape[1 if first.endswith("weight") else 2] if len(shape) == 4 else 3


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
