"""From pictures of any kind to results, against the same steps taken one by one in eval mode."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.images import ImageError
from fcn_jax.inference import Segmentation, Segmenter
from fcn_jax.inference.labels import finish
from fcn_jax.inference.views import View
from fcn_jax.transforms import SemanticSegmentation
from tests.inference.tiny import TinyModel

SMALL = SemanticSegmentation(resize_size=40)


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(TinyModel(), SMALL)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(33, 47), (47, 33), (90, 61), (1, 1), (3, 20)])
def test_the_steps_one_by_one(segmenter, size):
    image = picture(*size)
    model = TinyModel()
    model.eval()
    logits = nnx.jit(model)(jnp.asarray(SMALL(image))[None])["out"][0]
    result = segmenter(image)
    labels, confidence = finish([View.of_logits(result.logits)], size)
    assert isinstance(result, Segmentation)
    assert (result.labels.shape, result.labels.dtype) == (size, np.uint8)
    assert (result.confidence.shape, result.confidence.dtype) == (size, np.float32)
    np.testing.assert_allclose(result.logits, logits, atol=1e-5)
    np.testing.assert_array_equal(result.confidence, confidence)
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(np.asarray(result.image), image)


def test_one_picture_or_a_list_of_every_kind(segmenter, tmp_path):
    image = picture(20, 31)
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    one = segmenter(image)
    results = segmenter([path, str(path), Image.fromarray(image), image, picture(31, 20)])
    assert [result.source for result in results] == [path, path, None, None, None]
    for result in results[:4]:
        np.testing.assert_array_equal(result.labels, one.labels)
    assert results[4].labels.shape == (31, 20)
    assert segmenter([]) == []
    assert isinstance(segmenter((image,)), list)


def test_the_stream_reads_a_picture_only_when_asked(segmenter):
    asked = []

    def sources():
        for seed in range(3):
            asked.append(seed)
            yield picture(20, 20, seed)

    stream = segmenter.stream(sources())
    assert isinstance(stream, types.GeneratorType)
    first = next(stream)
    assert asked == [0]
    np.testing.assert_array_equal(first.labels, segmenter(picture(20, 20, 0)).labels)
    assert len(list(stream)) == 2


def test_the_callers_model_is_left_alone(segmenter):
    model = TinyModel()
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat))))
    result = Segmenter(model, SMALL)(picture(20, 20))
    assert not model.dropout.deterministic
    assert not model.bn.use_running_average
    after = nnx.to_pure_dict(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    np.testing.assert_array_equal(result.labels, segmenter(picture(20, 20)).labels)
    model.eval()
    Segmenter(model, SMALL)
    assert model.dropout.deterministic


def test_later_changes_to_the_model_are_not_seen():
    model = TinyModel()
    segmenter = Segmenter(model, SMALL)
    before = segmenter(picture(20, 20)).logits
    model.classifier.kernel[...] = jnp.zeros_like(model.classifier.kernel[...])
    np.testing.assert_array_equal(segmenter(picture(20, 20)).logits, before)


def test_aux_is_not_computed(segmenter):
    """The auxiliary head alone has 77 channels: the compiled program holds no array of that width."""
    images = jax.ShapeDtypeStruct((1, 40, 48, 3), jnp.float32)
    text = segmenter._engine._compute.lower(segmenter._engine._arrays, images).compile().as_text()
    assert ",8]" in text
    assert ",77]" not in text
    model = TinyModel()
    model.eval()
    assert ",77]" in jax.jit(model.__call__).lower(images).compile().as_text()


def test_one_compilation_for_each_size():
    segmenter = Segmenter(TinyModel(), SMALL)
    for size in ((20, 20), (20, 20), (30, 30), (20, 30)):
        segmenter(picture(*size))
    assert segmenter._engine._compute._cache_size() == 2  # 40 x 40 and 40 x 60


def test_bfloat16_logits_become_float32():
    class Bfloat16(TinyModel):
        def __call__(self, images):
            return {"out": super().__call__(images)["out"].astype(jnp.bfloat16)}

    assert Segmenter(Bfloat16(), SMALL)(picture(9, 9)).logits.dtype == np.float32


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
    with pytest.raises(ValueError, match="expected 21 categories, one for each class, got 2"):
        Segmenter(returning_classes(21), categories=["sky", "sea"])


def test_the_default_transforms_are_torchvisions():
    assert Segmenter(returning_classes(1)).transforms == SemanticSegmentation()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda images: {"aux": images}, r"returns \{\"out\": logits\}, got \{'aux'"),
        (lambda images: images, r"returns \{\"out\": logits\}, got Shape"),
        (lambda images: {"out": images[0]}, r"logits \(N, H, W, C\), got shape \(64, 64, 3\)"),
        (returning_classes(257).result, "at most 256 classes, .* got 257"),
    ],
)
def test_unfit_models(result, message):
    with pytest.raises(ValueError, match=message):
        Segmenter(Returning(result))


def test_unfit_arguments():
    with pytest.raises(TypeError, match=r"expected a model, an nnx.Module, got function; fcn_jax.load_model"):
        Segmenter(picture)
    with pytest.raises(TypeError, match="expected transforms with a method output_size"):
        Segmenter(returning_classes(1), np.asarray)


def test_pictures_too_large_for_the_model_are_refused_before_any_work(tmp_path, monkeypatch):
    path = tmp_path / "strip.png"
    Image.new("RGB", (8000, 20)).save(path)
    monkeypatch.setattr(SemanticSegmentation, "__call__", lambda *_: pytest.fail("resized"))
    numbers = r"strip.png: .*8,000,000 pixels.* got 8000 x 20, .*208000 x 520 = 108,160,000"
    with pytest.raises(ImageError, match=numbers) as error:
        Segmenter(returning_classes(1))(path)
    assert "resize_size" in str(error.value)
    assert error.value.path == str(path)


def test_unreadable_pictures(segmenter, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        segmenter(tmp_path / "bad.jpg")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        segmenter([picture(9, 9), tmp_path / "bad.jpg"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite(value):
    segmenter = Segmenter(Returning(lambda images: {"out": jnp.full((1, 2, 2, 3), value)}), SMALL)
    with pytest.raises(ValueError, match="expected finite logits, got nan or infinity from the model"):
        segmenter(picture(9, 9))
