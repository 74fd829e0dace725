"""The paper's own networks: scores of coarse maps, upsampled and added to those of finer ones.

Scores of fc7 are upsampled by a transposed convolution, laid on the scores of the next finer map, cropped to
their size, and added; the sum goes on to the next skip. One last upsampling brings them to the image.
FCN-32s, FCN-16s and FCN-8s are no skips, one and two. Every crop follows from the grids of the two maps.

Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015), and
Shelhamer, Long, Darrell (2016), in the form of the authors' released nets; "as in the CVPR text" the
intermediate upsamplings learn, "as released" none does, which the authors report to make no significant
difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.alexnet import AlexNet
from fcn_jax.models.checks import check_images, check_num_classes
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.grid import FeatureMap, Grid
from fcn_jax.models.layers import Fixed, at_least_float32, conv
from fcn_jax.models.vgg import BORDER, VGG16, ZEROS

LearnUpsampling = Literal["none", "intermediate"]


@dataclass(frozen=True)
class Upsampling:
    """A transposed convolution by its name."""

    name: str
    kernel: int
    stride: int


@dataclass(frozen=True)
class Skip:
    """One step to a finer map: upsample what there is, then add the map's own scores.

    Attributes:
      upsampling: brings the scores so far to the stride of the map.
      source: the trunk's map.
      scale: multiplies the map before its score layer; the at-once net's constants.
    """

    upsampling: Upsampling
    source: str
    scale: float = 1.0

    @property
    def score(self) -> str:
        """Names the score layer."""
        return f"score_{self.source}"


@dataclass(frozen=True)
class Variant:
    """What tells one network of the paper from another."""

    name: str
    trunk: type[VGG16] | type[AlexNet]
    skips: tuple[Skip, ...]
    last: Upsampling


UPSCORE2 = Upsampling("upscore2", 4, 2)
UPSCORE_POOL4 = Upsampling("upscore_pool4", 4, 2)
UPSCORE8 = Upsampling("upscore8", 16, 8)

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("fcn32s_vgg16", VGG16, (), Upsampling("upscore", 64, 32)),
        Variant("fcn16s_vgg16", VGG16, (Skip(UPSCORE2, "pool4"),), Upsampling("upscore16", 32, 16)),
        Variant("fcn8s_vgg16", VGG16, (Skip(UPSCORE2, "pool4"), Skip(UPSCORE_POOL4, "pool3")), UPSCORE8),
        Variant(
            "fcn8s_atonce_vgg16",
            VGG16,
            (Skip(UPSCORE2, "pool4", scale=0.01), Skip(UPSCORE_POOL4, "pool3", scale=0.0001)),
            UPSCORE8,
        ),
        Variant("fcn32s_alexnet", AlexNet, (), Upsampling("upscore", 63, 32)),
    )
}


class SkipFCN(nnx.Module):
    """Scores every pixel of an image for every class; folds over the skips of its variant.

    Score layers start at zero, so a new network finds all classes alike; upsamplings start bilinear. A fixed
    one is a `Fixed` variable: saved and loaded, without gradient or weight decay, and kept in at least
    float32.

    Args:
      backbone: the variant's trunk.
      variant: its skips and upsamplings.
      learn_upsampling: "none", as released: all upsamplings are fixed; "intermediate", as in the CVPR text:
        all but the last learn.
      dtype: of the computation; score layers and upsamplings compute in at least float32.

    Attributes:
      border: rows and columns of zeros that the trunk adds on every side of an image.
      transforms: prepares a picture for these weights; set by the builders.
      categories: names of the classes, where the weights came with them; set by the builders.

    Raises:
      ValueError: fewer than one class, or an unknown `learn_upsampling`.
    """

    border: ClassVar[int] = BORDER
    transforms: Callable[..., Any] | None = None
    categories: tuple[str, ...] | None = None

    def __init__(
        self,
        backbone: VGG16 | AlexNet,
        variant: Variant,
        num_classes: int = 21,
        *,
        learn_upsampling: LearnUpsampling = "none",
        dtype=None,
        param_dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_num_classes(num_classes)
        if learn_upsampling not in ("none", "intermediate"):
            raise ValueError(f"learn_upsampling: expected 'none' or 'intermediate', got {learn_upsampling!r}")
        settings = {"rngs": rngs, "dtype": None if dtype is None else jnp.promote_types(dtype, jnp.float32)}
        fixed_dtype = jnp.promote_types(param_dtype, jnp.float32)

        def score(name: str) -> nnx.Conv:
            zero = {"kernel_init": ZEROS, "bias_init": ZEROS}
            return conv(backbone.channels(name), num_classes, 1, param_dtype=param_dtype, **zero, **settings)

        def upsampling(shape: Upsampling, learns: bool) -> Deconvolution:
            return Deconvolution(
                num_classes,
                num_classes,
                shape.kernel,
                stride=shape.stride,
                kernel_variable=nnx.Param if learns else Fixed,
                param_dtype=param_dtype if learns else fixed_dtype,
                **settings,
            )

        self.variant = variant
        self.backbone = backbone
        self.score_fr = score("fc7")
        learns = learn_upsampling == "intermediate"
        for skip in variant.skips:
            setattr(self, skip.upsampling.name, upsampling(skip.upsampling, learns))
            setattr(self, skip.score, score(skip.source))
        setattr(self, variant.last.name, upsampling(variant.last, learns=False))

    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Computes logits at the size of the images.

        Args:
          images: (N, H, W, 3) float, normalized by the weights' transforms; any H, W of at least 1.

        Returns:
          {"out": (N, H, W, num_classes)} logits, at least float32.

        Raises:
          ValueError: images of another rank, channel count or dtype.
        """
        return self.upsample(self.scores(images), images.shape[1:3])

    def scores(self, images: jax.Array) -> dict[str, FeatureMap]:
        """Computes what the last upsampling reads: scores at the stride of the finest skip."""
        check_images(images)
        maps = {name: x.apply(at_least_float32) for name, x in self.backbone(images).items()}
        scores = maps["fc7"].conv(self.score_fr)  # stride 32
        for skip in self.variant.skips:
            scores = scores.deconv(getattr(self, skip.upsampling.name))  # stride 16, then 8
            finer = maps[skip.source].apply(partial(jnp.multiply, skip.scale))
            scores = finer.conv(getattr(self, skip.score)).crop_to(scores).add(scores)
        return {"out": scores}

    def upsample(self, scores: dict[str, FeatureMap], size: tuple[int, int]) -> dict[str, jax.Array]:
        """Brings the scores to images of size (H, W)."""
        logits = scores["out"].deconv(
            getattr(self, self.variant.last.name)
        )  # stride 1, larger than the images
        return {"out": logits.cut(Grid(), size).values}


def create(
    variant: Variant,
    *,
    num_classes: int = 21,
    features: tuple[int, ...] | None = None,
    fc_features: int = 4096,
    learn_upsampling: LearnUpsampling = "none",
    rngs: nnx.Rngs,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> SkipFCN:
    """Makes a network of the paper with a random trunk, in training mode.

    Args:
      variant: one of `VARIANTS`.
      features: the five widths of the trunk's convolutions; the published ones if not given.
      fc_features: the width of fc6 and fc7.

    The rest, and the errors, are those of `SkipFCN` and its trunk.
    """
    settings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
    widths = {} if features is None else {"features": tuple(features)}
    backbone = variant.trunk(fc_features=fc_features, **widths, **settings)
    return SkipFCN(backbone, variant, num_classes, learn_upsampling=learn_upsampling, **settings)
