"""Two small models for tests: a foreign model, and a `SegmentationModel`."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from fcn_jax.models.extent import Extent
from fcn_jax.models.layers import conv
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.upsampling import BilinearUpsampler, resize_bilinear
from fcn_jax.transforms import SemanticSegmentation
from weights_converter import ModelSpec


class TinyModel(nnx.Module):
    """A foreign model with stride 8, batch norm, dropout and an auxiliary head.

    (N, H, W, 3) to {"out", "aux"}, each (N, H, W, num_classes); random, in training mode until eval().
    """

    def __init__(self, num_classes=21, seed=0):
        rngs = nnx.Rngs(seed)
        self.conv = nnx.Conv(3, 8, (9, 9), strides=8, padding=4, rngs=rngs)
        self.bn = nnx.BatchNorm(8, rngs=rngs)
        self.bn.mean[...] = rngs.params.normal((8,)) * 0.1
        self.bn.var[...] = rngs.params.uniform((8,)) + 0.5
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.classifier = nnx.Conv(8, num_classes, (1, 1), rngs=rngs)
        self.classifier.kernel[...] *= 5
        self.aux_classifier = nnx.Conv(8, 77, (1, 1), rngs=rngs)

    def __call__(self, images):
        features = self.dropout(self.bn(self.conv(images)))

        def enlarged(logits):
            shape = (*images.shape[:3], logits.shape[3])
            return jax.image.resize(logits.astype(jnp.float32), shape, "bilinear")

        return {
            "out": enlarged(self.classifier(features)),
            "aux": enlarged(self.aux_classifier(features)),
        }


class TinyFCN(SegmentationModel):
    """A tileable `SegmentationModel` with a border: two convolutions, stride 8, bilinear upsampling."""

    border = 16

    def __init__(self, num_classes=5, seed=0):
        rngs = nnx.Rngs(seed)
        self.spec = ModelSpec(name="tiny", num_classes=num_classes)
        self.backbone = conv(3, 8, 9, stride=8, padding=4, rngs=rngs)
        self.score = conv(8, num_classes, 5, padding=2, rngs=rngs)
        self.score.kernel[...] *= 3
        self.update_meta(transforms=SemanticSegmentation(resize_size=None))

    def coarse_logits(self, images, sizes=None):
        extent = Extent(sizes)
        x = jax.nn.relu(self.backbone(extent.keep(images)))
        return {"out": self.score(extent.over(8).keep(x))}

    def upsample(self, coarse, size):
        return {"out": resize_bilinear(coarse["out"], size)}

    def upsampler(self):
        return BilinearUpsampler(stride=8)

    @staticmethod
    def default_transforms(preset):
        return SemanticSegmentation(resize_size=None)


def picture(width, height, seed=0) -> Image.Image:
    """Draws smooth noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
