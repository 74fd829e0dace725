"""The paper's networks: logits of coarse maps are upsampled and added to logits of finer maps.

A transposed convolution upsamples the logits of fc7. The logits of the next finer map are cropped to that
size and added; the sum goes on to the next skip. A last upsampling leads to the size of the image. FCN-32s,
FCN-16s and FCN-8s have no, one and two skips. Every crop is computed from the grids of the two maps.

Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015), and
Shelhamer, Long, Darrell (2016), in the form of the authors' released nets. There no upsampling learns; in
the CVPR text the intermediate upsamplings do. The authors report no significant difference.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.alexnet import AlexNet
from fcn_jax.models.arrays import named_variables
from fcn_jax.models.checks import check_images
from fcn_jax.models.deconvolution import Deconvolution, bilinear
from fcn_jax.models.extent import Extent
from fcn_jax.models.grid import FeatureMap
from fcn_jax.models.layers import Fixed, at_least_float32, conv, wide
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.upsampling import TransposedUpsampler
from fcn_jax.models.vgg import BORDER, VGG16, ZEROS
from fcn_jax.transforms import CaffeSegmentation, Preset, SemanticSegmentation
from weights_converter.spec import PUBLISHED_WIDTHS, ModelSpec


@dataclass(frozen=True)
class Upsampling:
    """Name, kernel side and stride of a transposed convolution."""

    name: str
    kernel: int
    stride: int


@dataclass(frozen=True)
class Skip:
    """One step to a finer map: upsample the logits so far, then add the logits of the map.

    Attributes:
      upsampling: leads from the stride so far to the stride of the map.
      source: name of the backbone's map.
      scale: the map is multiplied by this before its score layer; not 1 only in the at-once net.
    """

    upsampling: Upsampling
    source: str
    scale: float = 1.0

    @property
    def score(self) -> str:
        """Name of the score layer, the 1x1 convolution from the map to logits."""
        return f"score_{self.source}"


@dataclass(frozen=True)
class Variant:
    """The settings in which the paper's networks differ.

    Attributes:
      coarser: name of the network from whose weights training starts, or None.
    """

    name: str
    backbone: type[VGG16] | type[AlexNet]
    skips: tuple[Skip, ...]
    last: Upsampling
    coarser: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the score layers and the upsamplings."""
        skips = (layer for skip in self.skips for layer in (skip.score, skip.upsampling.name))
        return ("score_fr", *skips, self.last.name)


UPSCORE2 = Upsampling("upscore2", 4, 2)
UPSCORE_POOL4 = Upsampling("upscore_pool4", 4, 2)
UPSCORE8 = Upsampling("upscore8", 16, 8)

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("fcn32s_vgg16", VGG16, (), Upsampling("upscore", 64, 32)),
        Variant(
            "fcn16s_vgg16",
            VGG16,
            (Skip(UPSCORE2, "pool4"),),
            Upsampling("upscore16", 32, 16),
            coarser="fcn32s_vgg16",
        ),
        Variant(
            "fcn8s_vgg16",
            VGG16,
            (Skip(UPSCORE2, "pool4"), Skip(UPSCORE_POOL4, "pool3")),
            UPSCORE8,
            coarser="fcn16s_vgg16",
        ),
        Variant(
            "fcn8s_atonce_vgg16",
            VGG16,
            (Skip(UPSCORE2, "pool4", scale=0.01), Skip(UPSCORE_POOL4, "pool3", scale=0.0001)),
            UPSCORE8,
        ),
        Variant("fcn32s_alexnet", AlexNet, (), Upsampling("upscore", 63, 32)),
    )
}


