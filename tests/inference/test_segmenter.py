"""Segmenting pictures of any kind, against the same steps taken one by one in evaluation mode."""

import gc
import pickle
import threading
import types
import weakref
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.errors import OutOfMemoryError
from fcn_jax.images import ImageError
from fcn_jax.inference import Segmentation, Segmenter
from fcn_jax.inference.engine import Engine, Slot
from fcn_jax.inference.foreign import WholeLogits
from fcn_jax.inference.labels import View, find_labels
from fcn_jax.inference.plan import Plan
from fcn_jax.inference.reading import READERS
from fcn_jax.transforms import SemanticSegmentation
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import TinyFCN, TinyModel, picture

SMALL = SemanticSegmentation(resize_size=40)
STRIP = picture(501, 143)


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(TinyModel(), SMALL)


@pytest.fixture(scope="module")
def whole() -> Segmentation:
    return Segmenter(TinyFCN(), tile=None)(STRIP)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(33, 47), (90, 61), (1, 1), (3, 20)])
def test_the_steps_one_by_one(segmenter, size):
    image = noise(*size)
    model = TinyModel()
    model.eval()
    logits = nnx.jit(model)(jnp.asarray(SMALL(image))[None])["out"]
    result = segmenter(image)
    view = View(jnp.asarray(result.logits)[None], WholeLogits(), logits.shape[1:3])
    labels, confidence = find_labels([view], size)
    assert isinstance(result, Segmentation)
    assert (result.labels.shape, result.labels.dtype) == (size, np.uint8)
    assert (result.confidence.shape, result.confidence.dtype) == (size, np.float32)
    np.testing.assert_allclose(result.logits, logits[0], atol=1e-5)
    np.testing.assert_array_equal(result.confidence, confidence)
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(np.asarray(result.image), image)


def test_one_picture_or_a_list_of_every_kind(segmenter, tmp_path):
    image = noise(20, 31)
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    one = segmenter(image)
    results = segmenter([path, str(path), Image.fromarray(image), image, noise(31, 20)])
    assert [result.source for result in results] == [path, path, None, None, None]
    for result in results[:4]:
        np.testing.assert_array_equal(result.labels, one.labels)
    assert results[4].labels.shape == (31, 20)
    assert segmenter([]) == []
    assert isinstance(segmenter((image,)), list)


def test_the_stream_reads_some_pictures_ahead_and_no_more(segmenter):
    asked = []

    def sources():
        for seed in range(50):
            asked.append(seed)
            yield noise(20, 20, seed)

    stream = segmenter.stream(sources())
    assert isinstance(stream, types.GeneratorType)
    assert asked == []
    first = next(stream)
    assert 1 < len(asked) <= READERS + 3
    np.testing.assert_array_equal(first.labels, segmenter(noise(20, 20, 0)).labels)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fcn_jax reader")]


def test_the_callers_model_is_left_alone_and_not_kept(segmenter):
    model = TinyModel()
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat))))
    other = Segmenter(model, SMALL)
    result = other(noise(20, 20))
    assert not model.dropout.deterministic
    assert not model.bn.use_running_average
    after = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    np.testing.assert_array_equal(result.labels, segmenter(noise(20, 20)).labels)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("build", [TinyModel, TinyFCN])
def test_an_update_does_not_change_earlier_results(build):
    model = build(num_classes=5)
    segmenter = Segmenter(model, SMALL)
    result = segmenter(noise(20, 20))
    logits, probability = result.logits, result.probability(2)
    for layer in nnx.iter_modules(model):
        if isinstance(layer[1], nnx.Conv):
            layer[1].kernel[...] = -layer[1].kernel[...]
    np.testing.assert_array_equal(segmenter(noise(20, 20)).logits, logits)  # changed only by `update`
    segmenter.update(model)
    assert np.abs(segmenter(noise(20, 20)).logits - logits).max() > 0.1
    np.testing.assert_array_equal(result.logits, logits)
    np.testing.assert_array_equal(result.probability(2), probability)
    assert segmenter.compilations == 1
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.probability(2), probability)
    with pytest.raises(ValueError, match=r"expected an array of shape .*, as before, got .*make a new"):
        segmenter.update(build(num_classes=6))


