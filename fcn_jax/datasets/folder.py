"""Your own pictures and labels, in folders.

    DIR/images/street1.jpg   DIR/labels/street1.png      pairs have the same name before the dot
    DIR/classes.txt                                      the names of the classes, one a line, index 0 first

A label image is grey or has a palette; its values are class indices, or 255 where no class is known. The
palette of the first label image, if any, has the colours of the classes. One picture in ten is for
validation, chosen by its name. If DIR holds subfolders with `images` and `labels` instead (train, val, ...),
these are the splits.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError
from fcn_jax.datasets.files import FileDataset, errors_name_the_file, read_label_image, read_palette, shown
from fcn_jax.datasets.split_lists import data_folder, unknown_split
from fcn_jax.images import ImageError, open_image

VALIDATION_SHARE = 10  # one picture in ten
CLASSES = "classes.txt"
_EXIF_ORIENTATION = 0x0112

Pairs = list[tuple[Path, Path]]


def open_folder(
    folder: str | os.PathLike, split: str = "train", categories: Sequence[str] | None = None
) -> FileDataset:
    """Opens a folder of pictures and labels.

    Args:
      folder: see the module.
      split: "train" or "val", or the name of a subfolder.
      categories: names of the classes by index; by default those in classes.txt. Without this file, all label
        images are read once to count the classes, which are named class_0, class_1, ...

    Raises:
      DatasetError: folder or split do not exist; a file has no partner; two files have the same name; the
        labels do not show the classes; see `FileDataset`. A picture with an EXIF orientation is refused,
        because its labels may belong to either orientation.
    """
    root = data_folder(folder)
    parts = _parts(root)
    splits = _split_by_hash(parts[""], root) if "" in parts else parts
    if split not in splits:
        raise unknown_split(split, splits)
    if categories is None and (root / CLASSES).is_file():
        categories = _read_classes(root / CLASSES)
    elif categories is None:
        categories = _count_classes(root, [labels for pairs in splits.values() for _, labels in pairs])
    first = min(labels for pairs in splits.values() for _, labels in pairs)  # the same for every split
    return FileDataset(splits[split], categories, palette=read_palette(first), read_image=_read_upright)


def _parts(root: Path) -> dict[str, Pairs]:
    """Finds the pairs of each subfolder, or those of the folder itself as ""."""
    subfolders = [
        path for path in sorted(root.iterdir()) if (path / "images").is_dir() and (path / "labels").is_dir()
    ]
    if (root / "images").is_dir() and subfolders:
        raise DatasetError(
            path=root,
            expected="either images or subfolders with images and labels",
            got=f"images and {', '.join(path.name for path in subfolders)}",
            hint="move one of them away",
        )
    if (root / "images").is_dir():
        return {"": _pairs(root)}
    if not subfolders:
        found = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
        raise DatasetError(
            f"expected the folders images and labels, or train and val with these two in each, found {found}",
            root,
        )
    return {path.name: _pairs(path) for path in subfolders}


def _pairs(folder: Path) -> Pairs:
    images, labels = _by_stem(folder / "images"), _by_stem(folder / "labels")
    alone = [
        f"{path} without {other}/{path.stem}.*"
        for found, partners, other in ((images, labels, "labels"), (labels, images, "images"))
        for stem, path in found.items()
        if stem not in partners
    ]
    if alone:
        raise DatasetError(
            path=folder,
            expected="labels for each picture and a picture for all labels",
            got=f"{len(alone):,} without: {shown(alone, most=3)}",
        )
    if not images:
        raise DatasetError("expected pictures, found none", folder / "images")
    return [(images[stem], labels[stem]) for stem in images]


def _by_stem(folder: Path) -> dict[str, Path]:
    """Finds pictures by the name before the suffix, in order; skips hidden and other files."""
    if not folder.is_dir():
        raise DatasetError("expected a folder of pictures, there is none", folder)
    readable = {suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.suffix.lower() not in readable or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DatasetError(f"expected one file with this name, found {found[path.stem].name} too", path)
        found[path.stem] = path
    return found


def _split_by_hash(pairs: Pairs, root: Path) -> dict[str, Pairs]:
    """Splits by the hash of each name, so that a picture keeps its split when the folder moves."""
    if len(pairs) < 2:
        raise DatasetError(path=root, expected="at least two pictures, one of them for validation", got="one")
    drawn = sorted(pairs, key=lambda pair: hashlib.sha256(pair[0].stem.encode()).digest())
    chosen = set(drawn[: max(1, round(len(pairs) / VALIDATION_SHARE))])
    return {
        "train": [pair for pair in pairs if pair not in chosen],
        "val": [pair for pair in pairs if pair in chosen],
    }


def _read_classes(path: Path) -> list[str]:
    with errors_name_the_file(path, "names of classes"):
        names = [name.strip() for name in path.read_text(encoding="utf-8-sig").strip().splitlines()]
    if not all(names) or len(set(names)) < len(names) or not names:
        raise DatasetError(
            path=path,
            expected="the names of the classes, one a line, each once and none empty",
            got=str(names),
        )
    return names


def _count_classes(root: Path, label_paths: list[Path]) -> list[str]:
    found = sorted({int(value) for path in label_paths for value in np.unique(read_label_image(path))})
    classes = [value for value in found if value != IGNORE_LABEL]
    if len(classes) < 2 or classes != list(range(len(classes))):
        raise DatasetError(
            path=root,
            expected=f"{CLASSES} with the names of the classes, one a line, "
            f"or labels 0, 1, 2, ... that leave none out",
            got=f"no such file and the labels {shown(found, most=8)}",
            hint="if 255 marks a class, write 1 instead of 255" if found == [0, IGNORE_LABEL] else None,
        )
    return [f"class_{value}" for value in classes]


def _read_upright(path: Path) -> np.ndarray:
    with errors_name_the_file(path, "a picture"), Image.open(path) as image:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        if orientation in range(2, 9):
            raise DatasetError(
                expected="a picture that is stored upright",
                got=f"one that EXIF asks to turn (orientation {orientation})",
                hint="its labels may fit either orientation: turn the pixels, remove the tag "
                "(PIL.ImageOps.exif_transpose) and check that the labels fit",
            )
        try:
            return np.asarray(open_image(image))
        except ImageError as error:
            raise DatasetError(error.reason, hint=error.hint) from error
