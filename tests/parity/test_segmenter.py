"""A picture's labels against torchvision's preset, torch's layers and `interpolate`."""

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from fcn_jax.inference import Segmenter
from fcn_jax.transforms import SemanticSegmentation
from tests.parity.torch_reference import torch, torchvision


class Projection(nnx.Module):
    """Stride 8 by average pooling, then one matrix: simple enough to write in both frameworks."""

    def __init__(self, kernel):
        self.kernel = nnx.Param(kernel)

    def __call__(self, images):
        pooled = nnx.avg_pool(images, (8, 8), strides=(8, 8))
        return {"out": pooled @ self.kernel[...]}


def torch_result(kernel, image, resize_size):
    images = torchvision.transforms._presets.SemanticSegmentation(resize_size=resize_size)(image)[None]
    pooled = torch.nn.functional.avg_pool2d(images, 8)
    logits = torch.einsum("nihw,ic->nchw", pooled, torch.from_numpy(kernel))
    size = image.height, image.width
    logits = torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    return logits[0].softmax(0).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(33, 47), (97, 61), (301, 200), (9, 64)])
def test_labels_and_probabilities_are_torchs(size):
    random = np.random.default_rng(0)
    kernel = (5 * random.standard_normal((3, 21))).astype(np.float32)
    image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
    result = Segmenter(Projection(kernel), SemanticSegmentation(resize_size=70))(image)
    expected = torch_result(kernel, image, 70)
    np.testing.assert_allclose(result.confidence, expected.max(-1), atol=2e-6)  # seen: 1.0e-6
    np.testing.assert_allclose(result.probability("dog"), expected[..., 12], atol=2e-6)
    best, second = np.partition(expected, -2)[..., -1], np.partition(expected, -2)[..., -2]
    decided = best - second > 1e-5
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(result.labels[decided], expected.argmax(-1)[decided])
