"""The networks of the FCN paper, layer by layer, and the ImageNet classifiers that their backbones come from.

Our names are Caffe's; the PyTorch port (torchfcn) has the same. torchvision's vgg16 numbers its layers, and
has fc6 and fc7 as matrices.

Source: Long, Shelhamer and Darrell, `fcn.berkeleyvision.org` (net.py of each network), and the state_dicts of
`torchfcn.models` and `torchvision.models.vgg`.
"""

from collections.abc import Iterator

from weights_converter.spec import PUBLISHED_WIDTHS, TRUNKS, ModelSpec
from weights_converter.tables.layer import (
    CONV_BIAS,
    DECONV,
    DENSE_AS_CONV,
    Kind,
    Layer,
)

VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions of each block
CAFFENET_CONVS = ((11, 1), (5, 2), (3, 1), (3, 2), (3, 2))  # kernel and groups of conv1 to conv5
FC6_KERNELS = {"vgg16": 7, "caffenet": 6}

# What follows the backbone and score_fr, in the port's order: score layers, and {upsampling: kernel size}.
HEADS = {
    "fcn32s_vgg16": ((), {"upscore": 64}),
    "fcn16s_vgg16": (("score_pool4",), {"upscore2": 4, "upscore16": 32}),
    "fcn8s_vgg16": (("score_pool3", "score_pool4"), {"upscore2": 4, "upscore8": 16, "upscore_pool4": 4}),
    "fcn8s_atonce_vgg16": (
        ("score_pool3", "score_pool4"),
        {"upscore2": 4, "upscore8": 16, "upscore_pool4": 4},
    ),
    "fcn32s_alexnet": ((), {"upscore": 63}),
}
BACKBONES = {name: "caffenet" if name == "fcn32s_alexnet" else "vgg16" for name in HEADS}
POOLED_BLOCKS = {"score_pool3": 2, "score_pool4": 3}  # the block that each score layer reads

VGG16_LAYERS = (
    *(f"conv{block}_{index + 1}" for block, count in enumerate(VGG16_BLOCKS, 1) for index in range(count)),
    *("fc6", "fc7"),
)
VGG16_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
TORCHVISION_NAMES = dict(
    zip(
        VGG16_LAYERS,
        (*(f"features.{number}" for number in VGG16_FEATURES), "classifier.0", "classifier.3"),
        strict=True,
    )
)


def fcn_layers(spec: ModelSpec) -> Iterator[Layer]:
    """Lists every layer of a paper's network, in the order of the PyTorch port's state_dict."""
    num_classes, (features, fc_features) = spec.num_classes, widths(spec, BACKBONES[spec.name])
    for layer in _backbone(spec, BACKBONES[spec.name], CONV_BIAS):
        yield layer._replace(ours=f"backbone.{layer.ours}")
    scores, upscores = HEADS[spec.name]
    yield Layer("score_fr", "score_fr", CONV_BIAS, (num_classes, fc_features, 1, 1))
    for score in scores:
        yield Layer(score, score, CONV_BIAS, (num_classes, features[POOLED_BLOCKS[score]], 1, 1))
    for upscore, kernel in upscores.items():
        yield Layer(upscore, upscore, DECONV, (num_classes, num_classes, kernel, kernel))


def classifier_layers(spec: ModelSpec) -> Iterator[Layer]:
    """Lists the layers that a backbone takes from an ImageNet classifier or its trunk, in Caffe's names."""
    whole = {trunk: name for name, trunk in TRUNKS.items()}
    layers = _backbone(spec, whole.get(spec.name, spec.name), DENSE_AS_CONV)
    return (layer for layer in layers if spec.name not in whole or layer.ours not in ("fc6", "fc7"))


def torchvision_layers(spec: ModelSpec) -> Iterator[Layer]:
    """Lists the same layers in torchvision's names."""
    for layer in classifier_layers(spec):
        yield layer._replace(source=TORCHVISION_NAMES[layer.source])


def widths(spec: ModelSpec, backbone: str) -> tuple[tuple[int, ...], int]:
    """Returns the widths of the five blocks, and of fc6 and fc7; as published if the spec has none."""
    features, fc_features = PUBLISHED_WIDTHS[backbone]
    return spec.features or features, spec.fc_features or fc_features


def _backbone(spec: ModelSpec, name: str, dense: Kind) -> Iterator[Layer]:
    features, fc = widths(spec, name)
    inputs = spec.in_channels
    if name == "vgg16":
        for block, (width, count) in enumerate(zip(features, VGG16_BLOCKS, strict=True), 1):
            for index in range(count):
                at = f"conv{block}_{index + 1}"
                yield Layer(at, at, CONV_BIAS, (width, inputs, 3, 3))
                inputs = width
    else:
        for block, (width, (kernel, groups)) in enumerate(zip(features, CAFFENET_CONVS, strict=True), 1):
            yield Layer(f"conv{block}", f"conv{block}", CONV_BIAS, (width, inputs // groups, kernel, kernel))
            inputs = width
    kernel = FC6_KERNELS[name]
    yield Layer("fc6", "fc6", dense, (fc, inputs, kernel, kernel))
    yield Layer("fc7", "fc7", dense, (fc, fc, 1, 1))
