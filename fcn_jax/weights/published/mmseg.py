"""mmsegmentation's 41 published FCNs: addresses and facts.

A member's name says the dataset, the crop in training, and the schedule; B_ marks torchvision's stem. Every
network for 769x769 upsamples with aligned corners and was tested in a sliding window. The first digits of
each file's SHA-256 end its name. DEFAULT is the best on Cityscapes.

Source: `configs/fcn/fcn.yml` and README.md of mmsegmentation at 02e04cc; scores are mean IoU in percent.
"""

import re
from functools import partial

from fcn_jax.categories import (
    ADE20K_CATEGORIES,
    ADE20K_PALETTE,
    CITYSCAPES_CATEGORIES,
    CITYSCAPES_PALETTE,
    PASCAL_CONTEXT_CATEGORIES,
    VOC_CATEGORIES,
)
from fcn_jax.transforms import FitWithin
from fcn_jax.weights.published.entry import Weights, WeightsEnum

_SERVER = "https://download.openmmlab.com/mmsegmentation/v0.5/fcn"
_CONFIGS = "https://github.com/open-mmlab/mmsegmentation/tree/02e04cc/configs/fcn"
_VOC = ("background", *VOC_CATEGORIES[1:])
# By the end of a file's name: the dataset, its classes and colours, and the size that pictures fit within.
_DATASETS = {
    "cityscapes": ("Cityscapes-val", CITYSCAPES_CATEGORIES, CITYSCAPES_PALETTE, (2048, 1024)),
    "ade20k": ("ADE20K-val", ADE20K_CATEGORIES, ADE20K_PALETTE, (2048, 512)),
    "voc12aug": ("PASCAL-VOC2012-val", _VOC, None, (2048, 512)),
    "pascal_context": ("PASCAL-Context-val", PASCAL_CONTEXT_CATEGORIES, None, (520, 520)),
    "pascal_context_59": ("PASCAL-Context-59-val", PASCAL_CONTEXT_CATEGORIES[1:], None, (520, 520)),
}
_WINDOWS = {"769x769": ((769, 769), (513, 513)), "480x480": ((480, 480), (320, 320))}
# Parameters of the backbone with torchvision's stem, and of the heads but their scores; of a deep stem, more.
_PARAMETERS = {
    "18": (11_176_512, 1_475_328 + 147_584, 128 + 64),
    "50": (23_508_032, 23_596_032 + 2_359_808, 512 + 256),
    "101": (42_500_160, 23_596_032 + 2_359_808, 512 + 256),
}
_DEEP_STEM = 28_768 - 9_536
_NAME = re.compile(r"fcn_(?:d6_)?r(\d+)(b?)-d(?:8|16)_(?:fp16_)?(\d+x\d+)_(\d+k)_(\w+)")


def _released(config: str, dated: str, miou: float, augmented: float | None = None) -> Weights:
    """Describes a published file.

    Args:
      config: the name of its folder, which is that of its first config.
      dated: what its name adds: the date and the digest's first digits.
      miou, augmented: its scores, of one view, and averaged over six scales and mirror images.
    """
    found = _NAME.fullmatch(config)
    assert found, f"{config} is not in the form of these names"
    depth, plain, crop, _, ending = found.groups()
    dataset, categories, palette, (long, short) = _DATASETS[ending]
    num_classes, (backbone, heads, channels) = len(categories), _PARAMETERS[depth]
    window = _WINDOWS.get(crop)
    return Weights(
        url=f"{_SERVER}/{config}/{config}_{dated}.pth",
        transforms=partial(FitWithin, long=long, short=short),
        meta={
            "categories": categories,
            "palette": palette,
            "num_params": backbone + heads + (0 if plain else _DEEP_STEM) + num_classes * (channels + 2),
            "min_size": (1, 1),
            "recipe": _CONFIGS,
            "config": config,
            "window": window and {"crop": window[0], "stride": window[1]},
            "spec": {
                "num_classes": num_classes,
                "stem": "torchvision" if plain else "deep",
                "align_corners": crop == "769x769",
            },
            "_metrics": {
                dataset: {"miou": miou} | ({} if augmented is None else {"miou_ms_flip": augmented})
            },
        },
    )


