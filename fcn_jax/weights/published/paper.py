"""Published weights of the paper's networks and of the classifiers they start from: addresses and facts.

The authors' files are Caffe's. Their SHA-1 digests are second-hand, from file lists of other projects' tests.
A file without a digest is listed, but not downloaded.

Source: the authors' README for the scores (mean IU on seg11valid, 736 images), torchvision for its own file.
"""

from functools import partial

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.transforms import CaffeSegmentation, ImageClassification
from fcn_jax.weights.published.entry import Weights, WeightsEnum

_CAFFE = "http://dl.caffe.berkeleyvision.org/"
_RECIPE = "https://github.com/shelhamer/fcn.berkeleyvision.org"


def _released(file_name: str, num_params: int, mean_iu: float, sha1: str | None = None) -> Weights:
    return Weights(
        url=_CAFFE + file_name,
        transforms=CaffeSegmentation,
        meta={
            "categories": VOC_CATEGORIES,
            "num_params": num_params,
            "min_size": (1, 1),
            "recipe": _RECIPE,
            "_metrics": {"PASCAL-VOC2011-seg11valid": {"miou": mean_iu}},
        },
        sha1=sha1,
    )


class FCN32s_VGG16_Weights(WeightsEnum):
    """The authors' FCN-32s, trained on SBD."""

    PASCAL_CAFFE = _released(
        "fcn32s-heavy-pascal.caffemodel", 136_152_917, 63.6, "05eb922d7829c39448f57e5ab9d8cd75d6c0be6d"
    )
    DEFAULT = PASCAL_CAFFE


class FCN16s_VGG16_Weights(WeightsEnum):
    """The authors' FCN-16s, started from their 32s."""

    PASCAL_CAFFE = _released("fcn16s-heavy-pascal.caffemodel", 134_815_994, 65.0)
    DEFAULT = PASCAL_CAFFE


class FCN8s_VGG16_Weights(WeightsEnum):
    """The authors' FCN-8s, started from their 16s."""

    PASCAL_CAFFE = _released(
        "fcn8s-heavy-pascal.caffemodel", 134_489_759, 65.5, "c449ea74dd7d83751d1357d6a8c323fcf4038962"
    )
    DEFAULT = PASCAL_CAFFE


class FCN8s_AtOnce_VGG16_Weights(WeightsEnum):
    """The authors' FCN-8s, trained in one stage with scaled skips."""

    PASCAL_CAFFE = _released("fcn8s-atonce-pascal.caffemodel", 134_489_759, 65.4)
    DEFAULT = PASCAL_CAFFE


class FCN32s_AlexNet_Weights(WeightsEnum):
    """The authors' FCN-AlexNet."""

    PASCAL_CAFFE = _released("fcn-alexnet-pascal.caffemodel", 58_704_590, 48.0)
    DEFAULT = PASCAL_CAFFE


class VGG16_Weights(WeightsEnum):
    """Weights of the VGG16 backbone: torchvision's, and the Oxford release that the paper started from.

    They expect different images, RGB normalized or BGR minus mean; see each member's transforms. DEFAULT is
    the Oxford release, unlike in torchvision's enum of this name. `meta` has no `categories`: only a
    classifier's backbone is loaded.
    """

    IMAGENET1K_V1 = Weights(
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        transforms=partial(ImageClassification, crop_size=224),
        meta={
            "num_params": 138_357_544,
            "min_size": (32, 32),
            "recipe": "https://github.com/pytorch/vision/tree/main/references/classification#alexnet-and-vgg",
            "_metrics": {"ImageNet-1K": {"acc@1": 71.592, "acc@5": 90.382}},
            "_ops": 15.47,
            "_file_size": 527.796,
            "_docs": "Trained from scratch on ImageNet by torchvision's simple recipe.",
        },
    )
    ILSVRC_CAFFE = Weights(
        url="http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        transforms=CaffeSegmentation,
        meta={"num_params": 138_357_544, "min_size": (32, 32), "_metrics": {}},
        sha1="9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
    )
    DEFAULT = ILSVRC_CAFFE


class CaffeNet_Weights(WeightsEnum):
    """Weights of the CaffeNet backbone that FCN-AlexNet starts from; `meta` has no `categories`."""

    ILSVRC_CAFFE = Weights(
        url=_CAFFE + "bvlc_reference_caffenet.caffemodel",
        transforms=CaffeSegmentation,
        meta={"num_params": 60_965_224, "min_size": (227, 227), "_metrics": {}},
        sha1="4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
    )
    DEFAULT = ILSVRC_CAFFE
