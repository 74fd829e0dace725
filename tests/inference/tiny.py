"""A model small enough for tests: stride 8, batch norm, dropout, an auxiliary head."""

import jax
import jax.numpy as jnp
from flax import nnx


class TinyModel(nnx.Module):
    """(N, H, W, 3) to {"out", "aux"}, each (N, H, W, num_classes); random, in training mode until eval()."""

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
