"""Settings: recipes, the command line, and the models they make."""

import dataclasses
import re
from typing import get_args, get_type_hints

import jax.numpy as jnp
import numpy as np
import pytest

import fcn_jax
from fcn_jax.datasets import Scenes
from fcn_jax.errors import SettingError
from fcn_jax.evaluation.evaluator import EvaluationSize
from fcn_jax.training.class_weights import median_frequency
from fcn_jax.training.command_line import parse_config
from fcn_jax.training.config import RANGES, Config
from fcn_jax.training.recipes import RECIPES, recipe
from fcn_jax.training.setup import build_model, build_optimizer
from fcn_jax.transforms import CaffeSegmentation, SemanticSegmentation

PALETTE = np.arange(256 * 3).reshape(256, 3).astype(np.uint8)
NARROW = {"features": (2, 2, 2, 2, 2), "fc_features": 4}


def test_recipes_are_as_published():
    torchvision = recipe("torchvision")
    assert (torchvision.lr, torchvision.momentum, torchvision.weight_decay) == (0.02, 0.9, 1e-4)
    assert (torchvision.schedule, torchvision.epochs, torchvision.batch_size) == ("poly", 30, 32)
    assert (torchvision.base_size, torchvision.crop_size, torchvision.scale) == (520, (480, 480), (0.5, 2.0))
    assert torchvision.aux_loss
    assert not recipe("torchvision", "fcn8s_vgg16").aux_loss
    paper = {name: recipe("paper", name).lr for name in ("fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16")}
    assert paper == {"fcn32s_vgg16": 1e-10, "fcn16s_vgg16": 1e-12, "fcn8s_vgg16": 1e-14}
    paper = recipe("paper", "fcn8s_atonce_vgg16")
    assert (paper.momentum, paper.batch_size, paper.reduction, paper.steps) == (0.99, 1, "sum", 300_000)


def test_scores_are_taken_at_sizes_that_exist():
    assert get_args(get_type_hints(Config)["eval_size"]) == get_args(EvaluationSize)
    assert {config.eval_size for config in RECIPES.values()} <= set(get_args(EvaluationSize))


def test_the_command_line_overrides_the_recipe():
    config = parse_config(["--recipe", "paper", "--model", "fcn16s_vgg16", "--steps", "5", "--seed", "3"])
    assert (config.recipe, config.model, config.lr, config.steps, config.seed) == (
        "paper",
        "fcn16s_vgg16",
        1e-12,
        5,
        3,
    )
    assert parse_config([]) == recipe("small-data")
    config = parse_config(["--epochs", "5"])  # not as many as the recipe's steps
    assert (config.steps, config.epochs) == (None, 5)
    assert parse_config(["--crop-size", "96", "128"]).crop_size == (96, 128)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stepz", "5"],
        ["--recipe", "papers"],
        ["--recipe", "paper", "--model", "fcn_resnet50"],
        ["--lr", "x"],
        ["--steps", "5", "--epochs", "5"],
        ["--eval-every", "0"],
        ["--accumulate", "-1"],
        ["--batch-size", "0"],
        ["--lr", "nan"],
        ["--workers", "-1"],
        ["--average", "1.5"],
        ["--flip", "50"],
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        parse_config(arguments)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "accumulate: expected at least 1, got 0"),
        ({"weight_decay": -0.1}, "weight_decay: expected at least 0, got -0.1"),
        ({"epochs": 0.0}, "epochs: expected a number above 0, got 0.0"),
        ({"average": 1.5}, "average: expected a share from 0 to below 1, got 1.5"),
        ({"average": 1.0}, "average: expected a share from 0 to below 1, got 1.0"),
        ({"momentum": 1.0}, "momentum: expected a share from 0 to below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing: expected a share from 0 to below 1"),
        ({"flip": 1.1}, "flip: expected a share from 0 to 1"),
        ({"jitter": 2.0}, "jitter: expected a share from 0 to 1"),
        ({"warmup": 1.0}, "warmup: expected a share from 0 to below 1"),
        ({"clip": 0.0}, "clip: expected a number above 0"),
        ({"lr": float("inf")}, "lr: expected at least 0"),
        ({"scale": (0.0, 1.0)}, "scale: expected a number above 0"),
        ({"scale": (2.0, 1.0)}, "scale: expected the smaller factor first"),
        ({"crop_size": (0, 4)}, "crop_size: expected at least 1"),
    ],
)
def test_numbers_out_of_range(settings, message):
    with pytest.raises(SettingError, match=message):
        Config(**settings)


