"""A network of ours with someone's own layers is segmented right, and tiled only where tiles are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax import Segmenter
from fcn_jax.errors import SettingError
from fcn_jax.images import ImageError
from fcn_jax.inference import plan
from fcn_jax.inference.foreign import ForeignModel, as_segmentation_model, foreign_part
from fcn_jax.models.fcn import FCN
from fcn_jax.models.layers import conv
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import picture


class GlobalHead(nnx.Module):
    """Looks at the whole map, and does not know of extents."""

    def __init__(self, width, num_classes, rngs):
        self.score = nnx.Linear(2 * width, num_classes, rngs=rngs)

    def __call__(self, features):
        whole = jnp.broadcast_to(features.mean((1, 2), keepdims=True), features.shape)
        return self.score(jnp.concatenate([features, whole], -1))


class Narrow(nnx.Module):
    """Stands for a ResNet: two maps at stride 8, of 8 channels."""

    def __init__(self, rngs):
        self.stride = 8
        self.conv = conv(3, 8, 9, stride=8, padding=4, rngs=rngs)

    def __call__(self, images, extent=None):
        x = jax.nn.relu(self.conv(images))
        return {"layer3": x, "layer4": x}


@pytest.fixture(scope="module")
def model():
    rngs = nnx.Rngs(0)
    spec = fcn_jax.fcn8s_vgg16(num_classes=21, features=(4,) * 5, fc_features=4).spec
    network = FCN(spec, Narrow(rngs), GlobalHead(8, 4, rngs))
    network.eval()
    return network


def test_the_logits_are_the_models_own(model):
    """At odd sizes, with its own number of classes instead of the spec's 21."""
    segmenter = Segmenter(model)
    assert segmenter.categories == tuple(f"class {index}" for index in range(4))
    for size in ((61, 43), (40, 77)):
        image = picture(*size)
        normalized = segmenter.transforms(image)
        expected = model(normalized[None])["out"][0]
        np.testing.assert_allclose(segmenter(image).logits, expected, atol=2e-5 * np.abs(expected).max())


def test_tiles_are_refused_with_the_reason(model, monkeypatch):
    reason = "the receptive field of .*Narrow.* cannot be told"
    with pytest.raises(SettingError, match=reason):
        Segmenter(model, tile=64)
    monkeypatch.setattr(plan, "MAX_MODEL_PIXELS", 1000)
    with pytest.raises(ImageError, match=f"not cut into tiles, because {reason}"):
        Segmenter(model)(picture(61, 43))


def test_which_layers_are_known():
    network = drawn_model("fcn8s_vgg16", "float32")
    assert foreign_part(network) is None
    assert as_segmentation_model(network) is network
    width = network.score_pool4.in_features
    network.score_pool4 = nnx.Conv(width, 5, (1, 1), padding="CIRCULAR", rngs=nnx.Rngs(0))
    assert foreign_part(network) == "score_pool4, flax.nnx.nn.linear.Conv,"


def test_a_subclass_of_someones_own(model):
    class Own(FCN):
        def coarse_logits(self, images, sizes=None):
            return super().coarse_logits(images - images.mean((1, 2), keepdims=True), sizes)

    own = Own(model.spec, model.backbone, model.classifier)
    assert isinstance(as_segmentation_model(own), ForeignModel)


@pytest.fixture
def strict():
    names = ("jax_numpy_rank_promotion", "jax_numpy_dtype_promotion")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, ("raise", "strict"), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


@pytest.mark.parametrize("dtype", [None, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_strict_promotion(strict, dtype):
    """A program may set it for itself; forward pass, segmenter with tiles and views, and a loss go on."""
    network = fcn_jax.fcn8s_vgg16(num_classes=3, features=(4,) * 5, fc_features=4, dtype=dtype)
    images = jnp.zeros((1, 41, 50, 3), jnp.float32)
    assert network(images)["out"].dtype == jnp.float32
    result = Segmenter(network, flip=True, scales=(1, 0.7))(np.zeros((41, 50, 3), np.uint8))
    assert result.labels.shape == (41, 50)
    from fcn_jax.training.losses import cross_entropy

    labels = jnp.zeros((1, 41, 50), jnp.int32)
    assert jnp.isfinite(jax.grad(lambda x: cross_entropy(network(x)["out"], labels))(images)).all()