class FCN_R50_D8_Weights(WeightsEnum):
    """Weights of `fcn_r50_d8`: backbone and both heads."""

    CITYSCAPES_512X1024_40K = _released(
        "fcn_r50-d8_512x1024_40k_cityscapes", "20200604_192608-efe53f0d", 72.25, 73.36
    )
    CITYSCAPES_769X769_40K = _released(
        "fcn_r50-d8_769x769_40k_cityscapes", "20200606_113104-977b5d02", 71.47, 72.54
    )
    CITYSCAPES_512X1024_80K = _released(
        "fcn_r50-d8_512x1024_80k_cityscapes", "20200606_113019-03aa804d", 73.61, 74.24
    )
    CITYSCAPES_769X769_80K = _released(
        "fcn_r50-d8_769x769_80k_cityscapes", "20200606_195749-f5caeabc", 72.64, 73.32
    )
    ADE20K_512X512_80K = _released("fcn_r50-d8_512x512_80k_ade20k", "20200614_144016-f8ac5082", 35.94, 37.94)
    ADE20K_512X512_160K = _released("fcn_r50-d8_512x512_160k_ade20k", "20200615_100713-4edbc3b4", 36.1, 38.08)
    VOC12AUG_512X512_20K = _released(
        "fcn_r50-d8_512x512_20k_voc12aug", "20200617_010715-52dc5306", 67.08, 69.94
    )
    VOC12AUG_512X512_40K = _released(
        "fcn_r50-d8_512x512_40k_voc12aug", "20200613_161222-5e2dbf40", 66.97, 69.04
    )
    B_CITYSCAPES_769X769_80K = _released(
        "fcn_r50b-d8_769x769_80k_cityscapes", "20201225_094223-94552d38", 73.83, 76.6
    )
    B_CITYSCAPES_512X1024_80K = _released(
        "fcn_r50b-d8_512x1024_80k_cityscapes", "20201225_094221-82957416", 75.65, 77.59
    )
    DEFAULT = B_CITYSCAPES_512X1024_80K


class FCN_R101_D8_Weights(WeightsEnum):
    """Weights of `fcn_r101_d8`: backbone and both heads."""

    CITYSCAPES_512X1024_40K = _released(
        "fcn_r101-d8_512x1024_40k_cityscapes", "20200604_181852-a883d3a1", 75.45, 76.58
    )
    CITYSCAPES_769X769_40K = _released(
        "fcn_r101-d8_769x769_40k_cityscapes", "20200606_113208-7d4ab69c", 73.93, 75.14
    )
    CITYSCAPES_512X1024_80K = _released(
        "fcn_r101-d8_512x1024_80k_cityscapes", "20200606_113038-3fb937eb", 75.13, 75.94
    )
    CITYSCAPES_512X1024_80K_FP16 = _released(
        "fcn_r101-d8_fp16_512x1024_80k_cityscapes", "20200717_230921-fb13e883", 76.8
    )
    CITYSCAPES_769X769_80K = _released(
        "fcn_r101-d8_769x769_80k_cityscapes", "20200606_214354-45cbac68", 75.52, 76.61
    )
    ADE20K_512X512_80K = _released("fcn_r101-d8_512x512_80k_ade20k", "20200615_014143-bc1809f7", 39.61, 40.83)
    ADE20K_512X512_160K = _released(
        "fcn_r101-d8_512x512_160k_ade20k", "20200615_105816-fd192bd5", 39.91, 41.4
    )
    VOC12AUG_512X512_20K = _released(
        "fcn_r101-d8_512x512_20k_voc12aug", "20200617_010842-0bb4e798", 71.16, 73.57
    )
    VOC12AUG_512X512_40K = _released(
        "fcn_r101-d8_512x512_40k_voc12aug", "20200613_161240-4c8bcefd", 69.91, 72.38
    )
    PASCAL_CONTEXT_480X480_40K = _released(
        "fcn_r101-d8_480x480_40k_pascal_context", "20210421_154757-b5e97937", 44.43, 45.63
    )
    PASCAL_CONTEXT_480X480_80K = _released(
        "fcn_r101-d8_480x480_80k_pascal_context", "20210421_163310-4711813f", 44.13, 45.26
    )
    PASCAL_CONTEXT_59_480X480_40K = _released(
        "fcn_r101-d8_480x480_40k_pascal_context_59", "20210415_230724-8cf83682", 48.42, 50.4
    )
    PASCAL_CONTEXT_59_480X480_80K = _released(
        "fcn_r101-d8_480x480_80k_pascal_context_59", "20210416_110804-9a6f2c94", 49.35, 51.38
    )
    B_CITYSCAPES_769X769_80K = _released(
        "fcn_r101b-d8_769x769_80k_cityscapes", "20201226_170012-82be37e2", 77.02, 78.67
    )
    B_CITYSCAPES_512X1024_80K = _released(
        "fcn_r101b-d8_512x1024_80k_cityscapes", "20201226_160213-4543858f", 77.37, 78.77
    )
    DEFAULT = B_CITYSCAPES_512X1024_80K


