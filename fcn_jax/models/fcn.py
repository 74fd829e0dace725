"""The fully convolutional network in torchvision's form: backbone, head, bilinear upsampling.

Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation" (2015), as built by
`torchvision.models.segmentation.fcn_resnet50` and `fcn_resnet101`.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from fcn_jax.models.checks import check_images
from fcn_jax.models.heads import FCNHead
from fcn_jax.models.resnet import ResNet
from fcn_jax.upsampling import resize_bilinear


class FCN(nnx.Module):
    """Scores every pixel of an image for every class.

    Args:
      backbone: gives "layer3" and "layer4" maps.
      classifier: the head on "layer4".
      aux_classifier: the head on "layer3" that helps in training, or None.

    Attributes:
      transforms: prepares a picture for these weights; set by the builders.
      categories: names of the classes, where the weights came with them; set by the builders.
    """

    transforms: Callable[..., Any] | None = None
    categories: tuple[str, ...] | None = None

    def __init__(self, backbone: ResNet, classifier: FCNHead, aux_classifier: FCNHead | None = None):
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Computes logits at the size of the images.

        A jitted caller that uses only "out" does not pay for "aux": the compiler drops what nobody reads.

        Args:
          images: (N, H, W, 3) float, normalized by the weights' transforms; any H, W of at least 1.

        Returns:
          {"out": (N, H, W, num_classes)} logits, at least float32; also "aux", alike, if the model has that
          head.

        Raises:
          ValueError: images of another rank, channel count or dtype.
        """
        return self.upsample(self.scores(images), images.shape[1:3])

    def scores(self, images: jax.Array) -> dict[str, jax.Array]:
        """Computes logits of every eighth row and column, (N, ceil(H/8), ceil(W/8), num_classes)."""
        check_images(images)
        features = self.backbone(images)  # (N, H/8, W/8, 1024 and 2048)
        scores = {"out": self.classifier(features["layer4"])}
        if self.aux_classifier is not None:
            scores["aux"] = self.aux_classifier(features["layer3"])
        return scores

    def upsample(self, scores: dict[str, jax.Array], size: tuple[int, int]) -> dict[str, jax.Array]:
        """Brings the scores to images of size (H, W)."""
        return {name: resize_bilinear(x, size) for name, x in scores.items()}
