"""An exported file runs without this package, for images of any size; errors say what does not fit."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.errors import CheckpointError
from fcn_jax.inference import export
from fcn_jax.inference.export import load_exported, save_exported
from tests.inference.drawn_models import drawn_model, relative_error
from tests.inference.tiny import TinyFCN, TinyModel
from tests.seeded import seeded_images

SIZE = (41, 67)
SIZES = [SIZE, (40, 66), (1, 1), (1, 67), (41, 1), (23, 50)]
ALONE = """
import numpy, sys
images, sizes = numpy.load("images.npy"), numpy.load("sizes.npy")
{the_docstrings_lines}
numpy.save("labels.npy", labels)
assert not {{"fcn_jax", "flax", "weights_converter", "safetensors"}} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = drawn_model("fcn8s_vgg16", "float32")
    path = tmp_path_factory.mktemp("exported") / "model.zip"
    save_exported(model, path, size=SIZE)
    return model, path


def images_of(sizes, seed=0):
    random = np.random.RandomState(seed)
    return [random.standard_normal((*size, 3)).astype(np.float32) for size in sizes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn8s_vgg16", "fcn_resnet50"])
def test_with_jax_alone(name, saved, tmp_path):
    """As the module's docstring says, images of three sizes in a buffer whose rest is NaN."""
    model, path = saved
    shutil.copy(path, tmp_path / "model.zip")
    if name != "fcn8s_vgg16":
        model = drawn_model(name, "float32")
        save_exported(model, tmp_path / "model.zip", size=SIZE)
    images, sizes = images_of([SIZE, (23, 50), (40, 1)]), np.array([SIZE, (23, 50), (40, 1)], np.int32)
    buffer = np.full((3, *SIZE, 3), np.nan, np.float32)
    for place, image in enumerate(images):
        buffer[place, : image.shape[0], : image.shape[1]] = image
    np.save(tmp_path / "images.npy", buffer)
    np.save(tmp_path / "sizes.npy", sizes)
    (lines,) = re.findall(r"(?:^    .+\n)+", export.__doc__, re.MULTILINE)
    program = ALONE.format(the_docstrings_lines=textwrap.dedent(lines))
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    labels = np.load(tmp_path / "labels.npy")
    assert (labels.shape, labels.dtype) == ((3, *SIZE), np.uint8)
    again = load_exported(tmp_path / "model.zip").function(images)
    forward = jax.jit(lambda model, images: model(images)["out"])
    for place, image in enumerate(images):
        expected = np.asarray(forward(model, image[None]))[0]
        top = np.sort(expected, -1)
        clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(expected).max()
        inside = labels[place, : image.shape[0], : image.shape[1]]
        np.testing.assert_array_equal(inside[clear], expected.argmax(-1)[clear])
        np.testing.assert_array_equal(again[place], inside)
        assert labels[place].sum() == inside.sum()  # 0 outside


@pytest.mark.parametrize("name", ["tiny", pytest.param("fcn8s_vgg16", marks=pytest.mark.slow)])
def test_images_of_any_size(name, tmp_path):
    """A list gives a list, an array an array, at the size of the images."""
    model = TinyFCN() if name == "tiny" else drawn_model(name, "float32")
    save_exported(model, tmp_path / "m.zip", size=SIZE, output="logits")
    save_exported(model, tmp_path / "p.zip", size=SIZE, output="probabilities")
    function, facts = load_exported(tmp_path / "m.zip")
    probabilities = load_exported(tmp_path / "p.zip").function
    assert facts["any_size"]
    images, forward = images_of(SIZES), jax.jit(lambda model, images: model(images)["out"])
    found = function(images), probabilities(tuple(images))
    assert (type(found[0]), type(found[1])) == (list, list)
    for image, logits, shares in zip(images, *found, strict=True):
        expected = forward(model, image[None])[0]
        assert relative_error(logits["out"], expected) < 1e-5  # seen: 2e-7
        np.testing.assert_allclose(shares, jax.nn.softmax(expected), atol=1e-5)
        alone = function(jnp.asarray(image)[None])["out"]
        assert alone.shape == (1, *expected.shape)
        assert relative_error(alone[0], expected) < 1e-5
    assert function(np.stack([images[-1]] * 2))["out"].shape == (2, 23, 50, 5)
    assert function([]) == []


def test_it_compiles_once_for_each_number_of_images(tmp_path):
    save_exported(TinyFCN(), tmp_path / "m.zip", size=SIZE)
    function, compiled = load_exported(tmp_path / "m.zip").function, []

    def listener(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for height in range(1, 41, 5):
            for width in (3, 60):
                function(images_of([(height, width)]))
                function(images_of([(height, width)])[0][None])
                function(images_of([(height, width), (41, height)]))
        assert len(compiled) == 2
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)


def test_unfit_images(tmp_path):
    save_exported(TinyFCN(), tmp_path / "m.zip", size=SIZE)
    function = load_exported(tmp_path / "m.zip").function
    for images, message in (
        (
            np.zeros((1, 42, 5, 3), np.float32),
            r"images: expected at most 41 x 67 \(height x width\), .* exported for, got 42 x 5; "
            "resize the image, or export the model again for 42x67",
        ),
        (images_of([SIZE, (41, 68)]), r"images\[1\]: expected at most 41 x 67 .*, got 41 x 68; .* for 41x68"),
        (np.zeros((5, 5, 3), np.float32), r"expected images \(N, H, W, 3\), .* add a batch axis"),
        ([np.zeros((5, 5, 3), np.uint8)], "pass pictures through the transforms first"),
        ([np.zeros((1, 5, 5, 3))], r"images\[0\]: expected an array \(h, w, 3\), got shape \(1, 5, 5, 3\)"),
        ([np.zeros((0, 5, 3))], "which is empty"),
        ([[1.0]], r"images\[0\]: expected an array \(h, w, 3\), got list"),
    ):
        with pytest.raises(ValueError, match=message):
            function(images)


@pytest.mark.parametrize("version", [1, 2])
def test_foreign_models_and_older_files_have_one_size(version, tmp_path):
    """A file of format 1 was what a foreign model's file is, without "any_size"."""
    model, images, path = TinyModel(), images_of([SIZE] * 2), tmp_path / "m.zip"
    save_exported(model, path, size=SIZE, output="logits")
    if version == 1:
        rewritten(path, tmp_path / "old.zip", without=("any_size",), format="fcn_jax export 1")
        path = tmp_path / "old.zip"
        message = r"'fcn_jax export 1', which has no digests .* unverified=True"
        with pytest.raises(CheckpointError, match=message):
            load_exported(path)
    function, facts = load_exported(path, unverified=version == 1)
    assert not facts["any_size"]
    model.eval()
    expected = model(np.stack(images))["out"]
    np.testing.assert_allclose(function(np.stack(images))["out"], expected, atol=1e-5)
    for result, each in zip(function(images), expected, strict=True):
        np.testing.assert_allclose(result["out"], each, atol=1e-5)
    with pytest.raises(ValueError, match=r"images\[0\]: expected exactly 41 x 67 .*, got 40 x 67"):
        function(images_of([(40, 67)]))


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
        (
            {"size": (8, 32_001)},
            r"size: expected sides of at most 32000, so that .*, got \(8, 32001\); export a smaller size",
        ),
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
    with pytest.raises(
        ValueError, match=r"expected the format 'fcn_jax export 3', got 'fcn_jax export 9'; .* update"
    ):
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


def rewritten(source, path, function=None, without=(), **facts):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        facts = json.loads(old.read("facts.json")) | facts
        facts = {key: facts[key] for key in facts if key not in without}
        function, weights = function or old.read("function"), old.read("weights.npz")
        facts["sha256"] = export._digests(facts, function, weights)
        for name, content in zip(export.PARTS, (json.dumps(facts), function, weights), strict=True):
            new.writestr(name, content)


def test_every_damage_is_one_error_and_never_reaches_jax(saved, tmp_path, monkeypatch):
    """Bytes overturned anywhere, parts exchanged under right checksums of the zip, cut files."""
    path, whole = tmp_path / "m.zip", saved[1].read_bytes()

    def never(_):
        raise AssertionError("an unverified program")

    monkeypatch.setattr(jax.export, "deserialize", never)
    random = np.random.default_rng(0)
    ends = [*range(0, 400, 11), *range(len(whole) - 400, len(whole), 11)]
    for place in [*ends, *random.integers(0, len(whole), 30)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            load_exported(path)
        except (CheckpointError, AssertionError) as error:
            if isinstance(error, AssertionError):  # a byte of the zip that changes nothing
                assert unpacked(path) == unpacked(saved[1])
    for length in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"m.zip: expected a complete file"):
            load_exported(path)
    parts = unpacked(saved[1])
    for part in export.PARTS:
        for content in (b"", parts[part][:-9], b"[1]", b"[" * 9**5):
            repacked(path, parts | {part: content})
            with pytest.raises(CheckpointError, match=r"m.zip: expected a complete file"):
                load_exported(path)
    repacked(path, parts, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed"):
        load_exported(path)
    with pytest.raises(FileNotFoundError):
        load_exported(tmp_path / "absent.zip")


def unpacked(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in export.PARTS}


def repacked(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(name, content)
