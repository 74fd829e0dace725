"""Labels drawn from COCO's annotations, against a count in NumPy."""

import json
import pickle

import numpy as np
import pytest

from fcn_jax import VOC_CATEGORIES
from fcn_jax.datasets import DatasetError, open_coco
from fcn_jax.datasets.coco import COCO_IDS
from fcn_jax.errors import MissingPackageError
from tests.datasets.made_files import random_image, turned, write

pytest.importorskip("pycocotools")
# pycocotools' arrays do not know NumPy 2's `copy` yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
HEIGHT, WIDTH = 41, 67
PERSON, DOG, CAR, TOASTER = 1, 18, 3, 80  # COCO's ids; VOC knows no toaster


def box_polygon(top, left, bottom, right):
    return [left, top, right, top, right, bottom, left, bottom]


def runs(inside):
    """COCO's run-length encoding, by hand: columns first, beginning with the length of what is outside."""
    values = inside.ravel(order="F")
    changes = np.flatnonzero(np.diff(values)) + 1
    counts = np.diff([0, *changes, values.size]).tolist()
    return {"size": list(inside.shape), "counts": counts if not values[0] else [0, *counts]}


def box(top, left, bottom, right):
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top:bottom, left:right] = True
    return inside


def annotation(image_id, category_id, segmentation, area=5000, iscrowd=0):
    return {
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "area": area,
        "iscrowd": iscrowd,
    }


def write_coco(folder, annotations, ids=(7,), split="train", **options):
    for image_id in ids:
        path = folder / f"{split}2017" / f"{image_id:012}.png"
        write(path, random_image(image_id, (HEIGHT, WIDTH)), **options)
    (folder / "annotations").mkdir(exist_ok=True)
    images = [{"id": image_id, "file_name": f"{image_id:012}.png"} for image_id in ids]
    path = folder / "annotations" / f"instances_{split}2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def index(name):
    return VOC_CATEGORIES.index(name)


def test_polygons_and_runs_against_a_count(tmp_path):
    person, car, dog = box(3, 5, 30, 40), box(20, 30, 38, 60), box(0, 60, 5, 67)
    blob = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.05
    annotations = [
        annotation(7, PERSON, [box_polygon(3, 5, 30, 40)]),
        annotation(7, CAR, runs(car)),
        annotation(7, DOG, [box_polygon(0, 60, 5, 67)]),
        annotation(7, PERSON, runs(blob), iscrowd=1),
        annotation(7, TOASTER, runs(box(0, 0, HEIGHT, WIDTH))),
    ]
    write_coco(tmp_path, annotations)
    masks = np.stack([person, car, dog, blob])
    classes = np.array([index("person"), index("car"), index("dog"), index("person")])[:, None, None]
    expected = np.where(masks.sum(0) > 1, 255, (masks * classes).max(0))
    assert np.unique(expected).tolist() == [0, 7, 12, 15, 255]
    dataset = open_coco(tmp_path)
    image, labels = dataset[0]
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(image, random_image(7, (HEIGHT, WIDTH)))
    assert (dataset.name(0), dataset.categories) == ("000000000007", VOC_CATEGORIES)


def test_one_object_of_several_polygons_is_one(tmp_path):
    """Its polygons may overlap; and two objects of one class that do are 255 all the same."""
    two = [box_polygon(2, 2, 20, 20), box_polygon(10, 10, 30, 30)]
    write_coco(tmp_path, [annotation(7, DOG, two), annotation(7, DOG, [box_polygon(28, 28, 40, 40)])])
    expected = np.where(box(2, 2, 20, 20) | box(10, 10, 30, 30) | box(28, 28, 40, 40), index("dog"), 0)
    expected[28:30, 28:30] = 255
    np.testing.assert_array_equal(open_coco(tmp_path)[0].labels, expected)


def test_compressed_runs(tmp_path):
    from pycocotools import mask

    inside = np.random.default_rng(1).random((HEIGHT, WIDTH)) < 0.5
    encoded = mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    encoded["counts"] = encoded["counts"].decode()
    write_coco(tmp_path, [annotation(7, CAR, encoded)])
    np.testing.assert_array_equal(open_coco(tmp_path)[0].labels, np.where(inside, index("car"), 0))


