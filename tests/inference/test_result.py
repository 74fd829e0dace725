"""The properties of a result, and the files that it writes."""

import dataclasses
import json
import pickle
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.errors import SettingError
from fcn_jax.inference.foreign import WholeLogits
from fcn_jax.inference.labels import View, find_labels
from fcn_jax.inference.outputs import class_index
from fcn_jax.inference.result import ClassShare, Segmentation

SIZE = (45, 60)


def segmentation(categories=VOC_CATEGORIES, source=Path("photos/my dog.jpg"), seed=0, palette=None):
    random = np.random.default_rng(seed)
    logits = 3 * random.standard_normal((6, 8, len(categories))).astype(np.float32)
    views = (View(jnp.asarray(logits)[None], WholeLogits(), (6, 8)),)
    labels, confidence = find_labels(views, SIZE)
    image = Image.fromarray(random.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    return Segmentation(source, tuple(categories), image, labels, confidence, views, palette)


def test_classes_found_by_hand():
    labels = np.array([[0, 0, 0], [2, 2, 1]], np.uint8)
    confidence = np.array([[0.5, 0.6, 0.7], [0.8, 0.4, 0.9]], np.float32)
    result = Segmentation(None, ("a", "b", "c", "d"), Image.new("RGB", (3, 2)), labels, confidence, ())
    assert [dataclasses.replace(found, confidence=0) for found in result.classes] == [
        ClassShare(0, "a", 3, 0.5, 0),
        ClassShare(2, "c", 2, 1 / 3, 0),
        ClassShare(1, "b", 1, 1 / 6, 0),
    ]
    np.testing.assert_allclose([found.confidence for found in result.classes], [0.6, 0.6, 0.9], rtol=1e-6)


def test_shares_sum_to_one():
    classes = segmentation().classes
    assert sum(found.pixels for found in classes) == SIZE[0] * SIZE[1]
    assert list(classes) == sorted(classes, key=lambda found: -found.share)


def test_probabilities_agree_with_labels_and_confidence():
    result = segmentation()
    shares = np.stack([result.probability(index) for index in range(21)], -1)
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(shares.argmax(-1), result.labels)
    np.testing.assert_allclose(shares.max(-1), result.confidence, rtol=1e-5)
    np.testing.assert_array_equal(result.probability("dog"), shares[..., 12])


def test_a_class_by_name_or_index():
    assert class_index("dog", VOC_CATEGORIES) == class_index(12, VOC_CATEGORIES) == 12
    assert class_index(np.int64(20), VOC_CATEGORIES) == 20
    with pytest.raises(ValueError, match=r"got 'Dogg'; did you mean 'dog'\? There are __background__, "):
        class_index("Dogg", VOC_CATEGORIES)
    with pytest.raises(ValueError, match=r"got 'zebrafish'; there are __background__, aeroplane"):
        class_index("zebrafish", VOC_CATEGORIES)
    for index in (21, -1):
        with pytest.raises(ValueError, match=f"expected a class from 0 to 20, got {index}"):
            class_index(index, VOC_CATEGORIES)
    with pytest.raises(TypeError):
        class_index(1.5, VOC_CATEGORIES)


def test_pictures_have_the_pictures_size():
    result = segmentation()
    size = SIZE[::-1]
    assert result.overlay().size == result.heatmap("dog").size == result.label_image().size == size
    np.testing.assert_array_equal(np.asarray(result.label_image()), result.labels)
    assert result.figure("dog").size == result.figure().size


def test_classes_are_drawn_in_their_own_colours():
    palette = ((1, 2, 3), (250, 128, 7))
    own, plain = (segmentation(("road", "sky"), palette=colours) for colours in (palette, None))
    colours = np.array(palette, np.uint8)[own.labels]
    np.testing.assert_array_equal(np.asarray(own.label_image().convert("RGB")), colours)
    for draw in (Segmentation.overlay, Segmentation.figure):
        assert (np.asarray(draw(own)) != np.asarray(draw(plain))).any()


def test_a_result_can_be_pickled():
    result = segmentation(palette=((1, 2, 3),) * 21)
    again = pickle.loads(pickle.dumps(result))
    assert repr(again) == repr(result)
    for values in ("labels", "confidence", "logits", "colours"):
        np.testing.assert_array_equal(getattr(again, values), getattr(result, values))
    np.testing.assert_array_equal(np.asarray(again.heatmap("dog")), np.asarray(result.heatmap("dog")))


def test_the_figure_shows_the_largest_class_that_is_not_background():
    result = segmentation()
    largest = next(found.index for found in result.classes if found.index != 0)
    np.testing.assert_array_equal(np.asarray(result.figure()), np.asarray(result.figure(largest)))
    empty = dataclasses.replace(result, labels=np.zeros(SIZE, np.uint8))
    assert empty.figure().width < result.figure().width


def test_only_a_class_of_that_name_is_background():
    assert segmentation().background == 0
    assert segmentation(("sky", "sea")).background is None


def test_save_writes_what_it_returns(tmp_path):
    result = segmentation()
    paths = result.save(tmp_path / "new" / "folder", classes=["dog", 15, "dog"])
    names = ["labels", "overlay", "dog", "person", "figure"]
    assert paths == [tmp_path / "new" / "folder" / f"my dog_{name}.png" for name in names]
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    labels = Image.open(paths[0])
    assert labels.mode == "P"
    np.testing.assert_array_equal(np.asarray(labels), result.labels)
    drawn = [result.overlay(), result.heatmap(12), result.heatmap(15), result.figure("dog")]
    for path, image in zip(paths[1:], drawn, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(image))


@pytest.mark.parametrize(
    ("write", "names"),
    [
        ("labels", ["labels"]),
        (["figure", "labels", "labels"], ["labels", "figure"]),
        (["heatmap"], ["dog", "cat"]),
        (None, ["labels", "overlay", "dog", "cat", "figure"]),
    ],
)
def test_only_what_is_asked_for_is_drawn(tmp_path, monkeypatch, write, names):
    """The others are not even computed."""
    drawn = []

    def counted(name):
        draw = getattr(Segmentation, name)
        return lambda self, *which: [drawn.append((name, *which)), draw(self, *which)][1]

    for name in ("label_image", "overlay", "heatmap", "figure"):
        monkeypatch.setattr(Segmentation, name, counted(name))
    paths = segmentation().save(tmp_path, classes=["dog", "cat"], stem="s", write=write)
    assert [path.name for path in paths] == [f"s_{name}.png" for name in names]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    kinds = {"labels": ("label_image",), "overlay": ("overlay",), "figure": ("figure", 12)}
    kinds |= {"dog": ("heatmap", 12), "cat": ("heatmap", 8)}
    assert drawn == [kinds[name] for name in names]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        ("label", r"write: expected some of labels, overlay, figure, heatmap, got 'label'$"),
        (["labels", "map", "Figure"], r"write: expected some of .*, got 'map', 'Figure'$"),
        ([], r"write: expected some of .*, got nothing$"),
        ("heatmap", r"write: a heatmap shows .* no class is named; name the classes with classes, or leave"),
    ],
)
def test_nothing_is_written_for_an_unknown_kind(tmp_path, write, said):
    with pytest.raises(SettingError, match=said):
        segmentation().save(tmp_path / "folder", write=write)
    assert not (tmp_path / "folder").exists()


