"""The compiled inference form computes the model's own function: both families, odd sizes, batches."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms.layers import convolve_by_winograd
from fcn_jax.inference import inference_function, prepare
from fcn_jax.models.layers import BatchNorm, conv
from tests.inference.drawn_models import drawn_model, relative_error
from tests.seeded import seeded_images


def forward(model, images):
    return jax.jit(lambda model, images: model(images))(model, images)


@pytest.mark.usefixtures("float64")
# The paper's other networks are the at-once net with fewer skips; tests/models tests their upsamplings.
@pytest.mark.parametrize(
    "name", ["fcn_resnet50", "fcn_r50_d6", "fcn_r18_d8", "fcn8s_atonce_vgg16", "fcn32s_alexnet"]
)
def test_the_logits_equal_the_models(name):
    model, images = drawn_model(name), jnp.asarray(seeded_images(2, 41, 67))
    expected = forward(model, images)
    arrays, function = inference_function(model, aux="aux" in expected)
    logits = jax.jit(function)(arrays, images)
    assert set(logits) == set(expected)
    for head in logits:
        assert relative_error(logits[head], expected[head]) < 1e-12  # 3e-15


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_other_outputs_follow_from_the_logits(monkeypatch):
    """test_export.py tests fcn_resnet50."""
    monkeypatch.setattr("fcn_jax.inference.labels.BAND_VALUES", 2 * 9 * 5 * 3)  # bands of 3 rows, not 11 / 3
    model, images = drawn_model("fcn8s_vgg16"), jnp.asarray(seeded_images(2, 11, 9))
    (arrays, logits), (_, probabilities), (_, labels) = (
        inference_function(model, output=output) for output in ("logits", "probabilities", "labels")
    )

    @jax.jit
    def everything(arrays, images):
        return logits(arrays, images)["out"], probabilities(arrays, images), labels(arrays, images)

    expected, probabilities, labels = everything(arrays, images)
    np.testing.assert_allclose(probabilities, jax.nn.softmax(expected), atol=1e-12)
    assert labels.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, expected.argmax(-1))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_large_images_go_one_at_a_time(monkeypatch):
    monkeypatch.setattr(sys.modules["fcn_jax.inference.prepare"], "LARGE_IMAGE_PIXELS", 17 * 23)
    model, images = drawn_model("fcn8s_vgg16"), jnp.asarray(seeded_images(3, 17, 23))
    expected = forward(model, images)["out"]
    for output, platform in (("logits", "cpu"), ("labels", "cpu"), ("logits", "gpu")):
        arrays, function = inference_function(model, output=output, platform=platform)
        lowered = jax.jit(function).lower(arrays, images)
        assert ("while" in lowered.as_text()) == (platform == "cpu")
        if platform == "gpu":
            continue  # the same as above, without algorithms
        result = lowered.compile()(arrays, images)
        if output == "labels":
            np.testing.assert_array_equal(result, expected.argmax(-1))
        else:
            assert relative_error(result["out"], expected) < 1e-12  # 6e-16


@pytest.mark.slow
def test_float32_labels_of_clear_margins():
    model, images = drawn_model("fcn_resnet50", "float32"), seeded_images(1, 65, 97).astype(np.float32)
    expected = np.asarray(forward(model, images)["out"])
    arrays, function = inference_function(model)
    logits = jax.jit(function)(arrays, images)["out"]
    assert relative_error(logits, expected) < 1e-5  # 2e-6
    top = np.sort(expected, -1)
    clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(expected).max()
    np.testing.assert_array_equal(logits.argmax(-1)[clear], expected.argmax(-1)[clear])


@pytest.mark.slow
def test_what_is_dropped_and_what_stays():
    model = drawn_model("fcn_resnet50", "float32")
    before = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    arrays, _ = inference_function(model)
    assert not any("aux" in name or ".mean" in name or ".var" in name for name in arrays)
    assert arrays["backbone.conv1.bias"].shape == (64,)
    after = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert model.spec.aux_loss
    assert not prepare(model).spec.aux_loss


def test_platforms():
    model = drawn_model("fcn_resnet50", "float32")
    chosen = {
        platform: prepare(model, platform=platform).classifier.conv.conv_general_dilated
        for platform in ("cpu", "gpu")
    }
    assert chosen == {"cpu": convolve_by_winograd, "gpu": jax.lax.conv_general_dilated}


def test_half_precision_keeps_its_kernels():
    weights = drawn_model("fcn8s_vgg16", "float32")
    weights.backbone.conv5_3.dtype = jnp.bfloat16
    prepared = prepare(weights)
    weights.backbone.conv5_3.dtype = None
    assert prepared.backbone.conv5_3.kernel[...].dtype == jnp.bfloat16
    assert weights.backbone.conv5_3.kernel[...].dtype == jnp.float32  # the caller's model does not change
    assert prepared.score_fr.kernel[...].dtype == jnp.float32


class Ahead(nnx.Module):
    """Batch norms before their convolutions, whatever their names."""

    def __init__(self):
        self.norm = BatchNorm(3, rngs=nnx.Rngs(0))
        self.bn1, self.conv1 = BatchNorm(3, rngs=nnx.Rngs(0)), conv(3, 3, 1, rngs=nnx.Rngs(1))
        for norm in (self.norm, self.bn1):
            norm.mean[...], norm.var[...] = jnp.arange(3.0), 1 + jnp.arange(3.0)

    def __call__(self, images):
        return {"out": self.conv1(self.bn1(self.norm(images)))}


def test_batch_norms_of_foreign_modules_stay():
    model, images = Ahead(), seeded_images(1, 5, 7).astype(np.float32)
    model.eval()
    assert relative_error(prepare(model)(images)["out"], model(images)["out"]) < 1e-6  # seen: 1e-8


def test_unfit_arguments():
    model = drawn_model("fcn_resnet50", "float32")
    with pytest.raises(
        ValueError, match="output: expected one of logits, probabilities, labels, got 'masks'"
    ):
        inference_function(model, output="masks")
    with pytest.raises(ValueError, match="aux: expected output=\"logits\", got 'labels'"):
        inference_function(model, output="labels", aux=True)
    with pytest.raises(TypeError, match=r"expected a model, an nnx\.Module, got function"):
        inference_function(relative_error)
