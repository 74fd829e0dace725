"""Where COCO and labelling tools put annotations in COCO's form, and the classes that these name."""

from pathlib import Path
from typing import Any, NamedTuple

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError
from fcn_jax.datasets.file_names import existing
from fcn_jax.datasets.layouts import SPLITS
from fcn_jax.datasets.split_lists import unknown_split

COCO_IDS = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""COCO's category ids in the order of VOC's classes; 0 stands for the background, which has no id."""
COCO_SPELLING = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""{VOC's name: COCO's name}, where they differ."""
BACKGROUND = "background"
NO_HEAD = (None, "", "none")  # the supercategory of one that only heads the others


class CocoLayout(NamedTuple):
    """Where annotations are, and which folders may have the pictures; * is a split, if there is one."""

    annotations: str
    images: tuple[str, ...]


LAYOUTS = (
    CocoLayout("annotations/instances_*2017.json", ("*2017", "images/*2017")),
    CocoLayout("annotations/instances_*.json", ("images/*", "*", "images")),  # CVAT
    CocoLayout("*/_annotations.coco.json", ("*",)),  # Roboflow
    CocoLayout("annotations/*.json", ("images/*", "*", "images")),
    CocoLayout("*/annotations.json", ("*/images", "*")),
    CocoLayout("*.json", ("*", "images/*", "images", ".")),
)
WHOLE = (
    CocoLayout("annotations/instances_default.json", ("images/default", "images", ".")),  # CVAT
    CocoLayout("_annotations.coco.json", (".",)),
    CocoLayout("result.json", (".", "images")),  # Label Studio
    CocoLayout("annotations.json", ("images", ".")),
)
"""Layouts with all pictures in one file, of which one in ten is for validation."""


class CocoPlace(NamedTuple):
    """Annotations, the folders that may have the pictures, and whether all splits are in this file."""

    annotations: Path
    images: tuple[Path, ...]
    whole: bool = False


def find_annotations(root: Path, split: str) -> CocoPlace:
    """Finds the annotations of a split, "train", "val" or another name; see `LAYOUTS`.

    Raises:
      DatasetError: there are none for this split.
    """
    for layout in WHOLE:
        if (root / layout.annotations).is_file() and split in ("train", "val"):
            return CocoPlace(root / layout.annotations, _below(root, layout.images, ""), whole=True)
    known: list[str] = []
    for layout in LAYOUTS:
        before, after = layout.annotations.split("*")
        names = [path.relative_to(root).as_posix() for path in sorted(root.glob(layout.annotations))]
        splits = [name.removeprefix(before).removesuffix(after) for name in names]
        for wanted in (split, *SPLITS.get(split, ())):
            for name, path in zip(splits, names, strict=True):
                if name.casefold() == wanted:
                    return CocoPlace(root / path, _below(root, layout.images, name))
        known += splits
    if split in ("train", "val") and not known:  # COCO's own place, for the message
        return CocoPlace(root / f"annotations/instances_{split}2017.json", (root / f"{split}2017",))
    raise unknown_split(split, dict.fromkeys(known or ("train", "val")))


def _below(root: Path, folders: tuple[str, ...], name: str) -> tuple[Path, ...]:
    return tuple(root / folder.replace("*", name) for folder in folders)


class CocoClasses(NamedTuple):
    """The classes of annotations: their names by label, and the label of each category id."""

    names: tuple[str, ...]
    label_of: dict[Any, int]


VOC_CLASSES = CocoClasses(VOC_CATEGORIES, {category: label for label, category in enumerate(COCO_IDS)})


def classes_of(data: dict) -> CocoClasses:
    """Finds the classes: VOC's, if the file has COCO's categories or names none; else its own.

    Its own are the background and its categories by id. A category called background is the background. One
    that only heads the others, as Roboflow writes it, and that no object has, is left out.

    Raises:
      DatasetError: two categories have one id or one name, or there are more than 254.
    """
    categories = data.get("categories")
    if not categories or _is_coco(categories):
        return VOC_CLASSES
    used = {each.get("category_id") for each in data["annotations"]}
    heads = {each.get("supercategory") for each in categories}
    kept = [
        each
        for each in sorted(categories, key=lambda each: (isinstance(each["id"], str), each["id"]))
        if each["id"] in used
        or each["name"] not in heads
        or each.get("supercategory") not in (None, "", "none")
    ]
    names, label_of = [BACKGROUND], {}
    for each in kept:
        name = str(each["name"])
        if name.strip("_").casefold() == BACKGROUND:
            names[0], label = name, 0
        else:
            label = len(names)
            names.append(name)
        if each["id"] in label_of or (label and name in names[:-1]):
            raise DatasetError(expected="categories of different ids and names", got=f"{name!r} twice")
        label_of[each["id"]] = label
    if not 2 <= len(names) <= IGNORE_LABEL:
        raise DatasetError(expected=f"1 to {IGNORE_LABEL - 1} categories", got=str(len(names) - 1))
    return CocoClasses(tuple(names), label_of)


def _is_coco(categories: list[dict]) -> bool:
    named = {each["id"]: each["name"] for each in categories}
    return all(
        named.get(category) == COCO_SPELLING.get(name, name)
        for category, name in zip(COCO_IDS[1:], VOC_CATEGORIES[1:], strict=True)
    )


def find_pictures(folders: tuple[Path, ...], names: list[str]) -> list[Path]:
    """Returns the paths of pictures, in the first folder that has them all, or else most of them.

    Tools write names with folders before them that are nowhere else, or Windows' strokes: then the last part
    of the name counts.
    """
    slashes = [name.replace("\\", "/") for name in names]
    best: tuple[int, list[Path]] | None = None
    for folder in folders:
        for spelled in (slashes, [name.rpartition("/")[2] for name in slashes]):
            paths = [folder / name for name in spelled]
            if not folder.is_dir() and best is not None:
                continue
            found = len(existing([(path,) for path in paths])[0])
            if best is None or found > best[0]:
                best = found, paths
            if found == len(names):
                return paths
    return best[1] if best is not None else []