def test_every_class_has_its_place(tmp_path):
    """COCO's names for the ids, in the order of VOC's classes."""
    names = {
        1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 9: "boat",
        16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep", 21: "cow", 44: "bottle", 62: "chair",
        63: "couch", 64: "potted plant", 67: "dining table", 72: "tv",
    }  # fmt: skip
    other = {"motorcycle": "motorbike", "airplane": "aeroplane", "couch": "sofa", "tv": "tvmonitor"}
    spelled = [other.get(names[each], names[each]).replace(" ", "") for each in COCO_IDS[1:]]
    assert tuple(spelled) == VOC_CATEGORIES[1:]


def test_training_leaves_out_pictures_with_little_to_see(tmp_path):
    ids = (9, 3, 5, 4, 8)
    annotations = [
        annotation(9, DOG, [box_polygon(0, 0, 9, 9)], area=1000),
        annotation(3, DOG, [box_polygon(0, 0, 9, 9)], area=500.5),
        annotation(3, CAR, [box_polygon(0, 0, 9, 9)], area=500.5),
        annotation(5, TOASTER, [box_polygon(0, 0, 9, 9)], area=5000),
        annotation(8, DOG, [box_polygon(0, 0, 9, 9)], area=1001),
    ]
    for split, kept in (("train", [3, 8]), ("val", [3, 4, 5, 8, 9])):
        write_coco(tmp_path, annotations, ids, split)
        dataset = open_coco(tmp_path, split)
        assert [int(dataset.name(number)) for number in range(len(dataset))] == kept
    assert not dataset[1].labels.any()  # nothing to see at all: background


def test_the_picture_is_not_turned(tmp_path):
    write_coco(tmp_path, [annotation(7, DOG, runs(box(0, 0, 9, 9)))], exif=turned(6))
    assert open_coco(tmp_path)[0].image.shape == (HEIGHT, WIDTH, 3)


def test_it_can_be_pickled(tmp_path):
    write_coco(tmp_path, [annotation(7, DOG, [box_polygon(0, 0, 9, 9)])])
    dataset = open_coco(tmp_path)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[0].labels, dataset[0].labels)


def test_an_outline_for_another_size(tmp_path):
    write_coco(tmp_path, [annotation(7, DOG, runs(box(0, 0, 9, 9).T))])
    expected = r"train2017.json: .* objects in 000000000007.png: .*picture's 67 x 41, got one for 41 x 67"
    with pytest.raises(DatasetError, match=expected):
        open_coco(tmp_path)[0]


def test_an_outline_that_is_none(tmp_path):
    write_coco(tmp_path, [annotation(7, DOG, [])])
    with pytest.raises(DatasetError, match=r"train2017.json: cannot be read as outlines .* 000000000007.png"):
        open_coco(tmp_path)[0]


def test_unknown_split_and_missing_files(tmp_path):
    with pytest.raises(DatasetError, match=r"a split \(train, val\), got 'test'"):
        open_coco(tmp_path, "test")
    with pytest.raises(DatasetError, match=r"instances_val2017.json: .* there is no such file"):
        open_coco(tmp_path, "val")
    write_coco(tmp_path, [annotation(7, DOG, [box_polygon(0, 0, 9, 9)])])
    (tmp_path / "train2017" / "000000000007.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 1 files .* missing: \S*000000000007.png"):
        open_coco(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"images": []}', "[]"])
def test_annotations_of_another_form(tmp_path, content):
    write_coco(tmp_path, []).write_text(content)
    with pytest.raises(DatasetError, match=r"train2017.json: cannot be read as COCO's annotations: \w+"):
        open_coco(tmp_path)


def test_no_picture_left(tmp_path):
    write_coco(tmp_path, [])
    with pytest.raises(
        DatasetError, match=r"train2017.json: expected pictures with VOC's classes, found none"
    ):
        open_coco(tmp_path)


def test_without_pycocotools(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(MissingPackageError, match=r"needs pycocotools: pip install 'fcn_jax\[coco\]'"):
        open_coco(tmp_path)
