"""mmsegmentation's FCNs, from their files of 0.x and 1.x to logits and gradients, against PyTorch modules.

Six variants with narrow widths and all their blocks. The largest figures seen stand beside the bounds, from a
CPU with jax 0.10.2 and torch 2.13.0.
"""

import functools
import sys

import jax
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.transforms import FitWithin
from tests.losses import jax_loss, seeded_labels
from tests.parity.mmseg_sides import (
    COLOURS,
    NAMES,
    VARIANTS,
    Variant,
    file_of_0x,
    file_of_1x,
    torch_segmentor,
    without_mmengine,
)
from tests.parity.sides import from_torch, relative_error, to_torch, torch, torch_loss
from tests.seeded import seeded_images
from weights_converter import read_checkpoint
from weights_converter.conversion import to_ours, to_source
from weights_converter.model_file import load_model_file

IMAGES = 2, 33, 47
each_variant = pytest.mark.parametrize("name", VARIANTS)


@functools.cache
def reference(name: str) -> torch.nn.Module:
    return torch_segmentor(VARIANTS[name])


def arrays_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {key: tensor.numpy() for key, tensor in model.state_dict().items()}


def ours(variant: Variant, weights, dtype=np.float64):
    return fcn_jax.get_model(
        variant.name, weights=weights, align_corners=variant.align_corners, param_dtype=dtype
    )


def forward(model, images):
    return jax.jit(lambda model, images: model(images))(model, images)


@each_variant
@pytest.mark.usefixtures("float64")
def test_the_logits_equal_torchs_in_float64(name):
    images = seeded_images(*IMAGES)
    with torch.no_grad():
        expected = reference(name)(to_torch(images))
    got = forward(ours(VARIANTS[name], arrays_of(reference(name))), images)
    assert set(got) == set(expected) == {"out", "aux"}
    for head, logits in expected.items():
        assert got[head].dtype == np.float64
        assert relative_error(got[head], from_torch(logits)) < 1e-12, head  # seen: 4e-15


@pytest.mark.parametrize("name", ["r50-d8", "r50-d6, 769"])
def test_the_logits_equal_torchs_in_float32(name):
    images = seeded_images(1, 65, 98).astype(np.float32)
    model = torch_segmentor(VARIANTS[name], torch.float32)
    with torch.no_grad():
        expected = model(to_torch(images, torch.float32))
    got = forward(ours(VARIANTS[name], arrays_of(model), np.float32), images)
    for head, logits in expected.items():
        logits = from_torch(logits)
        assert relative_error(got[head], logits) < 1e-5, head  # seen: 1.1e-6
        top = np.sort(logits, axis=-1)
        clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(logits).max()
        np.testing.assert_array_equal(np.asarray(got[head]).argmax(-1)[clear], logits.argmax(-1)[clear])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "r18-d8" else pytest.mark.slow) for name in VARIANTS]
)
@pytest.mark.usefixtures("float64")
def test_gradients_and_running_statistics_equal_torchs(name):
    """All with both heads; the quick one, of basic blocks with the deep stem, with aligned corners too."""
    variant, images = VARIANTS[name], seeded_images(*IMAGES)
    if name == "r18-d8":
        variant = variant._replace(align_corners=True)
    labels, model = seeded_labels(images, 5), torch_segmentor(variant).train()
    before = {key: array.copy() for key, array in arrays_of(model).items()}
    model.decode_head.dropout.p = model.auxiliary_head.dropout.p = 0.0
    expected_loss = torch_loss(model(to_torch(images)), torch.from_numpy(labels))
    expected_loss.backward()
    gradients_of_torch = arrays_of(model) | {key: p.grad.numpy() for key, p in model.named_parameters()}

    ours_ = ours(variant, before)
    ours_.train()
    ours_.classifier.dropout.rate = ours_.aux_classifier.dropout.rate = 0.0
    loss, gradients = nnx.jit(nnx.value_and_grad(jax_loss))(ours_, images, labels)
    error = abs(float(loss) - expected_loss.item()) / expected_loss.item()
    assert error < 1e-12  # seen: 5e-16
    expected = to_ours(gradients_of_torch).params
    for path, gradient in nnx.to_flat_state(gradients):
        path = ".".join(map(str, path))
        assert relative_error(gradient[...], expected[path]) < 1e-10, path  # seen: 2e-13
    expected = to_ours(arrays_of(model)).params
    for path, statistic in nnx.to_flat_state(nnx.state(ours_, nnx.BatchStat)):
        path = ".".join(map(str, path))
        assert relative_error(statistic[...], expected[path]) < 1e-12, path  # seen: 3e-15


