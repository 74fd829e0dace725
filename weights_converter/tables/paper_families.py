"""Recognizes files of the FCN paper's networks and of their ImageNet classifiers.

Four families with two backbones:

  FCNS                  the authors' Caffe files and the PyTorch port (torchfcn), which share all names
  VGG16_OF_TORCHVISION  torchvision's vgg16
  VGG16_OF_CAFFE        the ILSVRC release of VGG16, or that file with fc6 and fc7 as convolutions
  CAFFENET              the CaffeNet release, with the same layer names as an FCN's backbone

Either VGG16 may come without any tensor of fc6 and fc7: it is then a trunk, `vgg16_trunk`.

The tensors do not show some things, and a caller has to know them:

  * fcn8s_vgg16 or fcn8s_atonce_vgg16, in the port's files: they differ only in two constants in the code.
    Caffe's own at-once files have these as the layers `scale_pool4` and `scale_pool3`.
  * The images that the weights expect, in torchvision's names: `vgg16_from_caffe.pth` has torchvision's keys
    and shapes with Caffe's numbers.
  * CaffeNet or Caffe's "AlexNet", which normalizes before it pools: they have the same names and shapes.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.spec import TRUNKS, ModelSpec
from weights_converter.tables.family import CAFFE, TORCHVISION, Family, Shapes
from weights_converter.tables.layer import OURS, SOURCE
from weights_converter.tables.paper import (
    BACKBONES,
    HEADS,
    POOLED_BLOCKS,
    TORCHVISION_NAMES,
    VGG16_FEATURES,
    classifier_layers,
    fcn_layers,
    torchvision_layers,
    widths,
)

# Constants of the at-once network; a Caffe file repeats them for each channel.
SCALES = {"scale_pool4": 0.01, "scale_pool3": 0.0001}
_FC8 = "the ImageNet classifier, which an FCN replaces"
DROPPED_OF_TORCHVISION = {"classifier.6.weight": _FC8, "classifier.6.bias": _FC8}
DROPPED_OF_CAFFE = {"fc8.weight": _FC8, "fc8.bias": _FC8}

# The authors' networks that have no model here, each by a tensor that only it has.
OTHERS = {
    "score_fr_sem.weight": "a SIFT Flow network, which has two heads",
    "conv1_1_bgrd.weight": "an NYUDv2 network on colour and depth, which takes images of four channels",
    "conv1_1color.weight": "an NYUDv2 network on colour and HHA, which has two backbones",
}


def recognize_fcn(shapes: Shapes) -> tuple[ModelSpec, str] | None:
    """Infers which of the paper's networks this is, its classes and widths, and whose names these are.

    An at-once network is recognized only in Caffe's own file; elsewhere it looks like fcn8s_vgg16.

    Raises:
      CheckpointError: there is no model for this network here, or a tensor that shows the number of classes
        or a width is missing.
    """
    for name, what in OTHERS.items():
        if name in shapes:
            raise CheckpointError(f"this is {what}; there is no model for it here")
    for side, prefix, kernel in ((SOURCE, "", "weight"), (OURS, "backbone.", "kernel")):
        layers = {name.removesuffix(f".{kernel}") for name in shapes if name.endswith(f".{kernel}")}
        backbone = _backbone_of(layers, prefix)
        if backbone is None or "score_fr" not in layers:
            continue
        if backbone == "caffenet":
            model_name = "fcn32s_alexnet"
        elif layers & set(SCALES):
            model_name = "fcn8s_atonce_vgg16"
        elif layers & {"score_pool3", "upscore8"}:
            model_name = "fcn8s_vgg16"
        elif layers & {"score_pool4", "upscore16"}:
            model_name = "fcn16s_vgg16"
        else:
            model_name = "fcn32s_vgg16"
        num_classes = _length(shapes, "score_fr.bias", "the number of classes")
        widths = _widths(shapes, backbone, prefix)
        first = f"{prefix}{'conv1_1' if backbone == 'vgg16' else 'conv1'}.{kernel}"
        channels = _in_channels(shapes, first, side)
        return ModelSpec(name=model_name, num_classes=num_classes, in_channels=channels, **widths), side
    return None


def recognize_torchvision(shapes: Shapes) -> tuple[ModelSpec, str] | None:
    """Recognizes torchvision's vgg16 or its features alone, and our own VGG16 backbone alone.

    Raises:
      CheckpointError: this is torchvision's alexnet, or a VGG of another depth.
    """
    if "conv1_1.kernel" in shapes and ("fc6.kernel" in shapes or "conv5_3.kernel" in shapes):
        return _vgg16(shapes, "conv1_1.kernel", OURS), OURS
    found = filter(None, (re.fullmatch(r"features\.(\d+)\.weight", name) for name in shapes))
    numbers = sorted(int(match[1]) for match in found)
    if 0 not in numbers:
        return None
    if 10 in numbers and "classifier.1.weight" in shapes:
        raise CheckpointError(
            "this is torchvision's alexnet, not the paper's: it has other widths, no groups and no "
            "normalization; fcn32s_alexnet starts from CaffeNet's .caffemodel"
        )
    if "classifier.0.weight" not in shapes and 28 not in numbers:
        return None
    if not set(numbers) <= set(VGG16_FEATURES) or not set(numbers) & {24, 26, 28}:
        raise CheckpointError(
            f"this looks like a VGG of torchvision with layers features.{', '.join(map(str, numbers))}; only "
            f"vgg16 is known, with features.{', '.join(map(str, VGG16_FEATURES))}"
        )
    return _vgg16(shapes, "features.0.weight", SOURCE, TORCHVISION_NAMES), SOURCE


def recognize_caffe_vgg16(shapes: Shapes) -> tuple[ModelSpec, str] | None:
    """Recognizes the ILSVRC release of VGG16, or its convolutions alone."""
    if "conv1_1.weight" in shapes and ("fc6.weight" in shapes or "conv5_3.weight" in shapes):
        return _vgg16(shapes, "conv1_1.weight", SOURCE), SOURCE
    return None


def recognize_caffenet(shapes: Shapes) -> tuple[ModelSpec, str] | None:
    """Recognizes the CaffeNet release, and our own CaffeNet backbone alone."""
    for side, kernel in ((SOURCE, "weight"), (OURS, "kernel")):
        if all(f"{layer}.{kernel}" in shapes for layer in ("conv1", "conv5", "fc6")):
            channels = _in_channels(shapes, f"conv1.{kernel}", side)
            return ModelSpec(name="caffenet", in_channels=channels, **_widths(shapes, "caffenet", "")), side
    return None


def _vgg16(shapes: Shapes, first: str, side: str, names: Mapping[str, str] | None = None) -> ModelSpec:
    """Returns the spec of VGG16, or of its trunk if no tensor is of fc6 or fc7."""
    fully_connected = tuple(f"{(names or {}).get(layer, layer)}." for layer in ("fc6", "fc7"))
    trunk = not any(name.startswith(fully_connected) for name in shapes)
    widths = _widths(shapes, "vgg16", "", names, trunk=trunk)
    name = TRUNKS["vgg16"] if trunk else "vgg16"
    return ModelSpec(name=name, in_channels=_in_channels(shapes, first, side), **widths)


def _in_channels(shapes: Shapes, first: str, side: str) -> int:
    """Returns the channels of the images; 3 if the first kernel is missing, which is reported later."""
    shape = shapes.get(first, ())
    return shape[1 if side == SOURCE else 2] if len(shape) == 4 else 3


def _backbone_of(layers: set[str], prefix: str) -> str | None:
    for backbone, first in (("vgg16", "conv1_1"), ("caffenet", "conv1")):
        if f"{prefix}{first}" in layers:
            return backbone
    return None


def _widths(
    shapes: Shapes,
    backbone: str,
    prefix: str,
    names: Mapping[str, str] | None = None,
    *,
    trunk: bool = False,
) -> dict[str, Any]:
    """Takes the width of each block from its first bias; a trunk has no fc6."""
    firsts = [f"conv{block}" + ("_1" if backbone == "vgg16" else "") for block in range(1, 6)]
    layers = firsts if trunk else [*firsts, "fc6"]
    widths = [
        _length(shapes, f"{prefix}{(names or {}).get(layer, layer)}.bias", "a width") for layer in layers
    ]
    return {"features": tuple(widths[:5]), "fc_features": None if trunk else widths[5]}


def _length(shapes: Shapes, name: str, what: str) -> int:
    shape = shapes.get(name, ())
    if not shape:
        raise CheckpointError(
            f"this looks like a network of the FCN paper or its backbone, but {name!r}, which shows {what}, "
            f"is {'missing' if name not in shapes else 'a scalar'}"
        )
    return shape[-1]  # the last axis: Caffe's old files have a bias as (1, 1, 1, N)


def set_aside_scales(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Leaves out the at-once network's scales, which are constants in our model.

    Raises:
      CheckpointError: a scale is missing, or holds any other number.
    """
    found = {layer: tensors[f"{layer}.weight"] for layer in SCALES if f"{layer}.weight" in tensors}
    if not found:
        return {}
    for layer, value in SCALES.items():
        features, _ = widths(spec, BACKBONES[spec.name])
        width = features[POOLED_BLOCKS[layer.replace("scale", "score")]]
        array = found.get(layer, np.empty(0)).reshape(-1)
        rounded = array.astype(np.float32) if array.dtype == np.float64 else array
        others = rounded[rounded != np.float32(value)]
        if array.size != width or others.size:
            got = f"{others[0]} among {array.size}" if others.size else f"{array.size} of them"
            raise CheckpointError(
                f"expected {layer!r} of {spec.name} to be {value}, {width} times; got {got}"
            )
    return {f"{layer}.weight": f"is {value}, a constant of the model" for layer, value in SCALES.items()}