def test_stems(tmp_path):
    assert segmentation(source=None).save(tmp_path)[0].name == "image_labels.png"
    assert segmentation().save(tmp_path, stem="0001")[0].name == "0001_labels.png"
    with pytest.raises(ValueError, match=r"stem: expected .* without folders, got 'a/b'"):
        segmentation().save(tmp_path, stem="a/b")


def test_nothing_is_written_for_an_unknown_class(tmp_path):
    with pytest.raises(ValueError, match="expected a class, got 'cta'; did you mean 'cat"):
        segmentation().save(tmp_path / "folder", classes=["dog", "cta"])
    assert not (tmp_path / "folder").exists()


def test_odd_class_names_become_distinct_safe_file_names(tmp_path):
    categories = ("../../x", "traffic light/red", "labels", "a b", "a/b", "Über", "***", "A_b")
    paths = segmentation(categories).save(tmp_path, classes=range(8), stem="s")
    assert [path.name for path in paths] == [
        "s_labels.png",
        "s_overlay.png",
        "s_x.png",
        "s_traffic_light_red.png",
        "s_labels_2.png",
        "s_a_b_3.png",
        "s_a_b_4.png",
        "s_Über.png",
        "s_6.png",
        "s_A_b_7.png",
        "s_figure.png",
    ]
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_the_summary_is_json():
    result = segmentation()
    summary = json.loads(json.dumps(result.to_dict(files=[Path("a.png")])))
    assert summary["source"] == str(Path("photos/my dog.jpg"))
    assert (summary["width"], summary["height"]) == (60, 45)
    assert summary["files"] == ["a.png"]
    assert summary["classes"][0] == dataclasses.asdict(result.classes[0])
    assert segmentation(source=None).to_dict()["source"] is None


def test_the_repr_says_what_was_found():
    result = dataclasses.replace(segmentation(), labels=np.full(SIZE, 12, np.uint8))
    assert repr(result) == f"Segmentation({Path('photos/my dog.jpg')}, 60 x 45: dog 100.0%)"
