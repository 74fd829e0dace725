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


SQUARE = box_polygon(10, 10, 30, 30)
TRIANGLE = [10, 10, 30, 10, 30, 30]


@pytest.mark.parametrize(
    "outline",
    [
        [SQUARE],
        SQUARE,
        [[x, y] for x, y in zip(SQUARE[::2], SQUARE[1::2], strict=True)],
        [[[x, y] for x, y in zip(SQUARE[::2], SQUARE[1::2], strict=True)]],
        [SQUARE, [40, 20, 60, 35]],
        [[40, 20, 60, 35], SQUARE],
        [SQUARE, []],
        [SQUARE, [40, 20]],
        runs(box(10, 10, 30, 30)),
        {"counts": runs(box(10, 10, 30, 30))["counts"]},
    ],
)
def test_every_form_of_an_outline(tmp_path, outline, caplog):
    """Lines and points beside a polygon cover nothing; pycocotools takes four numbers for a box."""
    write_coco(tmp_path, [annotation(7, DOG, outline)])
    expected = np.where(box(10, 10, 30, 30), index("dog"), 0)
    np.testing.assert_array_equal(open_coco(tmp_path)[0].labels, expected)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "outline",
    [
        None,
        [],
        [[]],
        [[40, 20]],
        [[40, 20, 60, 35]],
        [[5, 5], [9, 9]],
        [[9, 5, 9, 8, 9, 20]],
        {},
        {"counts": []},
    ],
)
def test_objects_without_area_are_passed_over_and_counted(tmp_path, outline, caplog):
    boxes_only = {"image_id": 7, "category_id": DOG, "area": 0}
    write_coco(tmp_path, [annotation(7, CAR, [SQUARE]), annotation(7, DOG, outline), boxes_only])
    dataset = open_coco(tmp_path)
    assert np.unique(dataset[0].labels).tolist() == [0, index("car")]
    assert "2 objects have no area (no outline, a point, a line) and are passed over" in caplog.text
    assert len(dataset.faults) == 1


@pytest.mark.parametrize(
    ("outline", "said"),
    [
        ([TRIANGLE[:-1]], r"expected a polygon of pairs, x and y, got 5 numbers, which is odd"),
        ([["10"] * 6], r"expected a polygon of numbers, x and y in turn, got \['10'"),
        ([[*TRIANGLE, 0, float("nan")]], r"expected coordinates within 1,000,000 pixels, got nan"),
        ([[*TRIANGLE, 0, 1e12]], r"expected coordinates within 1,000,000 pixels, got 1000000000000.0"),
        ({"counts": [5, 5]}, r"expected run lengths of 2,747 pixels, for the picture's 67 x 41, got 10"),
        ({"counts": [2746.5, 0.5]}, r"expected run lengths of 2,747 .* got others than whole numbers"),
        ({"counts": "\u00e9"}, r"expected compressed run lengths, got '\u00e9'"),
    ],
)
def test_outlines_that_make_no_sense(tmp_path, outline, said):
    write_coco(tmp_path, [annotation(7, DOG, outline)])
    with pytest.raises(DatasetError, match=rf"train2017.json: .* outlines .* 000000000007.png: {said}"):
        open_coco(tmp_path)[0]


@pytest.mark.parametrize("share", [0.002, 0.5, 0.998])
def test_compressed_runs_of_every_length(share):
    """As pycocotools reads them, which wrote them."""
    from pycocotools import mask

    from fcn_jax.datasets.outlines import inside_of

    inside = np.random.default_rng(3).random((311, 473)) < share
    encoded = mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    encoded["counts"] = encoded["counts"].decode()
    np.testing.assert_array_equal(inside_of(encoded, 311, 473), inside)


HEAD = {"id": 0, "name": "things", "supercategory": "none"}
OWN = [{"id": 40, "name": "road"}, {"id": 7, "name": "tree"}]