@each_variant
def test_files_of_both_releases_in_both_forms(name, tmp_path):
    """Strict: every tensor has its place, and the way back gives every bit. Nothing of mmengine is there."""
    variant, state_dict = VARIANTS[name], torch_segmentor(VARIANTS[name], torch.float32).state_dict()
    for release in (file_of_0x, file_of_1x):
        for new in (True, False):  # zip and stream
            path = tmp_path / "file.pth"
            torch.save(release(variant, state_dict), path, _use_new_zipfile_serialization=new)
            without_mmengine()
            assert_holds(path, variant, state_dict)

    model = fcn_jax.load_model(path)
    assert model.categories == tuple(NAMES)
    assert model.meta.palette == tuple(map(tuple, COLOURS))
    assert model.transforms == FitWithin(long=2048, short=1024)
    window = fcn_jax.Window(crop=(769, 769), stride=(513, 513)) if variant.align_corners else None
    assert model.meta.window == window
    assert model.spec == load_model_file(path).spec


def assert_holds(path, variant, state_dict):
    found = load_model_file(path)
    assert "mmengine" not in sys.modules
    assert (found.spec.name, found.spec.num_classes, found.spec.aux_loss) == (variant.name, 5, True)
    assert found.spec.stem == ("deep" if variant.deep_stem else "torchvision")
    assert found.spec.align_corners == variant.align_corners
    assert found.unknown == found.twins == ()
    back = to_source(found.params, found.spec, found.counters)
    assert list(back) == list(state_dict)  # in mmsegmentation's order, too
    for key, tensor in state_dict.items():
        assert back[key].dtype == tensor.numpy().dtype
        assert back[key].tobytes() == tensor.numpy().tobytes(), key


def test_the_way_back_is_a_file_that_torch_loads(tmp_path):
    model = torch_segmentor(VARIANTS["r50b-d6"], torch.float32)
    fcn_jax.save_weights(ours(VARIANTS["r50b-d6"], arrays_of(model), np.float32), tmp_path / "back.pth")
    loaded = torch.load(tmp_path / "back.pth", weights_only=True)
    model.load_state_dict(loaded, strict=True)
    for key, array in read_checkpoint(tmp_path / "back.pth").items():
        if "num_batches" not in key:
            np.testing.assert_array_equal(array, arrays_of(model)[key])


@pytest.mark.parametrize("name", ["r50-d8, 769", "r18-d8"])
def test_labels_are_those_of_the_resized_logits(name):
    """Both resizes, to the network's input and to the picture, align corners or both do not."""
    variant, model = VARIANTS[name], torch_segmentor(VARIANTS[name], torch.float32)
    pixels = np.random.RandomState(0).randint(0, 256, (40, 60, 3), np.uint8)
    preset = FitWithin(long=96, short=70)
    with torch.no_grad():
        logits = model(to_torch(preset(pixels)[None], torch.float32))["out"]
        expected = from_torch(model.resize(logits, (40, 60)))[0]
    segmenter = fcn_jax.Segmenter(ours(variant, arrays_of(model), np.float32), preset)
    top = np.sort(expected, axis=-1)
    clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(expected).max()
    assert clear.mean() > 0.9
    result = segmenter(pixels)
    np.testing.assert_array_equal(result.labels[clear], expected.argmax(-1)[clear])
    probability = torch.softmax(torch.from_numpy(expected), -1).numpy().max(-1)
    np.testing.assert_allclose(result.confidence, probability, atol=3e-5)  # seen: 7e-6


def test_windows_are_averaged_as_mmsegmentation_averages_them():
    variant, crop, stride = VARIANTS["r18-d8"], (33, 40), (20, 24)
    model = torch_segmentor(variant, torch.float32)
    pixels = np.random.RandomState(0).randint(0, 256, (61, 90, 3), np.uint8)
    preset = FitWithin(long=90, short=61)
    images = to_torch(preset(pixels)[None], torch.float32)
    total, count = torch.zeros(1, 5, 61, 90), torch.zeros(1, 1, 61, 90)
    for row in (0, 20, 28):  # by hand: steps of 20 and 24, the last ends with the picture
        for column in (0, 24, 48, 50):
            part = (..., slice(row, row + 33), slice(column, column + 40))
            with torch.no_grad():
                total[part] += model(images[part])["out"]
            count[part] += 1
    expected = from_torch(total / count)[0]
    segmenter = fcn_jax.Segmenter(
        ours(variant, arrays_of(model), np.float32),
        preset,
        window=fcn_jax.Window(crop=crop, stride=stride),
    )
    assert relative_error(segmenter(pixels).logits, expected) < 1e-5  # seen: 8e-7