class SkipFCN(SegmentationModel):
    """A network of the paper; see `SegmentationModel`.

    Score layers start at zero, so a new network finds all classes equally likely; upsamplings start bilinear.
    The kernel of an upsampling that does not learn is a `Fixed` variable, at least float32.

    Args:
      spec: its name chooses the variant. With `learn_upsampling` "none", as in the released nets, no
        upsampling learns; with "intermediate", as in the CVPR text, all but the last learn.
      backbone: of the variant's class.
      dtype: of the computation; score layers and upsamplings compute in at least float32.
    """

    border = BORDER
    class_layers = ("score_", "upscore")

    def __init__(
        self,
        spec: ModelSpec,
        backbone: VGG16 | AlexNet,
        *,
        dtype=None,
        param_dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        variant, num_classes = VARIANTS[spec.name], spec.num_classes
        compute_dtype = None if dtype is None else wide(dtype)
        fixed_dtype = wide(param_dtype)

        def score(name: str) -> nnx.Conv:
            return conv(
                backbone.channels(name),
                num_classes,
                1,
                kernel_init=ZEROS,
                bias_init=ZEROS,
                dtype=compute_dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        def upsampling(shape: Upsampling, learns: bool) -> Deconvolution:
            return Deconvolution(
                num_classes,
                shape.kernel,
                stride=shape.stride,
                kernel_variable=nnx.Param if learns else Fixed,
                dtype=compute_dtype,
                param_dtype=param_dtype if learns else fixed_dtype,
            )

        self.spec = spec
        self.variant = variant
        self.backbone = backbone
        self.score_fr = score("fc7")
        learns = spec.learn_upsampling == "intermediate"
        for skip in variant.skips:
            setattr(self, skip.upsampling.name, upsampling(skip.upsampling, learns))
            setattr(self, skip.score, score(skip.source))
        setattr(self, variant.last.name, upsampling(variant.last, learns=False))

    def coarse_logits(self, images: jax.Array, sizes: jax.Array | None = None) -> dict[str, FeatureMap]:
        """Computes logits at the stride of the finest map that is used."""
        check_images(images, self.spec.in_channels)
        maps = {name: x.apply(at_least_float32) for name, x in self.backbone(images, Extent(sizes)).items()}
        coarse = maps["fc7"].conv(self.score_fr)  # stride 32
        for skip in self.variant.skips:
            coarse = coarse.deconv(getattr(self, skip.upsampling.name))  # stride 16, then 8
            finer = maps[skip.source].apply(partial(jnp.multiply, skip.scale))
            coarse = finer.conv(getattr(self, skip.score)).crop_to(coarse).add(coarse)
        return {"out": coarse}

    def upsampler(self) -> TransposedUpsampler:
        """Returns the last transposed convolution."""
        layer = getattr(self, self.variant.last.name)
        kernel = layer.kernel[...]
        return TransposedUpsampler(kernel.astype(layer.dtype or kernel.dtype), layer.stride)

    @property
    def coarser(self) -> str | None:
        """See `SegmentationModel`."""
        return self.variant.coarser

    @property
    def new_layers(self) -> tuple[str, ...]:
        """Name prefixes of the score layers and upsamplings that the coarser network lacks."""
        if self.variant.coarser is None:
            return ()
        coarser = VARIANTS[self.variant.coarser].layers
        return tuple(f"{layer}." for layer in self.variant.layers if layer not in coarser)

    def start_new_layers(self) -> None:
        """Sets new score layers to zero, so that new skips add nothing, and new upsamplings to bilinear."""
        for name, variable in named_variables(self).items():
            if name.startswith(self.new_layers):
                shape, dtype = variable.shape, variable.dtype
                upsamples = name.startswith("upscore")
                variable.set_value(bilinear(None, shape, dtype) if upsamples else jnp.zeros(shape, dtype))

    def use_remat(self) -> None:
        """See `SegmentationModel`; AlexNet has no blocks."""
        if not isinstance(self.backbone, VGG16):
            return super().use_remat()
        self.backbone.remat = True

    @staticmethod
    def default_transforms(preset: str | None) -> Preset:
        """Returns the paper's preset, Caffe's; or torchvision's for weights trained from its backbone.

        Neither resizes pictures.
        """
        return SemanticSegmentation(resize_size=None) if preset == "torchvision" else CaffeSegmentation()

    @property
    def backbone_spec(self) -> ModelSpec:
        """The spec of the ImageNet classifier that the backbone comes from."""
        name = "vgg16" if self.variant.backbone is VGG16 else "caffenet"
        return dataclasses.replace(self.spec, name=name, num_classes=0, learn_upsampling="none")


def create(spec: ModelSpec, *, rngs: nnx.Rngs, dtype: Any = None, param_dtype: Any = jnp.float32) -> SkipFCN:
    """Makes a network of the paper with a random backbone, in training mode.

    Args:
      spec: its name is one of `VARIANTS`; widths that are None become the published ones.
      dtype: of the computation; by default promoted from the parameters and the input.

    Raises:
      SettingError: the backbone cannot have these widths.
    """
    variant = VARIANTS[spec.name]
    features, fc_features = PUBLISHED_WIDTHS["vgg16" if variant.backbone is VGG16 else "caffenet"]
    features, fc_features = spec.features or features, spec.fc_features or fc_features
    spec = dataclasses.replace(spec, features=features, fc_features=fc_features)
    settings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
    backbone = variant.backbone(features, fc_features, spec.in_channels, **settings)
    return SkipFCN(spec, backbone, **settings)