def test_every_number_has_a_range():
    numbers = {
        field.name for field in dataclasses.fields(Config) if re.search(r"\b(int|float)\b", str(field.type))
    }
    assert numbers == set(RANGES)


@pytest.mark.slow
def test_models_and_what_pictures_they_will_want():
    config = Config(model="fcn32s_vgg16", base_size=None, **NARROW)
    model = build_model(config, ("a", "b", "c"), PALETTE)
    assert isinstance(model.transforms, CaffeSegmentation)
    assert model.categories == ("a", "b", "c")
    np.testing.assert_array_equal(model.meta.colours()[:3], PALETTE[:3])
    assert model.backbone.dropout.rate == 0.5
    assert build_model(dataclasses.replace(config, dropout=False), "abc", PALETTE).backbone.dropout.rate == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_size": 520}, "base_size: expected None, since fcn32s_vgg16 sees pictures at their own"),
        ({"aux_loss": True}, "aux_loss: fcn32s_vgg16 has no auxiliary head; leave it out"),
        ({"model": "fcn_resnet50"}, "features: fcn_resnet50 has no widths to choose; leave it out"),
        ({"model": "fcn32s_alexnet", "remat": True}, "remat: fcn32s_alexnet has no blocks to recompute"),
        ({"model": "fcn9s_vgg16"}, "did you mean 'fcn"),
    ],
)
def test_settings_that_a_model_does_not_have(changes, message):
    config = Config(**{"model": "fcn32s_vgg16", "base_size": None, **NARROW, **changes})
    with pytest.raises(SettingError, match=message):
        build_model(config, ("a", "b"), PALETTE)


@pytest.mark.slow
def test_blocks_are_computed_again():
    assert build_model(Config(remat=True), ("a", "b"), PALETTE).backbone.remat


@pytest.mark.slow
def test_a_resnet_starts_from_weights_of_other_classes(tmp_path):
    earlier = fcn_jax.fcn_resnet50(num_classes=4, aux_loss=True)
    fcn_jax.save_weights(earlier, tmp_path / "four.safetensors")
    config = Config(weights=tmp_path / "four.safetensors", base_size=321)
    model = build_model(config, ("a", "b", "c"), PALETTE)
    assert model.transforms == SemanticSegmentation(resize_size=321)
    assert model.aux_classifier is None
    np.testing.assert_array_equal(model.backbone.conv1.kernel[...], earlier.backbone.conv1.kernel[...])
    assert model.classifier.score.kernel.shape[-1] == 3


def test_score_layers_stay_only_with_their_classes(tmp_path, caplog):
    config = Config(model="fcn32s_vgg16", base_size=None, **NARROW)
    earlier = build_model(config, ("a", "b", "c"), PALETTE)
    earlier.score_fr.bias[...] = jnp.arange(3.0)
    fcn_jax.save_weights(earlier, tmp_path / "abc.safetensors")
    config = dataclasses.replace(config, weights=tmp_path / "abc.safetensors")
    same = build_model(config, ("a", "b", "c"), PALETTE)
    np.testing.assert_array_equal(same.score_fr.bias[...], [0, 1, 2])
    assert caplog.messages == []
    others = build_model(config, ("c", "b", "a"), PALETTE)
    np.testing.assert_array_equal(others.score_fr.bias[...], [0, 0, 0])
    assert caplog.messages == [
        f"{tmp_path / 'abc.safetensors'} has other classes: its score layers are not loaded"
    ]


def test_a_warmup_is_a_share_of_the_steps():
    schedule, _ = build_optimizer(Config(lr=1.0, warmup=0.1), ["conv.kernel"], 100)
    assert float(schedule(0)) == pytest.approx(0.01)
    assert float(schedule(10)) == pytest.approx(1.0)
    with pytest.raises(SettingError, match="warmup: expected fewer steps than the training has, got 1 of 1"):
        build_optimizer(Config(warmup=0.9), ["conv.kernel"], 1)


def test_median_frequencies_are_a_plain_count():
    dataset = Scenes(5, (33, 47))
    pixels, around = np.zeros(6), np.zeros(6)
    for index in range(5):
        for kind in range(6):
            found = (dataset[index].labels == kind).sum()
            pixels[kind] += found
            around[kind] += 33 * 47 if found else 0
    frequency = pixels / around
    np.testing.assert_allclose(median_frequency(dataset), np.median(frequency) / frequency, rtol=1e-12)