def test_an_update_takes_the_last_upsampling_too():
    model = drawn_model("fcn32s_vgg16", "float32")
    engine = Engine(model)
    before, layer = engine.upsampler(), model.upscore
    kernel = np.asarray(layer.kernel[...])
    layer.kernel.set_value(2 * layer.kernel[...])
    engine.update(model)
    layer.kernel.set_value(jnp.asarray(kernel))
    np.testing.assert_array_equal(engine.upsampler().kernel, 2 * kernel)
    np.testing.assert_array_equal(engine.upsampler(transposed=True).kernel, 2 * kernel.swapaxes(0, 1))
    np.testing.assert_array_equal(before.kernel, kernel)


def test_a_segmenter_can_be_pickled(segmenter):
    """Within one process; test_devices.py tests two processes."""
    again = pickle.loads(pickle.dumps(segmenter))
    assert (again.transforms, again.categories, again.compilations) == (SMALL, VOC_CATEGORIES, 0)
    result, expected = again(noise(20, 31)), segmenter(noise(20, 31))
    np.testing.assert_array_equal(result.confidence, expected.confidence)
    again.update(TinyModel(seed=1))
    assert (again(noise(20, 31)).confidence != expected.confidence).any()
    assert again.compilations == 1


def test_aux_is_not_computed(segmenter):
    """The auxiliary head alone has 77 channels: the compiled program holds no array of that width."""
    text = segmenter.lowered((40, 48)).compile().as_text()
    assert ",8]" in text
    assert ",77]" not in text
    model = TinyModel()
    model.eval()
    images = jax.ShapeDtypeStruct((1, 40, 48, 3), jnp.float32)
    assert ",77]" in jax.jit(model.__call__).lower(images).compile().as_text()


def test_a_foreign_model_is_compiled_for_each_size():
    segmenter = Segmenter(TinyModel(), SMALL)
    for size in ((20, 20), (20, 20), (30, 30), (20, 30)):
        segmenter(noise(*size))
    assert segmenter.compilations == 2  # 40 x 40 and 40 x 60


def test_bfloat16_logits_become_float32():
    class Bfloat16(TinyModel):
        def __call__(self, images):
            return {"out": super().__call__(images)["out"].astype(jnp.bfloat16)}

    assert Segmenter(Bfloat16(), SMALL)(noise(9, 9)).logits.dtype == np.float32


class Returning(nnx.Module):
    def __init__(self, result):
        self.result = nnx.static(result)

    def __call__(self, images):
        return self.result(images)


def returning_classes(count):
    return Returning(lambda images: {"out": jnp.zeros((1, 2, 2, count))})


def test_names_of_the_classes():
    assert Segmenter(returning_classes(21)).categories == VOC_CATEGORIES
    assert Segmenter(returning_classes(3)).categories == ("class 0", "class 1", "class 2")
    assert Segmenter(returning_classes(2), categories=["sky", "sea"]).categories == ("sky", "sea")
    with pytest.raises(ValueError, match="categories: expected 21, one for each class, got 2"):
        Segmenter(returning_classes(21), categories=["sky", "sea"])


def test_names_and_colours_are_the_models():
    model = TinyFCN(num_classes=2)
    palette = ((1, 2, 3), (4, 5, 6))
    model.update_meta(categories=("sky", "sea"), palette=palette)
    for segmenter in (Segmenter(model, SMALL), pickle.loads(pickle.dumps(Segmenter(model, SMALL)))):
        result = segmenter(noise(9, 9))
        assert (result.categories, result.palette) == (("sky", "sea"), palette)
        colours = np.asarray(result.label_image().convert("RGB"))
        np.testing.assert_array_equal(colours, np.array(palette)[result.labels])