def write_own(path, images, categories=OWN, names=("a.png",), size=(HEIGHT, WIDTH), **options):
    """Annotations of a labelling tool: a tree in every picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [
        {"id": number, "file_name": name, **({"height": size[0], "width": size[1]} if size else {})}
        for number, name in enumerate(names)
    ]
    objects = [annotation(number, 7, [SQUARE]) for number in range(len(names))]
    path.write_text(json.dumps({"images": listed, "annotations": objects, "categories": categories}))
    for name in names:
        write(images / name.rpartition("/")[2], random_image(0, (HEIGHT, WIDTH)), **options)


def test_categories_of_its_own(tmp_path):
    """Ids need be neither in order nor from 1; an object's own id may be one of COCO's."""
    write_own(tmp_path / "annotations" / "instances_train2017.json", tmp_path / "train2017")
    dataset = open_coco(tmp_path)
    assert dataset.categories == ("background", "tree", "road")
    np.testing.assert_array_equal(dataset[0].labels, box(10, 10, 30, 30).astype(np.uint8))


@pytest.mark.parametrize(
    ("categories", "names"),
    [
        ([HEAD, {"id": 7, "name": "tree", "supercategory": "things"}], ("background", "tree")),
        ([{"id": 0, "name": "Background"}, {"id": 7, "name": "tree"}], ("Background", "tree")),
        ([{"id": 7, "name": "person"}], ("background", "person")),
    ],
)
def test_names_of_categories(tmp_path, categories, names):
    write_own(tmp_path / "annotations" / "instances_train2017.json", tmp_path / "train2017", categories)
    dataset = open_coco(tmp_path)
    assert dataset.categories == names
    assert np.unique(dataset[0].labels).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        (
            [*OWN, {"id": 9, "name": "tree"}],
            "categories of different ids and names, got 'tree' twice",
        ),
        (
            [*OWN, {"id": 7, "name": "bush"}],
            "categories of different ids and names, got 'bush' twice",
        ),
        (OWN[:1], "expected objects of the categories in the file, got 7, which no category has"),
    ],
)
def test_categories_that_make_no_sense(tmp_path, categories, said):
    write_own(tmp_path / "annotations" / "instances_train2017.json", tmp_path / "train2017", categories)
    with pytest.raises(DatasetError, match=said):
        open_coco(tmp_path)


def test_a_file_with_cocos_categories_has_vocs_classes(tmp_path):
    from fcn_jax.datasets.coco_files import COCO_SPELLING

    names = [COCO_SPELLING.get(name, name) for name in VOC_CATEGORIES[1:]]
    categories = [{"id": number, "name": name} for number, name in zip(COCO_IDS[1:], names, strict=True)]
    write_own(tmp_path / "annotations" / "instances_val2017.json", tmp_path / "val2017", categories)
    dataset = open_coco(tmp_path, "val")
    assert dataset.categories == VOC_CATEGORIES
    assert np.unique(dataset[0].labels).tolist() == [0, index("train")]  # id 7


@pytest.mark.parametrize(
    ("annotations", "images", "name"),
    [
        ("train/_annotations.coco.json", "train", "a.png"),
        ("annotations/instances_Train.json", "images/Train", "a.png"),
        ("annotations/instances_train.json", "images", "a.png"),
        ("annotations/train.json", "train", "a.png"),
        ("train.json", "images/train", "somewhere\\else\\a.png"),
    ],
)
def test_layouts_of_labelling_tools(tmp_path, annotations, images, name):
    write_own(tmp_path / annotations, tmp_path / images, names=[name.replace("\\", "/")])
    dataset = open_coco(tmp_path)
    assert (len(dataset), dataset.name(0)) == (1, "a")
    with pytest.raises(DatasetError, match=r"expected a split \("):
        open_coco(tmp_path, "val")


@pytest.mark.parametrize(
    ("annotations", "images", "prefix"),
    [("result.json", "images", "images/"), ("annotations/instances_default.json", "images/default", "")],
)
def test_one_file_for_all_is_split_by_name(tmp_path, annotations, images, prefix):
    write_own(
        tmp_path / annotations, tmp_path / images, names=[f"{prefix}{number}.png" for number in range(20)]
    )
    train, val = open_coco(tmp_path), open_coco(tmp_path, "val")
    assert (len(train), len(val)) == (18, 2)
    found = [dataset.name(number) for dataset in (train, val) for number in range(len(dataset))]
    assert sorted(found) == sorted(str(number) for number in range(20))


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (WIDTH, HEIGHT)])
def test_the_annotations_size_says_whether_a_picture_is_turned(tmp_path, size):
    place = tmp_path / "annotations" / "instances_train2017.json"
    write_own(place, tmp_path / "train2017", size=size, exif=turned(6))
    image, labels = open_coco(tmp_path)[0]
    assert image.shape[:2] == labels.shape == size
    stored = random_image(0, (HEIGHT, WIDTH))
    np.testing.assert_array_equal(image, stored if size == (HEIGHT, WIDTH) else np.rot90(stored, -1))


@pytest.mark.parametrize(
    ("size", "orientation", "said"),
    [
        (None, 6, r"a.png: expected a picture that is stored upright"),
        ((HEIGHT, WIDTH), 3, r"a.png: expected a picture that is stored upright"),
        ((WIDTH, HEIGHT), 1, r"a.png: expected a picture of the annotations' 41 x 67, got 67 x 41"),
    ],
)
def test_a_picture_that_could_be_meant_either_way(tmp_path, size, orientation, said):
    place = tmp_path / "annotations" / "instances_train2017.json"
    write_own(place, tmp_path / "train2017", size=size, exif=turned(orientation))
    with pytest.raises(DatasetError, match=said):
        open_coco(tmp_path)[0]


def test_objects_of_pictures_that_are_not_listed(tmp_path, caplog):
    write_coco(tmp_path, [annotation(7, DOG, [SQUARE]), annotation(8, DOG, [SQUARE])])
    assert len(open_coco(tmp_path)) == 1
    assert "1 objects belong to pictures that the file does not list and are passed over" in caplog.text


def test_missing_pictures_are_left_out_if_that_is_asked_for(tmp_path):
    place = tmp_path / "train" / "_annotations.coco.json"
    write_own(place, tmp_path / "train", names=["a.png", "b.png"])
    (tmp_path / "train" / "a.png").unlink()
    dataset = open_coco(tmp_path, tolerant=True)
    assert [dataset.name(0), len(dataset), len(dataset.faults)] == ["b", 1, 1]
    with pytest.raises(DatasetError, match=r"1 of the 2 files of this split are missing: \S*a.png"):
        open_coco(tmp_path)
