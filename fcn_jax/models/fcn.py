"""The fully convolutional network on a ResNet: backbone, head, bilinear upsampling. torchvision's form.

`mmseg` composes mmsegmentation's form of it.

Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015), as built by
`torchvision.models.segmentation.fcn_resnet50` and `fcn_resnet101`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.models.checks import check_images
from fcn_jax.models.extent import Extent
from fcn_jax.models.heads import ConcatHead, FCNHead
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.resnet import BLOCKS, ResNet
from fcn_jax.models.upsampling import BilinearUpsampler, resize_bilinear
from fcn_jax.transforms import Preset, SemanticSegmentation
from weights_converter import ModelSpec


class FCN(SegmentationModel):
    """A ResNet, one or two heads, bilinear upsampling; see `SegmentationModel`.

    Args:
      spec: name, classes and widths of the network, and how it upsamples.
      backbone: returns the maps "layer3" and "layer4", both at its stride.
      classifier: the head on "layer4".
      aux_classifier: the head on "layer3" that helps in training, or None.
    """

    class_layers = ("classifier.score.", "aux_classifier.score.")

    def __init__(
        self,
        spec: ModelSpec,
        backbone: ResNet,
        classifier: FCNHead | ConcatHead,
        aux_classifier: FCNHead | None = None,
    ):
        self.spec = spec
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def coarse_logits(self, images: jax.Array, sizes: jax.Array | None = None) -> dict[str, jax.Array]:
        """Computes logits at the backbone's stride s, (N, ceil(H/s), ceil(W/s), num_classes), by head."""
        check_images(images, self.spec.in_channels)
        extent = Extent(sizes)
        features = self.backbone(images, extent)  # (N, H/s, W/s, 1024 and 2048)
        # A head of someone's own need not know of extents.
        below = () if sizes is None else (extent.over(self.backbone.stride),)
        coarse = {"out": self.classifier(features["layer4"], *below)}
        if self.aux_classifier is not None:
            coarse["aux"] = self.aux_classifier(features["layer3"], *below)
        return coarse

    def upsample(self, coarse: dict[str, jax.Array], size: tuple[int, int]) -> dict[str, jax.Array]:
        """Resizes coarse logits to (H, W)."""
        aligned = self.spec.align_corners
        return {name: resize_bilinear(x, size, align_corners=aligned) for name, x in coarse.items()}

    def upsampler(self) -> BilinearUpsampler:
        """See `SegmentationModel`."""
        return BilinearUpsampler(self.backbone.stride, self.spec.align_corners)

    def drop_aux(self) -> None:
        """Removes the auxiliary head, if there is one."""
        self.aux_classifier = None
        self.spec = dataclasses.replace(self.spec, aux_loss=False)

    def use_remat(self) -> None:
        """See `SegmentationModel`."""
        self.backbone.remat = True

    @staticmethod
    def default_transforms(preset: str | None) -> Preset:
        """Returns torchvision's preset, the only one that torchvision's networks were published with."""
        return SemanticSegmentation()

    @property
    def backbone_spec(self) -> ModelSpec | None:
        """The spec of the ImageNet classifier that the backbone comes from."""
        return ModelSpec(name=self.spec.name.removeprefix("fcn_"), in_channels=self.spec.in_channels)


def create(spec: ModelSpec, *, rngs: nnx.Rngs, dtype: Any = None, param_dtype: Any = jnp.float32) -> FCN:
    """Makes an FCN on a ResNet with random weights, in training mode.

    Args:
      spec: fcn_resnet50 or fcn_resnet101.
      dtype: of the computation; by default promoted from the parameters and the input.
    """
    settings = {"rngs": rngs, "dtype": dtype, "param_dtype": param_dtype}
    return FCN(
        spec,
        ResNet(BLOCKS[spec.name.removeprefix("fcn_")], spec.in_channels, **settings),
        FCNHead(2048, spec.num_classes, **settings),
        FCNHead(1024, spec.num_classes, **settings) if spec.aux_loss else None,
    )