def test_the_default_transforms_are_torchvisions():
    assert Segmenter(returning_classes(1)).transforms == SemanticSegmentation()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda images: {"aux": images}, r"returns \{\"out\": logits.*\}, got \{'aux'"),
        (lambda images: images, r"returns \{\"out\": logits.*\}, got Shape"),
        (lambda images: {"out": images[0]}, r"logits \(N, H, W, C\)\}, got logits of shape \(64, 64, 3\)"),
        (returning_classes(257).result, r"at most 256 classes, .* got 257"),
    ],
)
def test_unfit_models(result, message):
    with pytest.raises(ValueError, match=message):
        Segmenter(Returning(result))


def test_unfit_arguments():
    """Numbers out of range are tested in test_plan.py."""
    with pytest.raises(TypeError, match=r"expected a model, an nnx.Module, got function; fcn_jax.load_model"):
        Segmenter(noise)
    with pytest.raises(TypeError, match="expected transforms with a method output_size"):
        Segmenter(returning_classes(1), np.asarray)
    with pytest.raises(ValueError, match="got one without: the receptive field of TinyModel cannot be told"):
        Segmenter(TinyModel(), tile=64)


def test_pictures_too_large_for_the_model_are_refused_before_any_work(tmp_path, monkeypatch):
    path = tmp_path / "strip.png"
    Image.new("RGB", (8000, 20)).save(path)
    monkeypatch.setattr(SemanticSegmentation, "normalize", lambda *_: pytest.fail("resized"))
    numbers = r"strip.png: .*8,000,000 pixels.* got 8000 x 20, .*208000 x 520 = 108,160,000"
    with pytest.raises(ImageError, match=numbers) as error:
        Segmenter(returning_classes(1))(path)
    assert error.value.path == str(path)