class FCN_R50_D6_Weights(WeightsEnum):
    """Weights of `fcn_r50_d6`: backbone and both heads."""

    CITYSCAPES_512X1024_40K = _released(
        "fcn_d6_r50-d16_512x1024_40k_cityscapes", "20210305_130133-98d5d1bc", 77.06, 78.85
    )
    CITYSCAPES_769X769_40K = _released(
        "fcn_d6_r50-d16_769x769_40k_cityscapes", "20210305_185744-1aab18ed", 76.82, 78.22
    )
    CITYSCAPES_769X769_80K = _released(
        "fcn_d6_r50-d16_769x769_80k_cityscapes", "20210305_200413-109d88eb", 77.04, 78.4
    )
    B_CITYSCAPES_512X1024_80K = _released(
        "fcn_d6_r50b-d16_512x1024_80k_cityscapes", "20210311_125550-6a0b62e9", 76.99, 79.03
    )
    B_CITYSCAPES_769X769_80K = _released(
        "fcn_d6_r50b-d16_769x769_80k_cityscapes", "20210311_131012-d665f231", 76.86, 78.52
    )
    CITYSCAPES_512X1024_80K = _released(
        "fcn_d6_r50-d16_512x1024_80k_cityscapes", "20210306_115604-133c292f", 77.27, 78.88
    )
    DEFAULT = CITYSCAPES_512X1024_80K


class FCN_R101_D6_Weights(WeightsEnum):
    """Weights of `fcn_r101_d6`: backbone and both heads."""

    CITYSCAPES_512X1024_40K = _released(
        "fcn_d6_r101-d16_512x1024_40k_cityscapes", "20210305_130337-9cf2b450", 77.36, 79.18
    )
    CITYSCAPES_769X769_40K = _released(
        "fcn_d6_r101-d16_769x769_40k_cityscapes", "20210308_102453-60b114e9", 77.28, 78.95
    )
    CITYSCAPES_769X769_80K = _released(
        "fcn_d6_r101-d16_769x769_80k_cityscapes", "20210306_120016-e33adc4f", 78.06, 79.58
    )
    B_CITYSCAPES_512X1024_80K = _released(
        "fcn_d6_r101b-d16_512x1024_80k_cityscapes", "20210311_144305-3f2eb5b4", 77.72, 79.53
    )
    B_CITYSCAPES_769X769_80K = _released(
        "fcn_d6_r101b-d16_769x769_80k_cityscapes", "20210311_154527-c4d8bfbc", 77.34, 78.91
    )
    CITYSCAPES_512X1024_80K = _released(
        "fcn_d6_r101-d16_512x1024_80k_cityscapes", "20210308_102747-cb336445", 78.46, 80.42
    )
    DEFAULT = CITYSCAPES_512X1024_80K


class FCN_R18_D8_Weights(WeightsEnum):
    """Weights of `fcn_r18_d8`: backbone and both heads."""

    CITYSCAPES_769X769_80K = _released(
        "fcn_r18-d8_769x769_80k_cityscapes", "20201225_021451-9739d1b8", 70.8, 73.16
    )
    B_CITYSCAPES_512X1024_80K = _released(
        "fcn_r18b-d8_512x1024_80k_cityscapes", "20201225_230143-92c0f445", 70.24, 72.77
    )
    B_CITYSCAPES_769X769_80K = _released(
        "fcn_r18b-d8_769x769_80k_cityscapes", "20201226_004430-32d504e5", 69.66, 72.07
    )
    CITYSCAPES_512X1024_80K = _released(
        "fcn_r18-d8_512x1024_80k_cityscapes", "20201225_021327-6c50f8b4", 71.11, 72.91
    )
    DEFAULT = CITYSCAPES_512X1024_80K
