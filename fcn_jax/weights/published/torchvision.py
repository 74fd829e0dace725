"""torchvision's published weights as data: its two FCNs and the ResNets for their backbones.

Source: the enums of torchvision 0.28, all facts and addresses. Only the whole digests and byte counts of the
two FCN files are second-hand, from model cards; they agree with the official 8 digits and published sizes.
"""

from functools import partial

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.transforms import ImageClassification, SemanticSegmentation
from fcn_jax.weights.published.entry import Weights, WeightsEnum

_SERVER = "https://download.pytorch.org/models/"
_RECIPES = "https://github.com/pytorch/vision/tree/main/references/"
_NEW_RECIPE = "https://github.com/pytorch/vision/issues/3995"


def _segmentation_meta(num_params: int, miou: float, pixel_acc: float, ops: float, file_size: float) -> dict:
    return {
        "categories": VOC_CATEGORIES,
        "min_size": (1, 1),
        "num_params": num_params,
        "_metrics": {"COCO-val2017-VOC-labels": {"miou": miou, "pixel_acc": pixel_acc}},
        "_ops": ops,
        "_file_size": file_size,
        "_docs": "Trained on the part of COCO with PASCAL VOC's 20 categories, on these categories only.",
    }


def _classification_meta(num_params: int, acc_1: float, acc_5: float, ops: float, file_size: float) -> dict:
    return {
        "min_size": (1, 1),
        "num_params": num_params,
        "_metrics": {"ImageNet-1K": {"acc@1": acc_1, "acc@5": acc_5}},
        "_ops": ops,
        "_file_size": file_size,
        "_docs": "An ImageNet-1K classifier; a backbone has all layers except the last.",
    }


class FCN_ResNet50_Weights(WeightsEnum):
    """Weights of `fcn_resnet50`: backbone and both heads."""

    COCO_WITH_VOC_LABELS_V1 = Weights(
        url=_SERVER + "fcn_resnet50_coco-1167a1af.pth",
        transforms=partial(SemanticSegmentation, resize_size=520),
        meta={
            **_segmentation_meta(35_322_218, miou=60.5, pixel_acc=91.4, ops=152.717, file_size=135.009),
            "recipe": _RECIPES + "segmentation#fcn_resnet50",
        },
        sha256="1167a1affa42e1e62858f8d3fac12d109e0108327ffc91c5855a324b11683c36",
        size=141_567_418,
    )
    DEFAULT = COCO_WITH_VOC_LABELS_V1


class FCN_ResNet101_Weights(WeightsEnum):
    """Weights of `fcn_resnet101`: backbone and both heads. The wrong link under `recipe` is torchvision's."""

    COCO_WITH_VOC_LABELS_V1 = Weights(
        url=_SERVER + "fcn_resnet101_coco-7ecb50ca.pth",
        transforms=partial(SemanticSegmentation, resize_size=520),
        meta={
            **_segmentation_meta(54_314_346, miou=63.7, pixel_acc=91.9, ops=232.738, file_size=207.711),
            "recipe": _RECIPES + "segmentation#deeplabv3_resnet101",
        },
        sha256="7ecb50ca17844860a70d5ed0c748d997cf8adb62932abaa0233430c68594d749",
        size=217_800_805,
    )
    DEFAULT = COCO_WITH_VOC_LABELS_V1


class ResNet50_Weights(WeightsEnum):
    """Weights of the ResNet-50 backbone.

    `meta` has no `categories`: only the backbone is loaded, not the classifier's last layer.
    """

    IMAGENET1K_V1 = Weights(
        url=_SERVER + "resnet50-0676ba61.pth",
        transforms=partial(ImageClassification, crop_size=224),
        meta={
            **_classification_meta(25_557_032, acc_1=76.130, acc_5=92.862, ops=4.089, file_size=97.781),
            "recipe": _RECIPES + "classification#resnet",
        },
    )
    IMAGENET1K_V2 = Weights(
        url=_SERVER + "resnet50-11ad3fa6.pth",
        transforms=partial(ImageClassification, crop_size=224, resize_size=232),
        meta={
            **_classification_meta(25_557_032, acc_1=80.858, acc_5=95.434, ops=4.089, file_size=97.79),
            "recipe": _NEW_RECIPE + "#issuecomment-1013906621",
        },
    )
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    """Weights of the ResNet-101 backbone; `meta` has no `categories`."""

    IMAGENET1K_V1 = Weights(
        url=_SERVER + "resnet101-63fe2227.pth",
        transforms=partial(ImageClassification, crop_size=224),
        meta={
            **_classification_meta(44_549_160, acc_1=77.374, acc_5=93.546, ops=7.801, file_size=170.511),
            "recipe": _RECIPES + "classification#resnet",
        },
    )
    IMAGENET1K_V2 = Weights(
        url=_SERVER + "resnet101-cd907fc2.pth",
        transforms=partial(ImageClassification, crop_size=224, resize_size=232),
        meta={
            **_classification_meta(44_549_160, acc_1=81.886, acc_5=95.780, ops=7.801, file_size=170.53),
            "recipe": _NEW_RECIPE + "#new-recipe",
        },
    )
    DEFAULT = IMAGENET1K_V2