def test_unreadable_pictures(segmenter, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        segmenter(tmp_path / "bad.jpg")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        segmenter([noise(9, 9), tmp_path / "bad.jpg"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(value):
    segmenter = Segmenter(Returning(lambda images: {"out": jnp.full((1, 2, 2, 3), value)}), SMALL)
    with pytest.raises(ValueError, match="expected finite logits, got NaN or infinity from the model"):
        segmenter(noise(9, 9))


def test_out_of_memory_says_what_would_help(monkeypatch):
    def full(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")

    monkeypatch.setattr(Engine, "coarse_logits", full)
    message = r"with a picture of 90 x 70 \(RESOURCE.*123 bytes.\); try tile=1024"
    with pytest.raises(OutOfMemoryError, match=message):
        Segmenter(TinyFCN())(picture(90, 70))
    message = r"with 4 pictures at once, the first of 90 x 70 \(RESOURCE.*; try batch_size=2"
    with pytest.raises(OutOfMemoryError, match=message):
        Segmenter(TinyFCN(), batch_size=4)([picture(90, 70)] * 4)


def test_tiles_give_the_result_of_the_whole(whole):
    progress = []
    segmenter = Segmenter(TinyFCN(), tile=64, on_progress=lambda *counts: progress.append(counts))
    tiled = segmenter(STRIP)
    assert segmenter.compilations == 1  # those at the border, which are smaller, need no other program
    assert progress == [(number, 24) for number in range(1, 25)]
    np.testing.assert_allclose(tiled.logits, whole.logits, atol=1e-5 * np.abs(whole.logits).max())
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=1e-5)
    assert (tiled.labels != whole.labels).mean() < 1e-5  # none, here
    np.testing.assert_allclose(tiled.probability(2), whole.probability(2), atol=1e-5)


def test_pictures_too_large_for_one_piece_are_tiled(whole, monkeypatch):
    monkeypatch.setattr("fcn_jax.inference.plan.AUTO_TILE", 64)
    progress, model = [], TinyFCN()
    settings = {"scales": (0.25, 1.0), "on_progress": lambda *counts: progress.append(counts)}
    expected = Segmenter(model, **settings)(STRIP)
    assert progress == []
    monkeypatch.setattr("fcn_jax.inference.plan.MAX_MODEL_PIXELS", 40_000)
    result = Segmenter(model, **settings)(STRIP)
    assert progress[-1] == (24, 24)
    assert len(progress) == 24  # the larger scale alone
    np.testing.assert_allclose(result.confidence, expected.confidence, atol=1e-5)


def test_a_small_halo_is_an_approximation(whole):
    result = Segmenter(TinyFCN(), tile=64, halo=4)(STRIP)
    difference = np.abs(result.logits - whole.logits).max() / np.abs(whole.logits).max()
    assert 1e-3 < difference < 1


def test_views_are_averaged_as_probabilities():
    """Against resizing, mirroring and averaging by hand."""
    model, image = TinyFCN(), picture(90, 70)
    scales = (0.5, 1.0, 1.5)
    result = Segmenter(model, scales=scales, flip=True)(image)
    total = np.zeros((70, 90, 5))
    for scale in scales:
        size = round(90 * scale), round(70 * scale)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        for step in (1, -1):
            batch = model.transforms.normalize(pixels[:, ::step])[None]
            logits = jax.jit(lambda model, batch: model(batch)["out"])(model, batch)
            resized = jax.image.resize(logits, (1, 70, 90, 5), "bilinear", antialias=False)
            total += np.asarray(jax.nn.softmax(resized))[0][:, ::step]
    expected = total / 6
    np.testing.assert_allclose(result.confidence, expected.max(-1), atol=2e-5)
    np.testing.assert_allclose(result.probability(3), expected[..., 3], atol=2e-5)
    top = np.sort(expected, -1)
    clear = top[..., -1] - top[..., -2] > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(result.labels[clear], expected.argmax(-1)[clear])
    assert len(result.views) == 6


@pytest.mark.parametrize(
    ("size", "gigabytes", "batch"),
    [
        ((520, 520), 80, 32),
        ((520, 520), 2, 2),
        ((520, 693), 16, 16),
        ((9000, 9000), 80, 1),
        ((520, 520), 0, 2),
    ],
)
def test_an_accelerators_memory_chooses_the_batch(monkeypatch, size, gigabytes, batch):
    """A quarter of the memory, at 512 bytes a pixel; 2 where nothing is known, one for each device."""
    device = SimpleNamespace(platform="gpu", id=0, memory_stats=lambda: {"bytes_limit": gigabytes * 2**30})
    engine = Engine(TinyFCN())
    monkeypatch.setattr(engine, "_devices", (device,))
    monkeypatch.setattr(engine, "asynchronous", True)
    if not gigabytes:
        monkeypatch.setattr(device, "memory_stats", lambda: None)
        monkeypatch.setattr(engine, "devices", 2)
    assert engine.batch_for(size) == batch


@pytest.mark.parametrize(("pictures", "batch"), [(None, 256), (300, 256), (5, 8), (1, 1)])
def test_a_batch_is_no_longer_than_the_list(monkeypatch, pictures, batch):
    """Here 256 pictures fit, as on eight devices; the number of pictures of a stream is not known."""
    monkeypatch.setattr(Engine, "batch_for", lambda *_: 256)
    monkeypatch.setattr(Engine, "slot", lambda self, size, count: Slot(count, size, transposed=False))
    viewer = Segmenter(TinyFCN())._viewer
    (slot,) = viewer.slots([Plan((40, 40), None)], None, pictures)
    assert slot.places == batch


def test_a_program_that_failed_to_compile_is_tried_again(monkeypatch):
    segmenter, lowered = Segmenter(TinyFCN()), Engine.lowered

    def fail():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: for now")

    monkeypatch.setattr(Engine, "lowered", lambda *_: SimpleNamespace(compile=fail))
    with pytest.raises(OutOfMemoryError, match="for now"):
        segmenter(picture(40, 40))
    monkeypatch.setattr(Engine, "lowered", lowered)
    assert segmenter(picture(40, 40)).labels.shape == (40, 40)
