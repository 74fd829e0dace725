"""The compiled inference form computes the model's own function: both families, odd sizes, batches."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.inference import inference_function, prepare
from fcn_jax.algorithms.choice import convolve_by_winograd
from fcn_jax.inference.prepare import labels_by_rows
from fcn_jax.inference.rows import compute_scores, upsample_rows
from fcn_jax.models.layers import BatchNorm, conv
from tests.inference.drawn_models import NAMES, drawn_model
from tests.seeded import seeded_images

CASES = [*((name, (41, 67)) for name in NAMES), ("fcn_resnet50", (1, 1)), ("fcn8s_vgg16", (1, 1))]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "size"), CASES)
def test_every_output_is_the_models(name, size):
    model = drawn_model(name)
    images = jnp.asarray(seeded_images(2, *size))
    expected = jax.jit(lambda model, images: model(images))(model, images)
    arrays, function = inference_function(model, aux="aux" in expected)
    logits = jax.jit(function)(arrays, images)
    assert set(logits) == set(expected)
    for head in logits:
        assert error(logits[head], expected[head]) < 1e-12  # 8e-16

    arrays, function = inference_function(model, output="probabilities")
    probabilities = jax.jit(function)(arrays, images)
    np.testing.assert_allclose(probabilities, jax.nn.softmax(expected["out"]), atol=1e-12)

    arrays, function = inference_function(model, output="labels")
    labels = jax.jit(function)(arrays, images)
    assert labels.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, expected["out"].argmax(-1))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn8s_vgg16"])
def test_large_images_go_one_at_a_time(name, monkeypatch):
    monkeypatch.setattr(sys.modules["fcn_jax.inference.prepare"], "PIXELS", 17 * 23)
    model, images = drawn_model(name), jnp.asarray(seeded_images(3, 17, 23))
    expected = jax.jit(lambda model, images: model(images))(model, images)
    for output, platform in (("logits", "cpu"), ("labels", "cpu"), ("logits", "gpu")):
        aux = output == "logits" and "aux" in expected
        arrays, function = inference_function(model, output=output, aux=aux, platform=platform)
        assert ("while" in jax.jit(function).lower(arrays, images).as_text()) == (platform == "cpu")
        result = jax.jit(function)(arrays, images)
        if output == "labels":
            np.testing.assert_array_equal(result, expected["out"].argmax(-1))
            continue
        assert set(result) == set(expected)
        for head in result:
            assert error(result[head], expected[head]) < 1e-12  # 6e-16


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_whole(name, monkeypatch):
    model, size = drawn_model(name), (41, 67)
    images = jnp.asarray(seeded_images(2, *size))
    expected = jax.jit(lambda model, images: model(images)["out"])(model, images)
    scores = jax.jit(compute_scores)(model, images)
    rows = jax.jit(lambda scores, start: upsample_rows(model, scores, size, start, 6))
    for start in (0, 1, 17, 35):
        assert error(rows(scores, start), expected[:, start : start + 6]) < 1e-12  # 7e-16
    for band_values in (1000, 2700):  # bands of one row, and of four, which do not divide 41
        monkeypatch.setattr(sys.modules["fcn_jax.inference.prepare"], "BAND_VALUES", band_values)
        labels = jax.jit(partial(labels_by_rows, model, size=size))(scores)
        np.testing.assert_array_equal(labels, expected.argmax(-1))


def test_float32_labels_of_clear_margins():
    model, images = drawn_model("fcn_resnet50", "float32"), seeded_images(1, 65, 97).astype(np.float32)
    expected = np.asarray(jax.jit(lambda model, images: model(images)["out"])(model, images))
    arrays, function = inference_function(model)
    logits = jax.jit(function)(arrays, images)["out"]
    assert error(logits, expected) < 1e-5  # 2e-6
    top = np.sort(expected, -1)
    clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(expected).max()
    np.testing.assert_array_equal(logits.argmax(-1)[clear], expected.argmax(-1)[clear])


def test_what_is_dropped_and_what_stays():
    model = drawn_model("fcn_resnet50", "float32")
    before = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    arrays, _ = inference_function(model)
    assert not any("aux" in name or ".mean" in name or ".var" in name for name in arrays)
    assert arrays["backbone.conv1.bias"].shape == (64,)
    after = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    jax.tree.map(np.testing.assert_array_equal, before, after)


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


def test_batch_norms_of_other_makes_stay():
    model, images = Ahead(), seeded_images(1, 5, 7).astype(np.float32)
    model.eval()
    np.testing.assert_allclose(prepare(model)(images)["out"], model(images)["out"], rtol=1e-6)


def test_unfit_arguments():
    model = drawn_model("fcn_resnet50", "float32")
    with pytest.raises(
        ValueError, match="output: expected one of logits, probabilities, labels, got 'masks'"
    ):
        inference_function(model, output="masks")
    with pytest.raises(ValueError, match="aux: expected output=\"logits\" with it, got 'labels'"):
        inference_function(model, output="labels", aux=True)


def error(result, expected):
    assert result.shape == expected.shape
    return float(np.abs(result - expected).max() / np.abs(expected).max())
