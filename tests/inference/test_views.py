"""Tiles, scales, mirror images and devices, as the Segmenter puts them to work."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from fcn_jax import Segmenter
from fcn_jax.images import ImageError
from fcn_jax.inference import segmenter as module
from fcn_jax.transforms import CaffeSegmentation, SemanticSegmentation
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import TinyModel

ROOT = Path(__file__).parents[2]
NAME = "fcn8s_vgg16"
OWN_SIZE = SemanticSegmentation(resize_size=None)


def picture(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def test_tiles_give_the_result_of_the_whole():
    model, image, seen = drawn_model(NAME, "float32"), picture(701, 643), []
    whole = Segmenter(model, tile=None)(image)
    tiled = Segmenter(model, tile=100, progress=lambda *counts: seen.append(counts))(image)
    assert seen[-1] == (7, 7)
    np.testing.assert_allclose(tiled.logits, whole.logits, atol=1e-5 * np.abs(whole.logits).max())
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=1e-5)
    assert (tiled.labels != whole.labels).mean() < 1e-5  # none, here
    np.testing.assert_allclose(tiled.probability(2), whole.probability(2), atol=1e-5)


def test_a_picture_too_large_for_one_piece_is_tiled(monkeypatch):
    model, image, seen = drawn_model(NAME, "float32"), picture(1400, 600), []
    monkeypatch.setattr(module, "AUTO_TILE", 300)
    whole = Segmenter(model, progress=lambda *counts: seen.append(counts))(image)
    assert seen == []
    monkeypatch.setattr(module, "MAX_MODEL_PIXELS", 1_200_000)
    tiled = Segmenter(model, progress=lambda *counts: seen.append(counts))(image)
    assert seen[-1][0] == seen[-1][1] > 1
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=1e-5)
    with pytest.raises(
        ImageError, match=r"tiles of 900, with which it sees 16\d\d x .*; choose a smaller tile"
    ):
        Segmenter(model, tile=900)(image)


def test_a_scale_that_is_too_large_for_one_piece_is_tiled(monkeypatch):
    model, image, seen = drawn_model(NAME, "float32"), picture(500, 400), []
    settings = {"scales": (1.0, 2.5), "progress": lambda *counts: seen.append(counts)}
    whole = Segmenter(model, **settings)(image)
    monkeypatch.setattr(module, "AUTO_TILE", 300)
    segmenter = Segmenter(model, **settings)
    monkeypatch.setattr(module, "MAX_MODEL_PIXELS", 1_200_000)
    assert [plan.tile for plan in segmenter._plan((400, 500), 1, None)] == [None, 300]
    assert seen == []
    np.testing.assert_allclose(segmenter(image).confidence, whole.confidence, atol=1e-5)
    assert seen[-1][1] > 1


def test_pictures_together_are_tiled_where_a_device_could_not_hold_its_own(monkeypatch):
    segmenter = Segmenter(drawn_model(NAME, "float32"))
    monkeypatch.setattr(segmenter._engine, "devices", 4)
    height, width = 2000, 3000
    assert segmenter._plan((height, width), 4, None)[0].tile is None
    assert segmenter._plan((2 * height, width), 1, None)[0].tile is None  # each device has its rows
    assert segmenter._plan((2 * height, width), 4, None)[0].tile == module.AUTO_TILE


def test_a_small_halo_is_an_approximation():
    model, image = drawn_model(NAME, "float32"), picture(701, 643)
    exact = Segmenter(model, tile=100)(image).logits
    difference = np.abs(Segmenter(model, tile=100, halo=32)(image).logits - exact).max() / np.abs(exact).max()
    assert 1e-4 < difference < 1


def test_views_are_averaged_as_probabilities():
    """Against resizing, mirroring and averaging by hand."""
    model, image = drawn_model(NAME, "float32"), picture(90, 70)
    scales = (0.5, 1.0, 1.5)
    result = Segmenter(model, scales=scales, flip=True)(image)
    total = np.zeros((70, 90, 5))
    for scale in scales:
        size = round(90 * scale), round(70 * scale)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        for step in (1, -1):
            batch = CaffeSegmentation().normalize(pixels[:, ::step])[None]
            logits = jax.jit(lambda model, batch: model(batch)["out"])(model, batch)
            resized = jax.image.resize(logits, (1, 70, 90, 5), "bilinear", antialias=False)
            total += np.asarray(jax.nn.softmax(resized))[0][:, ::step]
    expected = total / 6
    np.testing.assert_allclose(result.confidence, expected.max(-1), atol=2e-5)
    np.testing.assert_allclose(result.probability(3), expected[..., 3], atol=2e-5)
    top = np.sort(expected, -1)
    clear = top[..., -1] - top[..., -2] > 1e-4
    np.testing.assert_array_equal(result.labels[clear], expected.argmax(-1)[clear])
    assert len(result.views) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 0}, 'tile: expected a number of pixels, "auto" or None, got 0'),
        ({"halo": -1}, "halo: expected a number of pixels of at least 0, got -1"),
        ({"scales": ()}, r"scales: expected numbers above 0, got \(\)"),
        ({"scales": (1.0, -1.0)}, r"scales: expected numbers above 0, got \(1.0, -1.0\)"),
    ],
)
def test_unfit_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Segmenter(drawn_model(NAME, "float32"), **settings)


def test_a_model_of_another_make_cannot_be_tiled():
    with pytest.raises(ValueError, match=r"receptive field can be told, got TinyModel; leave them out"):
        Segmenter(TinyModel(), OWN_SIZE, tile=64)


def test_out_of_memory_says_what_would_help(monkeypatch):
    segmenter = Segmenter(drawn_model(NAME, "float32"))

    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")

    monkeypatch.setattr(segmenter._engine, "scores", full)
    with pytest.raises(
        MemoryError, match=r"with a picture of 90 x 70 \(RESOURCE.*123 bytes.\); try tile=1024"
    ):
        segmenter(picture(90, 70))


@pytest.mark.slow
def test_eight_devices_give_the_result_of_one(tmp_path):
    """Batches, rows of one picture and tiles; the shapes do not divide by eight."""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-m", "tests.inference.device_runs"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    errors = dict(line.split() for line in ended.stdout.splitlines())
    assert set(errors) == {"batch", "rows", "tiles"}
    for name, value in errors.items():
        assert float(value) < 1e-12, name  # 0 to 1e-15
