"""One logit through the segmenter, tiles, averages and exports: sigmoid, threshold, two names."""

import jax
import numpy as np
import pytest

import fcn_jax
from fcn_jax.errors import CheckpointError, SettingError
from fcn_jax.inference.prepare import inference_function
from tests.models.drawn import drawn

PICTURE = np.random.RandomState(4).randint(0, 256, (45, 61, 3), dtype=np.uint8)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.float64(logits)))


@pytest.fixture(scope="module")
def model():
    """A narrow network with random weights, whose logit has either sign."""
    widths = {"features": (4, 4, 4, 4, 4), "fc_features": 8}
    model = drawn(lambda: fcn_jax.get_model("fcn32s_alexnet", num_classes=1, **widths))
    logits = np.asarray(fcn_jax.Segmenter(model)(PICTURE).logits)
    model.score_fr.bias[...] = model.score_fr.bias[...] - float(np.median(logits))
    return model


def test_labels_confidence_and_probability(model):
    model.update_meta(threshold=None, categories=None)
    result = fcn_jax.Segmenter(model)(PICTURE)
    foreground = sigmoid(result.logits[..., 0])
    assert result.categories == ("background", "foreground")
    assert 0.1 < result.labels.mean() < 0.9
    np.testing.assert_array_equal(result.labels, result.logits[..., 0] >= 0)
    np.testing.assert_allclose(result.probability("foreground"), foreground, atol=1e-6)  # seen: 6e-8
    np.testing.assert_allclose(result.probability(0), 1 - foreground, atol=1e-6)
    np.testing.assert_allclose(result.confidence, np.maximum(foreground, 1 - foreground), atol=1e-6)
    assert {found.name for found in result.classes} == {"background", "foreground"}
    assert result.background == 0


def test_the_threshold_travels_with_the_weights(model, tmp_path):
    model.update_meta(threshold=0.625, categories=("sky", "crack"))
    fcn_jax.save_weights(model, tmp_path / "binary.safetensors")
    again = fcn_jax.load_model(tmp_path / "binary.safetensors")
    assert (again.meta.threshold, again.categories) == (0.625, ("sky", "crack"))
    segmenter = fcn_jax.Segmenter(again)
    result = segmenter(PICTURE)
    assert segmenter.threshold == 0.625
    foreground = sigmoid(result.logits[..., 0])
    sure = np.abs(foreground - 0.625) > 1e-5
    np.testing.assert_array_equal(result.labels[sure], (foreground >= 0.625)[sure])
    model.update_meta(threshold=0.4)
    segmenter.update(model)
    assert segmenter.threshold == 0.4
    other = fcn_jax.fcn32s_alexnet(num_classes=1, features=(4, 4, 4, 4, 4), fc_features=8)
    fcn_jax.load_weights(other, tmp_path / "binary.safetensors")
    assert other.meta.threshold == 0.625


def test_several_views_average_the_probabilities(model):
    model.update_meta(threshold=0.5)
    result = fcn_jax.Segmenter(model, flip=True)(PICTURE)
    views = [view.logits()[..., 0] for view in result.views]
    mean = (sigmoid(views[0]) + sigmoid(views[1])) / 2
    np.testing.assert_allclose(result.probability(1), mean, atol=1e-6)
    np.testing.assert_array_equal(result.labels, result.probability(1) >= 0.5)


def test_tiles_are_the_whole_picture(model):
    large = np.tile(PICTURE, (4, 4, 1))
    whole = fcn_jax.Segmenter(model, tile=None)(large)
    tiled = fcn_jax.Segmenter(model, tile=96)(large)
    np.testing.assert_allclose(tiled.probability(1), whole.probability(1), atol=1e-5)
    assert (tiled.labels != whole.labels).mean() < 1e-3


@pytest.mark.parametrize("output", ["labels", "probabilities"])
def test_the_inference_function_and_exports_know_the_threshold(model, output):
    model.update_meta(threshold=0.625)
    images = model.transforms(PICTURE)[None]
    logits = np.asarray(jax.jit(lambda images: model(images)["out"])(images))[..., 0]
    arrays, function = inference_function(model, output=output)
    found = np.asarray(jax.jit(function)(arrays, images))
    if output == "labels":
        sure = np.abs(sigmoid(logits) - 0.625) > 1e-5
        np.testing.assert_array_equal(found[sure], (sigmoid(logits) >= 0.625)[sure])
    else:
        np.testing.assert_allclose(found[..., 0], sigmoid(logits), atol=1e-5)


def test_names_and_thresholds_that_do_not_fit(model, tmp_path):
    with pytest.raises(SettingError, match="categories: expected 2, for background and foreground, got 1"):
        model.update_meta(categories=("object",))
    with pytest.raises(SettingError, match=r"threshold: expected a probability between 0 and 1, got 1.5"):
        model.update_meta(threshold=1.5)
    several = fcn_jax.fcn32s_alexnet(num_classes=3, features=(2, 2, 2, 2, 2), fc_features=2)
    with pytest.raises(SettingError, match=r"threshold: expected none for 3 classes, only for one logit"):
        several.update_meta(threshold=0.5)
    fcn_jax.save_weights(several, tmp_path / "wrong.safetensors", facts={"threshold": "0.5"})
    with pytest.raises(CheckpointError, match="threshold"):
        fcn_jax.load_model(tmp_path / "wrong.safetensors")
