"""Annotations in COCO's form: COCO 2017 with PASCAL VOC's classes, or anybody's with their own.

On COCO with VOC's classes torchvision's published FCNs were trained and scored: a training picture is left
out if its objects of these classes cover 1,000 pixels or less, by the sum of the areas in the file; no
validation picture is. Files whose categories are not COCO's have the classes that they name, after the
background, and all their pictures.

Labels show the objects. A pixel that several objects cover is 255, one that no object covers is background.
Crowds count like single objects. Objects without area are passed over, and counted.

Source: `references/segmentation/coco_utils.py` of torchvision.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets.coco_files import (
    COCO_IDS,
    VOC_CLASSES,
    CocoClasses,
    classes_of,
    find_annotations,
    find_pictures,
)
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, Sample, check_index
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.file_names import absent, existing, files_missing
from fcn_jax.datasets.files import errors_name_the_file, read_image
from fcn_jax.datasets.orientation import is_drawn_turned, read_as_drawn
from fcn_jax.datasets.outlines import draw_labels, load_mask_api, without_area
from fcn_jax.datasets.split_lists import data_folder, part_of

__all__ = ["COCO_IDS", "CocoDataset", "open_coco"]

logger = logging.getLogger(__name__)

SMALLEST = 1000  # pixels; a training picture's objects must cover more


def open_coco(folder: str | os.PathLike, split: str = "train", *, tolerant: bool = False) -> "CocoDataset":
    """Opens COCO 2017 with VOC's 21 classes, or other annotations in its form. Needs the extra `coco`.

    Reading COCO's training annotations takes some gigabytes of memory for a moment, as in pycocotools.

    Args:
      folder: holds train2017, val2017 and annotations/instances_{train,val}2017.json; or what CVAT, Roboflow,
        Label Studio and others export, see `coco_files.LAYOUTS`. If one file has all pictures, one in ten is
        for validation, chosen by its name.
      split: "train", "val" or another one that the folder has.
      tolerant: whether pictures that are missing are left out; the dataset's `faults` then list them.

    Raises:
      DatasetError: folder, split or files do not exist, or the annotations have another form.
      MissingPackageError: pycocotools is not installed.
    """
    load_mask_api()
    place = find_annotations(data_folder(folder), split)
    return CocoDataset(
        place.images,
        place.annotations,
        filtered=split == "train",
        part=split if place.whole else None,
        tolerant=tolerant,
    )


class _Picture(NamedTuple):
    """A picture: its file, its objects as JSON, and the (height, width) that the annotations say."""

    path: Path
    objects: str
    size: tuple[int, int] | None


class CocoDataset:
    """COCO's pictures, in the order of their ids, with labels drawn from the annotations.

    Args:
      images: the folder with the pictures, or several that may have them.
      annotations: the JSON file with their objects.
      filtered: whether to leave out pictures with hardly any object, if the classes are VOC's.
      part: "train" or "val" for nine or one in ten of the pictures, by their names.
      tolerant: whether missing pictures are left out, and added to `faults`; otherwise an error.

    Attributes:
      categories, palette: of the classes.
      faults: what was passed over: objects without area, and those of pictures that are not listed; and
        missing pictures.

    Raises:
      DatasetError: see `open_coco`; or, for a sample, its picture or an outline is damaged, or it is not
        clear whether the outlines are for the picture as stored or as EXIF turns it.
    """

    ignore_label = IGNORE_LABEL

    def __init__(
        self,
        images: Path | Sequence[Path],
        annotations: Path,
        *,
        filtered: bool,
        part: str | None = None,
        tolerant: bool = False,
    ):
        folders = (images,) if isinstance(images, Path) else tuple(images)
        self.annotations = annotations
        self.palette = voc_palette(256)
        self.faults: list[DatasetError] = []
        with errors_name_the_file(annotations, "COCO's annotations"):
            data = json.loads(annotations.read_bytes())
            classes = classes_of(data)
            self.categories = classes.names
            self.own_categories = classes is not VOC_CLASSES
            pictures = self._pictures_of(data, folders, classes, filtered)
        if part is not None:
            chosen = part_of([picture.path.name for picture in pictures], part)
            pictures = [pictures[index] for index in chosen]
        if not pictures:
            what = "pictures" if self.own_categories else "pictures with VOC's classes"
            raise DatasetError(f"expected {what}, found none", annotations)
        found, missing = existing([(picture.path,) for picture in pictures])
        if missing and not tolerant:
            raise files_missing(missing, len(pictures))
        self.faults += map(absent, missing)
        gone = set(missing)
        kept = [picture for picture in pictures if picture.path not in gone]
        self._pictures = [picture._replace(path=path) for picture, (path,) in zip(kept, found, strict=True)]

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        """Returns a picture's name, the stem of its file."""
        return self._pictures[check_index(index, len(self))].path.stem

    def __getitem__(self, index: int) -> Sample:
        """Reads a picture and draws its labels.

        Raises:
          IndexError: no picture has this index.
          DatasetError: see the class.
        """
        path, objects, size = self._pictures[check_index(index, len(self))]
        image = read_image(path) if not self.own_categories else read_as_drawn(path, size)
        return Sample(image, self._labels(path, objects, *image.shape[:2]))

    def read_labels(self, index: int) -> np.ndarray:
        """Draws the labels alone: (H, W) uint8. Raises as indexing does."""
        path, objects, size = self._pictures[check_index(index, len(self))]
        if size is None:
            return self[index].labels
        return self._labels(path, objects, *size)

    def check_header(self, index: int) -> None:
        """Raises the DatasetError that a picture's size and orientation cause, without reading its pixels."""
        path, _, size = self._pictures[check_index(index, len(self))]
        with errors_name_the_file(path, "a picture", Fault.PICTURE), Image.open(path) as image:
            if self.own_categories:
                is_drawn_turned(image, size)

    def _labels(self, path: Path, objects: str, height: int, width: int) -> np.ndarray:
        expected = f"outlines of objects in {path.name}"
        with errors_name_the_file(self.annotations, expected, Fault.OUTLINE):
            return draw_labels(json.loads(objects), height, width)

    def _pictures_of(
        self, data: dict, folders: tuple[Path, ...], classes: CocoClasses, filtered: bool
    ) -> list[_Picture]:
        """Lists pictures with their objects as JSON; as lists the objects would fill gigabytes."""
        objects, areas = defaultdict(list), defaultdict(float)
        flat = 0
        for each in data["annotations"]:
            label = classes.label_of.get(each["category_id"])
            if label is None and self.own_categories:
                got = f"{each['category_id']!r}, which no category has"
                raise DatasetError(expected="objects of the categories in the file", got=got)
            if label is None:
                continue
            outline = each.get("segmentation")
            if without_area(outline):
                flat += 1
            else:
                objects[each["image_id"]].append((label, outline))
            areas[each["image_id"]] += each["area"] if filtered and not self.own_categories else 0
        images = sorted(data["images"], key=lambda each: (isinstance(each["id"], str), each["id"]))
        self._pass_over(Fault.FLAT, flat, "have no area (no outline, a point, a line)")
        known = {each["id"] for each in images}
        stray = sum(len(found) for image, found in objects.items() if image not in known)
        self._pass_over(Fault.STRAY, stray, "belong to pictures that the file does not list")
        if filtered and not self.own_categories:
            images = [each for each in images if areas[each["id"]] > SMALLEST]
        paths = find_pictures(folders, [each["file_name"] for each in images])
        return [
            _Picture(path, json.dumps(objects[each["id"]]), _size(each) if self.own_categories else None)
            for path, each in zip(paths, images, strict=True)
        ]

    def _pass_over(self, fault: Fault, count: int, words: str) -> None:
        if count:
            found = DatasetError(
                f"{count:,} objects {words} and are passed over", self.annotations, fault=fault
            )
            logger.warning("%s", found)
            self.faults.append(found)


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (int(height), int(width)) if height and width else None