def set_aside_torchvision(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Drops the last layer.

    Raises:
      CheckpointError: fc6 or fc7 has NaN, as in torchvision's file that has trained features only.
    """
    for name in ("classifier.0.bias", "classifier.3.bias", "classifier.0.weight", "classifier.3.weight"):
        if name in tensors and np.isnan(tensors[name].flat[:4096]).any():
            raise CheckpointError(
                f"{name!r}, which becomes fc6 or fc7, has NaN, as in torchvision's "
                "IMAGENET1K_FEATURES, which has trained features only",
                hint="use IMAGENET1K_V1",
            )
    return {name: why for name, why in DROPPED_OF_TORCHVISION.items() if name in tensors}


def set_aside_fc8(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Drops the last layer."""
    return {name: why for name, why in DROPPED_OF_CAFFE.items() if name in tensors}


FCNS = Family(
    description="the FCN paper's networks from Caffe or the PyTorch port",
    models=tuple(HEADS),
    preset=CAFFE,
    recognize=recognize_fcn,
    layers=fcn_layers,
    set_aside=set_aside_scales,
    legacy_shapes=True,
    twins={"fcn8s_atonce_vgg16": "fcn8s_vgg16"},
)
VGG16_OF_TORCHVISION = Family(
    description="torchvision's vgg16",
    models=("vgg16", TRUNKS["vgg16"]),
    preset=TORCHVISION,
    recognize=recognize_torchvision,
    layers=torchvision_layers,
    set_aside=set_aside_torchvision,
)
VGG16_OF_CAFFE = Family(
    description="the ILSVRC VGG16 of Caffe",
    models=("vgg16", TRUNKS["vgg16"]),
    preset=CAFFE,
    recognize=recognize_caffe_vgg16,
    layers=classifier_layers,
    set_aside=set_aside_fc8,
    legacy_shapes=True,
)
CAFFENET = Family(
    description="CaffeNet",
    models=("caffenet",),
    preset=CAFFE,
    recognize=recognize_caffenet,
    layers=classifier_layers,
    set_aside=set_aside_fc8,
    preset_of_ours=CAFFE,
    legacy_shapes=True,
)
