"""Four channels of 16 bits from files to masks: statistics, a run, scores, a picture, an export."""

import json

import numpy as np
import pytest

import fcn_jax
from fcn_jax.datasets import DatasetError, open_dataset
from fcn_jax.datasets.statistics import measure_statistics
from fcn_jax.errors import ArrayError, CheckpointError, SettingError
from fcn_jax.evaluation import Evaluator
from fcn_jax.inference.export import load_exported, save_exported
from fcn_jax.multiband import Multiband, multiband_like
from fcn_jax.training import Run
from fcn_jax.transforms import CaffeSegmentation, SemanticSegmentation
from fcn_jax.weights.adaptation import adapt_kernel
from tests.training.tiny_run import SETTINGS, tiny_config

WIDTHS = {name: SETTINGS[name] for name in ("features", "fc_features")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six arrays (40, 50, 4) uint16; the fourth channel alone shows where class 1 is."""
    from PIL import Image

    root = tmp_path_factory.mktemp("fields")
    random = np.random.RandomState(0)
    for part in ("images", "labels"):
        (root / part).mkdir()
    for number in range(6):
        labels = np.zeros((40, 50), np.uint8)
        labels[5 : 20 + number, 10:35] = 1
        image = random.randint(0, 3000, (40, 50, 4)).astype(np.uint16)
        image[..., 3] += np.uint16(9000) * labels
        np.save(root / "images" / f"field{number}.npy", image)
        Image.fromarray(labels).save(root / "labels" / f"field{number}.png")
    (root / "classes.txt").write_text("soil\ncrop\n")
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    changes = {"dataset": "folder", "data_dir": folder, "in_channels": 4, "jitter": 0.2, "eval_limit": None}
    assert Run(tiny_config(output, **changes)).train() == 0
    return output


def test_a_run_on_four_channels_segments_evaluates_and_exports(trained, folder, tmp_path):
    model = fcn_jax.load_model(trained / "last.safetensors")
    train_set = open_dataset("folder", folder, channels=4)
    found = measure_statistics(train_set)
    assert (model.spec.in_channels, found.dtype) == (4, "uint16")
    assert isinstance(model.transforms, Multiband)
    assert model.transforms.measured
    np.testing.assert_allclose(model.transforms.mean, found.mean, rtol=1e-12)
    pixels = np.concatenate([train_set[index].image.reshape(-1, 4) for index in range(len(train_set))])
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-12)
    path = folder / "images" / "field0.npy"
    result = fcn_jax.Segmenter(model)(path)
    assert result.labels.shape == (40, 50)
    assert result.image.mode == "RGB"
    tiled = fcn_jax.Segmenter(model, tile=32, flip=True, scales=(1.0, 1.5))(np.load(path))
    assert tiled.labels.shape == (40, 50)
    validation = open_dataset("folder", folder, "val", channels=4)
    scores = Evaluator(model).run(validation).scores()
    recorded = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()][-1]
    assert scores.mean_iou == pytest.approx(recorded["mean_iou"])
    pytest.importorskip("flatbuffers")
    save_exported(model, tmp_path / "model.zip", size=(40, 50))
    exported = load_exported(tmp_path / "model.zip")
    images = model.transforms(path)[None]
    assert (exported.function(images)[0] != result.labels).mean() < 0.01


def test_channels_that_differ_are_told_by_file(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    np.save(copy / "images" / "field3.npy", np.zeros((40, 50, 3), np.uint16))
    changes = {"dataset": "folder", "data_dir": copy, "in_channels": 4, "check_data": False}
    with pytest.raises(DatasetError, match=r"field3\.npy: .*expected 4 channels, got 3"):
        Run(tiny_config(tmp_path / "run", **changes)).train()
    with pytest.raises(
        DatasetError, match=r"\.npy: expected a picture in 8-bit RGB, got an array; say how many"
    ):
        open_dataset("folder", folder)[0]
    with pytest.raises(SettingError, match="channels"):
        open_dataset("scenes", channels=4)


def test_a_kernel_for_rgb_serves_other_channels():
    kernel = np.random.RandomState(0).standard_normal((3, 3, 3, 2)).astype(np.float32)
    grey = np.ones((1, 3, 3, 1), np.float32)

    def response(kernel):
        return (grey * kernel.sum(2)[None, :, :, None, 0]).sum()

    for channels in (1, 2, 4, 6):
        mean = adapt_kernel(kernel, channels, "mean", bgr=False)
        assert mean.shape == (3, 3, channels, 2)
        np.testing.assert_allclose(response(mean), response(kernel), rtol=1e-4)  # alike channels: as large
    four = adapt_kernel(kernel, 4, "mean", bgr=True)
    np.testing.assert_allclose(four[:, :, :3], kernel[:, :, ::-1] * 0.75, rtol=1e-6)
    zero = adapt_kernel(kernel, 5, "zero", bgr=False)
    np.testing.assert_array_equal(zero[:, :, :3], kernel)
    assert not zero[:, :, 3:].any()
    with pytest.raises(
        SettingError, match="adapt: expected 'mean' for fewer than three channels, got 'zero'"
    ):
        adapt_kernel(kernel, 2, "zero", bgr=False)


def test_weights_for_rgb_are_adapted_and_refused():
    rgb = fcn_jax.fcn32s_alexnet(num_classes=3, **WIDTHS)
    tensors = {name: np.asarray(value[...]) for name, value in _arrays(rgb).items()}
    four = fcn_jax.fcn32s_alexnet(weights=tensors, in_channels=4)
    assert four.spec.in_channels == 4
    assert four.transforms == multiband_like(CaffeSegmentation(), 4)
    np.testing.assert_allclose(
        four.backbone.conv1.kernel[...][:, :, :3],
        0.75 * tensors["backbone.conv1.kernel"][:, :, ::-1],
        rtol=1e-6,
    )
    with pytest.raises(SettingError, match=r"in_channels=4 was asked for, but .* has in_channels=3"):
        fcn_jax.fcn32s_alexnet(weights=tensors, in_channels=4, adapt="require")
    with pytest.raises(
        CheckpointError, match=r"expected weights for 4 channels, got weights for 3; pass adapt="
    ):
        fcn_jax.load_weights(four, tensors)


def _arrays(model):
    from fcn_jax.models.arrays import named_variables

    return named_variables(model)


def test_presets_have_as_many_channels():
    like = multiband_like(SemanticSegmentation(), 4)
    np.testing.assert_allclose(like.mean[:3], np.multiply(255, SemanticSegmentation().mean))
    pixels = np.random.RandomState(1).randint(0, 256, (5, 4, 3), dtype=np.uint8)
    for preset in (SemanticSegmentation(resize_size=None), CaffeSegmentation()):
        np.testing.assert_allclose(multiband_like(preset, 3)(pixels), preset(pixels), atol=1e-5)
    assert Multiband.from_dict(like.to_dict()) == like
    for settings in (
        {"mean": (1.0,), "std": (0.0,)},
        {"mean": (), "std": ()},
        {"mean": (1.0, 2.0), "std": (1.0,)},
    ):
        with pytest.raises(SettingError, match=r"mean|std"):
            Multiband(**settings)
    model = fcn_jax.fcn32s_alexnet(num_classes=3, in_channels=4, **WIDTHS)
    with pytest.raises(SettingError, match="transforms: expected a preset for the model's 4 channels"):
        fcn_jax.Segmenter(model, SemanticSegmentation())
    with pytest.raises(ArrayError):
        model(np.zeros((1, 32, 32, 3), np.float32))
