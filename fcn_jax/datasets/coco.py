"""COCO 2017 with PASCAL VOC's classes, on which torchvision's published FCNs were trained and scored.

Labels show the objects of VOC's twenty classes. A pixel that several objects cover is 255, one that no object
covers is background. Crowds count like single objects. A training picture is left out if its objects of these
classes cover 1,000 pixels or less, by the sum of the areas in the file. No validation picture is left out.

Source: `references/segmentation/coco_utils.py` of torchvision.
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from fcn_jax.categories import VOC_CATEGORIES, voc_palette
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, check_index
from fcn_jax.datasets.file_names import existing, files_missing
from fcn_jax.datasets.files import errors_name_the_file, read_image
from fcn_jax.datasets.split_lists import data_folder, unknown_split
from fcn_jax.errors import ArrayError, MissingPackageError

COCO_IDS = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""COCO's category ids in the order of VOC's classes; 0 stands for the background, which has no id."""
SMALLEST = 1000  # pixels; a training picture's objects must cover more
SPLITS = ("train", "val")


def open_coco(folder: str | os.PathLike, split: str = "train") -> "CocoDataset":
    """Opens COCO 2017 with VOC's 21 classes. Needs the extra `coco` (pycocotools).

    Reading the training annotations takes some gigabytes of memory for a moment, as in pycocotools.

    Args:
      folder: holds train2017, val2017 and annotations/instances_{train,val}2017.json.
      split: "train" or "val".

    Raises:
      DatasetError: folder, split or files do not exist, or the annotations have another form.
      MissingPackageError: pycocotools is not installed.
    """
    if split not in SPLITS:
        raise unknown_split(split, SPLITS)
    _mask_api()
    folder = data_folder(folder)
    return CocoDataset(
        folder / f"{split}2017",
        folder / "annotations" / f"instances_{split}2017.json",
        filtered=split == "train",
    )


class CocoDataset:
    """COCO's pictures, in the order of their ids, with labels drawn from the annotations.

    Args:
      images: the folder with the pictures.
      annotations: the JSON file with their objects.
      filtered: whether to leave out pictures with hardly any object.

    Raises:
      DatasetError: see `open_coco`; or, for a sample, its picture or an outline is damaged.
    """

    ignore_label = IGNORE_LABEL
    categories = VOC_CATEGORIES

    def __init__(self, images: Path, annotations: Path, *, filtered: bool):
        self.palette = voc_palette(256)
        self.annotations = annotations
        with errors_name_the_file(annotations, "COCO's annotations"):
            self._pictures = _pictures(json.loads(annotations.read_bytes()), images, filtered)
        if not self._pictures:
            raise DatasetError("expected pictures with VOC's classes, found none", annotations)
        missing = existing([(path,) for path, _ in self._pictures])[1]
        if missing:
            raise files_missing(missing, len(self._pictures))

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        """Returns a picture's name, the stem of its file."""
        return self._pictures[check_index(index, len(self))][0].stem

    def __getitem__(self, index: int) -> Sample:
        """Reads a picture and draws its labels.

        Raises:
          IndexError: no picture has this index.
          DatasetError: see the class.
        """
        path, objects = self._pictures[check_index(index, len(self))]
        image = read_image(path)
        with errors_name_the_file(self.annotations, f"outlines of objects in {path.name}"):
            return Sample(image, draw_labels(json.loads(objects), *image.shape[:2]))


def draw_labels(objects: list[tuple[int, list | dict]], height: int, width: int) -> np.ndarray:
    """Draws the labels of a picture from its objects.

    Args:
      objects: (class index, outline) pairs; an outline is a list of polygons [x1, y1, x2, y2, ...] or a
        run-length encoding {"size": [height, width], "counts": [...] or a string}, as in COCO's files.

    Returns:
      (height, width) uint8: 0 where no object is, 255 where several are.

    Raises:
      ArrayError: a run-length encoding has another size.
    """
    labels = np.zeros((height, width), np.uint8)
    covered, shared = np.zeros((2, height, width), bool)
    for label, outline in objects:
        inside = _inside(outline, height, width)
        labels[inside] = label
        shared |= covered & inside
        covered |= inside
    labels[shared] = IGNORE_LABEL
    return labels


def _pictures(data: dict, images: Path, filtered: bool) -> list[tuple[Path, str]]:
    """Lists pictures with their objects as JSON; as lists the objects would fill gigabytes."""
    label_of = {category: label for label, category in enumerate(COCO_IDS)}
    objects, areas = defaultdict(list), defaultdict(float)
    for each in data["annotations"]:
        if each["category_id"] in label_of:
            objects[each["image_id"]].append((label_of[each["category_id"]], each["segmentation"]))
            areas[each["image_id"]] += each["area"]
    return [
        (images / each["file_name"], json.dumps(objects[each["id"]]))
        for each in sorted(data["images"], key=lambda each: each["id"])
        if not filtered or areas[each["id"]] > SMALLEST
    ]


def _inside(outline: list | dict, height: int, width: int) -> np.ndarray:
    mask_api = _mask_api()
    encoded = isinstance(outline, dict) and isinstance(outline["counts"], str)
    mask = np.asarray(mask_api.decode(outline if encoded else mask_api.frPyObjects(outline, height, width)))
    if mask.shape[:2] != (height, width):
        size = " x ".join(map(str, mask.shape[1::-1]))
        raise ArrayError(expected=f"an outline for the picture's {width} x {height}", got=f"one for {size}")
    return np.any(mask.reshape(height, width, -1), axis=2, keepdims=False)  # one layer for each polygon


def _mask_api() -> Any:  # its type annotations lack lists of polygons
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingPackageError(
            "reading COCO's annotations needs pycocotools: pip install 'fcn_jax[coco]'"
        ) from error
    return mask
