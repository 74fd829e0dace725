"""mmsegmentation's FCNs on ResNet-18, 50 and 101: `fcn_r50_d8` and so on.

Tensors show the depth, the stem, the widths, the classes and the auxiliary head. Strides, the dilation of the
heads ("D8" or "D6") and `align_corners` stand in the file's config text, which `mmseg_notes` reads as data.

Source: the module trees of mmsegmentation 1.2.2, `EncoderDecoder` with `ResNet`, `ResNetV1c` and `FCNHead`.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from weights_converter.errors import CheckpointError
from weights_converter.spec import RESNET_WIDTHS, ModelSpec
from weights_converter.tables.family import TORCHVISION, Family, Shapes
from weights_converter.tables.layer import BATCH_NORM, CONV, CONV_BIAS, OURS, SOURCE, Layer
from weights_converter.tables.mmseg_notes import describe
from weights_converter.tables.resnet import DEPTHS, find_depth, resnet

BACKBONES = {
    "fcn_r18_d8": "resnet18",
    "fcn_r50_d8": "resnet50",
    "fcn_r101_d8": "resnet101",
    "fcn_r50_d6": "resnet50",
    "fcn_r101_d6": "resnet101",
}
TWINS = {"fcn_r50_d6": "fcn_r50_d8", "fcn_r101_d6": "fcn_r101_d8"}

# Others of mmsegmentation's networks, each by the beginning of a name that only it has.
OTHERS = {
    "decode_head.fpn_bottleneck.": "a UPerNet",
    "decode_head.psp_modules.": "a PSPNet",
    "decode_head.c1_bottleneck.": "a DeepLabV3+",
    "decode_head.aspp_modules.": "a DeepLabV3",
    "decode_head.fusion_conv.": "a SegFormer",
    "decode_head.0.": "a network with a cascade of heads, such as OCRNet",
    "backbone.stage4.": "a network on HRNet",
    "backbone.encoder.": "a network on UNet",
}
KNOWN = "known here are its FCNs on ResNet-18, 50 and 101, whose decode_head has convs, conv_cat and conv_seg"


def layers(spec: ModelSpec) -> Iterator[Layer]:
    """Lists every layer of an FCN, in the order of mmsegmentation's state_dict."""
    name, widths = BACKBONES[spec.name], spec.features or RESNET_WIDTHS
    yield from resnet(name, spec.in_channels, "backbone.", widths, deep_stem=spec.stem == "deep")
    layer3, layer4 = (DEPTHS[name].expansion * width for width in widths[-2:])
    yield from _head(layer4, spec.num_classes)
    if spec.aux_loss:
        yield from _aux_head(layer3, spec.num_classes)


def _head(inputs: int, num_classes: int) -> Iterator[Layer]:
    channels = inputs // 4
    yield Layer("decode_head.conv_seg", "classifier.score", CONV_BIAS, (num_classes, channels, 1, 1))
    for source, ours, width in (
        ("convs.0", "1", inputs),
        ("convs.1", "2", channels),
        ("conv_cat", "_cat", inputs + channels),
    ):
        shape = (channels, width, 3, 3)
        yield Layer(f"decode_head.{source}.conv", f"classifier.conv{ours}", CONV, shape)
        yield Layer(f"decode_head.{source}.bn", f"classifier.bn{ours}", BATCH_NORM, (channels,))


def _aux_head(inputs: int, num_classes: int) -> Iterator[Layer]:
    channels, source, ours = inputs // 4, "auxiliary_head", "aux_classifier"
    yield Layer(f"{source}.conv_seg", f"{ours}.score", CONV_BIAS, (num_classes, channels, 1, 1))
    yield Layer(f"{source}.convs.0.conv", f"{ours}.conv", CONV, (channels, inputs, 3, 3))
    yield Layer(f"{source}.convs.0.bn", f"{ours}.bn", BATCH_NORM, (channels,))


def recognize(shapes: Shapes) -> tuple[ModelSpec, str] | None:
    """Infers the spec, but for D6 and `align_corners`, and whose names these are.

    Returns:
      (spec, SOURCE or OURS), or None if the tensors are not mmsegmentation's.

    Raises:
      CheckpointError: they are, but there is no model for this network here.
    """
    if any(name.startswith("decode_head.") for name in shapes):
        _refuse_others(shapes)
        side, kernel, score, aux = SOURCE, "weight", "decode_head.conv_seg.bias", "auxiliary_head."
    elif "classifier.conv_cat.kernel" in shapes:
        side, kernel, score, aux = OURS, "kernel", "classifier.score.bias", "aux_classifier."
    else:
        return None

    def channels(layer: str, axis: int = 0) -> int:
        """Counts a convolution's output channels (axis 0) or input channels (axis 1)."""
        shape = _shape_of(shapes, f"backbone.{layer}.{kernel}", 4)
        return shape[axis] if side == SOURCE else shape[3 - axis]

    depth = find_depth(shapes, "backbone.", ("resnet18", "resnet50", "resnet101"))
    deep = any(name.startswith("backbone.stem.") for name in shapes)
    first, last = ("stem.0", "stem.6") if side == SOURCE else ("stem.conv1", "stem.conv3")
    stem = channels(last if deep else "conv1")
    spec = ModelSpec(
        name=f"fcn_r{depth.removeprefix('resnet')}_d8",
        num_classes=_shape_of(shapes, score, 1)[0],
        aux_loss=any(name.startswith(aux) for name in shapes),
        features=(stem, *(channels(f"layer{stage}.0.conv1") for stage in (1, 2, 3, 4))),
        in_channels=channels(first if deep else "conv1", axis=1),
        stem="deep" if deep else "torchvision",
    )
    return spec, side


def _refuse_others(shapes: Shapes) -> None:
    """Raises CheckpointError, with the network's name if it is known, unless this is an FCN on a ResNet."""
    for beginning, network in OTHERS.items():
        if any(name.startswith(beginning) for name in shapes):
            raise CheckpointError(
                f"this is {network} of mmsegmentation (it has {beginning}*), which is not read; {KNOWN}"
            )
    if "decode_head.conv_cat.conv.weight" not in shapes:
        found = ", ".join(dict.fromkeys(name.split(".")[1] for name in shapes if "decode_head." in name))
        raise CheckpointError(
            f"this is another network of mmsegmentation, whose decode_head has {found}; {KNOWN}"
        )
    if "backbone.layer4.0.conv2.weight" not in shapes or "backbone.layer4.0.downsample.2.weight" in shapes:
        raise CheckpointError(f"this is mmsegmentation's FCN on a backbone that is not known here; {KNOWN}")
    if any(name.startswith("auxiliary_head.0.") for name in shapes):
        raise CheckpointError("this is mmsegmentation's FCN with several auxiliary heads; one is known here")


def _shape_of(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or len(shape) != rank:
        raise CheckpointError(
            f"this looks like mmsegmentation's FCN, but {name!r}, which shows its form, is "
            f"{'missing' if shape is None else f'of shape {shape}'}"
        )
    return shape


def _set_aside(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {}


FCNS = Family(
    description="mmsegmentation's FCNs on ResNet-18, 50 or 101",
    models=tuple(BACKBONES),
    preset=TORCHVISION,
    recognize=recognize,
    layers=layers,
    set_aside=_set_aside,
    preset_of_ours=TORCHVISION,
    twins=TWINS,
    describe=describe,
)
