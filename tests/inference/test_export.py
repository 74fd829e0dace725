"""An exported file runs in a process without this package; errors for unfit settings and files."""

import json
import subprocess
import sys
import zipfile

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.inference.export import load_exported, save_exported
from tests.inference.drawn_models import drawn_model
from tests.seeded import seeded_images

SIZE = (41, 67)
ALONE = """
import json, sys, zipfile, jax, jax.export, numpy
with zipfile.ZipFile(sys.argv[1]) as file:
    function = jax.export.deserialize(bytearray(file.read("function")))
    with file.open("weights.npz") as weights:
        arrays = dict(numpy.load(weights))
labels = jax.jit(function.call)(arrays, numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], labels)
assert not {"fcn_jax", "flax", "weights_converter", "safetensors"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = drawn_model("fcn8s_vgg16", "float32")
    path = tmp_path_factory.mktemp("exported") / "model.zip"
    save_exported(model, path, size=SIZE)
    return model, path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn8s_vgg16", "fcn_resnet50"])
def test_with_jax_alone(name, saved, tmp_path):
    model, path = saved
    if name != "fcn8s_vgg16":
        model, path = drawn_model(name, "float32"), tmp_path / "model.zip"
        save_exported(model, path, size=SIZE)
    images = seeded_images(3, *SIZE).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    files = [path, tmp_path / "images.npy", tmp_path / "labels.npy"]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True, cwd=tmp_path)
    labels = np.load(tmp_path / "labels.npy")
    expected = np.asarray(jax.jit(lambda model, images: model(images)["out"])(model, images))
    top = np.sort(expected, -1)
    clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(expected).max()
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[clear], expected.argmax(-1)[clear])
    for batch in (1, 2) if name == "fcn8s_vgg16" else ():  # one file for any number of images
        result = load_exported(path).function(images[:batch])
        np.testing.assert_array_equal(result, labels[:batch])


def test_the_facts(saved):
    model, path = saved
    facts = load_exported(path).facts
    assert (facts["size"], facts["output"], facts["platforms"]) == ([41, 67], "labels", ["cpu"])
    assert facts["transforms"] == model.transforms.to_dict()
    assert facts["jax"] == jax.__version__


def test_logits_for_several_platforms(tmp_path):
    model, images = drawn_model("fcn8s_vgg16", "float32"), seeded_images(1, *SIZE).astype(np.float32)
    save_exported(model, tmp_path / "m.zip", size=SIZE, output="logits", platforms=("cpu", "cuda", "tpu"))
    logits = load_exported(tmp_path / "m.zip").function(images)["out"]
    expected = jax.jit(lambda model, images: model(images)["out"])(model, images)
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_large_images_go_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["fcn_jax.inference.prepare"], "LARGE_IMAGE_PIXELS", 1)
    model, images = drawn_model("fcn8s_vgg16", "float32"), seeded_images(3, *SIZE).astype(np.float32)
    save_exported(model, tmp_path / "m.zip", size=SIZE, output="logits")
    function = load_exported(tmp_path / "m.zip").function
    expected = jax.jit(lambda model, images: model(images)["out"])(model, images)
    for batch in (1, 3):
        logits = function(images[:batch])["out"]
        np.testing.assert_allclose(logits, expected[:batch], atol=1e-5 * np.abs(expected).max())


def test_half_precision(tmp_path):
    model = drawn_model("fcn8s_vgg16", "float32")
    model.backbone.conv5_3.dtype = jnp.bfloat16
    save_exported(model, tmp_path / "m.zip", size=SIZE, output="logits")
    expected = jax.jit(lambda model, images: model(images)["out"])(
        model, seeded_images(1, *SIZE).astype(np.float32)
    )
    model.backbone.conv5_3.dtype = None
    logits = load_exported(tmp_path / "m.zip").function(seeded_images(1, *SIZE).astype(np.float32))["out"]
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 5)}, r"size: expected a height and a width of at least 1, got \(0, 5\)"),
        ({"output": "masks"}, "output: expected one of logits, .*, got 'masks'"),
        ({"platforms": ("gpu",)}, "platforms: expected some of cpu, cuda, rocm, tpu, got gpu"),
    ],
)
def test_unfit_settings(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_exported(drawn_model("fcn8s_vgg16", "float32"), tmp_path / "m.zip", **{"size": SIZE} | settings)
    assert list(tmp_path.iterdir()) == []


def test_unfit_files(saved, tmp_path):
    path = tmp_path / "m.zip"
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"m\.zip: expected a complete file from `fcn-jax export`"):
        load_exported(path)
    whole = saved[1].read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"m\.zip: expected a complete file from `fcn-jax export`"):
        load_exported(path)
    rewritten(saved[1], path, platforms=["tpu"])
    with pytest.raises(
        ValueError, match="for tpu, but JAX uses cpu here; export it again with platforms cpu"
    ):
        load_exported(path)
    rewritten(saved[1], path, format="fcn_jax export 9")
    with pytest.raises(ValueError, match=r"expected the format 'fcn_jax export 1', got 'fcn_jax export 9'"):
        load_exported(path)
    with zipfile.ZipFile(saved[1]) as file:
        function = file.read("function")
    inside = function.index(b"StableHLO_v")
    damaged_inside = function[: inside + 30] + bytes(100) + function[inside + 130 :]
    for unreadable in (b"another time", damaged_inside):
        rewritten(saved[1], path, function=unreadable, jax="9.9")
        with pytest.raises(ValueError, match=r"exported by JAX 9\.9, which JAX .* cannot read"):
            load_exported(path)


def test_without_flatbuffers(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"exported files need flatbuffers: pip install 'fcn_jax\[export\]'"
    with pytest.raises(ImportError, match=message):
        save_exported(saved[0], tmp_path / "m.zip", size=SIZE)
    with pytest.raises(ImportError, match=message):
        load_exported(saved[1])
    assert list(tmp_path.iterdir()) == []


def rewritten(source, path, function=None, **facts):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("facts.json", json.dumps(json.loads(old.read("facts.json")) | facts))
        new.writestr("function", function or old.read("function"))
        new.writestr("weights.npz", old.read("weights.npz"))
