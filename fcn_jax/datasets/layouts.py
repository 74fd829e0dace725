"""The layouts of folders with pictures and labels, as tables, and the pairs in them."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.file_names import composed
from fcn_jax.images.names import picture_suffixes

SPLIT = "*"  # in a layout: the name of a split, such as train


class Layout(NamedTuple):
    """Where a dataset has its pictures and its labels, below its folder."""

    images: str
    labels: str


LAYOUTS = (
    Layout("images", "labels"),
    Layout("*/images", "*/labels"),
    Layout("images/*", "labels/*"),
    Layout("images", "masks"),
    Layout("*/images", "*/masks"),
    Layout("images/*", "masks/*"),
    Layout("images", "annotations"),
    Layout("images/*", "annotations/*"),
    Layout("img_dir/*", "ann_dir/*"),  # mmsegmentation
    Layout("JPEGImages", "SegmentationClass"),  # CVAT, VOC
)
IN_ONE_FOLDER = (Layout("*", "*"), Layout(".", "."))  # Roboflow; street1.jpg beside street1_mask.png
FORMS = (
    "{stem}",
    "{stem}_mask",
    "{stem}_masks",
    "{stem}_label",
    "{stem}_labels",
    "{stem}_seg",
    "{stem}_gt",
    "{name}",
)
"""What a label file may be called before its suffix, from its picture's name with and without suffix."""
SPLITS = {"train": ("training",), "val": ("valid", "validation"), "test": ("testing",)}
"""{split: other names of its folder}."""
LOSSLESS = {".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm"}  # suffixes of labels beside pictures

Pairs = list[tuple[Path, Path]]


class Found(NamedTuple):
    """What a folder holds: {split: pairs}, without splits {"": pairs}; faults; the folders of pictures."""

    pairs: dict[str, Pairs]
    faults: list[DatasetError]
    folders: tuple[Path, ...]


def find_pairs(root: Path) -> Found:
    """Finds the pairs of each split. Splits are subfolders; other names for train, val and test are theirs.

    Raises:
      DatasetError: the folder has no known layout, or two of them; or no pictures.
    """
    layout, folders = _choose(root)
    pairs: dict[str, Pairs] = {}
    faults: list[DatasetError] = []
    for split, (images, labels) in folders.items():
        found, wrong = _pairs(images, labels, root if layout in IN_ONE_FOLDER else images.parent)
        faults += wrong
        if not found and not wrong:
            raise DatasetError("expected pictures, found none", images)
        pairs[_split_name(split, folders)] = found
    return Found(pairs, faults, tuple(images for images, _ in folders.values()))


def _choose(root: Path) -> tuple[Layout, dict[str, tuple[Path, Path]]]:
    """Finds the layout of a folder, and {split: (folder of pictures, folder of labels)}."""
    present = {layout: found for layout in LAYOUTS if (found := _folders(root, layout))}
    filled = {
        layout: folders
        for layout, folders in present.items()
        if any(_has_pictures(images) and _has_pictures(labels) for images, labels in folders.values())
    }
    if len(filled) > 1:
        first, second = (
            sorted({images for images, _ in found.values()}) for found in list(filled.values())[:2]
        )
        one, other = (
            ", ".join(path.relative_to(root).parts[0] for path in paths) for paths in (first, second)
        )
        raise DatasetError(
            path=root,
            expected="either images or subfolders with images and labels",
            got=f"{one} and {other}",
            hint="move one of them away",
        )
    if filled or present:
        return next(iter((filled or present).items()))
    for layout in IN_ONE_FOLDER:
        folders = _folders(root, layout)
        folders = {split: pair for split, pair in folders.items() if _labels_beside(_by_stem(pair[0], []))}
        if folders:
            return layout, folders
    if (root / "images").is_dir():
        raise DatasetError("expected a folder of pictures, there is none", root / "labels")
    found = ", ".join(sorted(path.name for path in root.iterdir())[:5]) or "nothing"
    raise DatasetError(
        "expected the folders images and labels, or train and val with these two in each, or another known "
        f"layout, found {found}",
        root,
    )


def _folders(root: Path, layout: Layout) -> dict[str, tuple[Path, Path]]:
    if SPLIT not in layout.images:
        images, labels = root / layout.images, root / layout.labels
        return {"": (images, labels)} if images.is_dir() and labels.is_dir() else {}
    place = layout.images.split("/").index(SPLIT)
    names = [
        path.relative_to(root).parts[place] for path in sorted(root.glob(layout.images)) if path.is_dir()
    ]
    names = [name for name in names if not name.startswith(".")]
    both = {name: tuple(root / part.replace(SPLIT, name) for part in layout) for name in names}
    return {name: (images, labels) for name, (images, labels) in both.items() if labels.is_dir()}


def _split_name(folder: str, folders: Iterable[str]) -> str:
    for split, others in SPLITS.items():
        if folder in others and split not in folders:
            return split
    return folder


def _pairs(images: Path, labels: Path, place: Path) -> tuple[Pairs, list[DatasetError]]:
    """Pairs the files of two folders, or of one, by their names.

    Returns:
      The pairs in the order of the pictures' names, and a fault for each file that is alone.
    """
    faults: list[DatasetError] = []
    if images == labels:
        everything = _by_stem(images, faults)
        beside = _labels_beside(everything)
        pictures = {stem: path for stem, path in everything.items() if stem not in beside}
        masks = {stem: everything[stem] for stem in beside}
    else:
        pictures, masks = _by_stem(images, faults), _by_stem(labels, faults)
    form = max(FORMS, key=lambda form: sum(_expected(form, path) in masks for path in pictures.values()))
    wanted = {_expected(form, path): path for path in pictures.values()}
    for name, path in wanted.items():
        if name not in masks:
            faults.append(_alone(path, f"{labels.name}/{form.format(stem=path.stem, name=path.name)}.*"))
    for name, path in masks.items():
        if name not in wanted:
            faults.append(_alone(path, f"{images.name}/{path.stem}.*"))
    return [(path, masks[name]) for name, path in wanted.items() if name in masks], faults


def _alone(path: Path, partner: str) -> DatasetError:
    return DatasetError(f"without {partner}", path, fault=Fault.PARTNER)


def _expected(form: str, path: Path) -> str:
    return composed(form.format(stem=path.stem, name=path.name))


def _labels_beside(files: dict[str, Path]) -> list[str]:
    """Finds the stems of label files that lie in one folder with their pictures."""
    marked = {_expected(form, path) for path in files.values() for form in FORMS if form != "{stem}"}
    return [stem for stem, path in files.items() if stem in marked and path.suffix.lower() in LOSSLESS]


def _has_pictures(folder: Path) -> bool:
    return any(map(_is_picture, folder.iterdir()))


def _by_stem(folder: Path, faults: list[DatasetError]) -> dict[str, Path]:
    """Finds pictures by the name before the suffix, in order; skips hidden and other files.

    A second file of one name is left out and added to `faults`. Letters of the names are composed.
    """
    found: dict[str, Path] = {}
    for path in sorted(filter(_is_picture, folder.iterdir()), key=lambda path: composed(path.name)):
        stem = composed(path.stem)
        if stem in found:
            reason = f"expected one file with this name, found {found[stem].name} too"
            faults.append(DatasetError(reason, path, fault=Fault.SAME_NAME))
        else:
            found[stem] = path
    return found


def _is_picture(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in _suffixes() | {".npy"}


_suffixes = functools.cache(picture_suffixes)
