"""The networks against arrays that torchvision computed: parity on machines without PyTorch."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import fcn_jax
from fcn_jax.models.arrays import named_variables
from fcn_jax.transforms import SemanticSegmentation
from tests.losses import jax_loss, seeded_labels
from tests.seeded import seeded_images, seeded_state_dict
from tests.stored_arrays import (
    GRADIENTS,
    IMAGES,
    NUM_CLASSES,
    RESIZE_SIZE,
    STATISTICS,
    VARIANTS,
    picture,
    stored,
)
from weights_converter.conversion import to_source

without_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="tests/parity compares with PyTorch itself"
)


def build(name: str) -> fcn_jax.FCN:
    return fcn_jax.get_model(name, weights=seeded_state_dict(name, NUM_CLASSES), param_dtype=jnp.float64)


def assert_close(ours, expected, bound: float) -> None:
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() / np.abs(expected).max() < bound


@without_torch
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.usefixtures("float64")
def test_logits(name):
    logits = jax.jit(lambda model, images: model(images))(build(name), seeded_images(*IMAGES))
    for head in ("out", "aux"):
        assert_close(np.asarray(logits[head]), stored()[f"{name}/{head}"], 1e-12)  # seen: 3e-15


@without_torch
@pytest.mark.usefixtures("float64")
def test_a_step_in_training_mode():
    name, model = VARIANTS[0], build(VARIANTS[0])
    images = seeded_images(*IMAGES)
    model.train()
    model.classifier.dropout.rate = model.aux_classifier.dropout.rate = 0.0
    gradients = nnx.jit(nnx.grad(jax_loss))(model, images, seeded_labels(images, NUM_CLASSES))
    arrays = {path: np.asarray(variable[...]) for path, variable in named_variables(model).items()}
    found = {".".join(map(str, path)): np.asarray(g[...]) for path, g in nnx.to_flat_state(gradients)}
    for key in STATISTICS:
        assert_close(to_source(arrays, model.spec)[key], stored()[f"{name}/{key}"], 1e-12)  # seen: 3e-15
    for key in GRADIENTS:
        assert_close(
            to_source(arrays | found, model.spec)[key], stored()[f"{name}/{key}"], 1e-10
        )  # seen: 2e-14


def test_preprocessing_is_exactly_equal():
    preset = SemanticSegmentation(resize_size=RESIZE_SIZE)
    np.testing.assert_array_equal(preset(Image.fromarray(picture())), stored()["preset"])
