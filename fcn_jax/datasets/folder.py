"""Your own pictures and labels, in folders.

    DIR/images/street1.jpg   DIR/labels/street1.png      pairs have the same name before the dot
    DIR/classes.txt                                      the names of the classes, one a line, index 0 first

Other layouts are known, too: `layouts.LAYOUTS`, and labels beside their pictures (street1_mask.png). So are
the lists of classes that labelling tools write: `class_lists.FORMS`.

A label image is grey or has a palette; its values are class indices, or 255 where no class is known; or other
values, by options (see `label_values`) or by the list of classes. If that list has colours, a label image may
show these. The palette of the first label image, if any, has the colours of the classes. One picture in ten
is for validation, chosen by its name. If DIR has a subfolder for each split (train, val, ...), these are the
splits.
"""

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fcn_jax.bands import open_bands
from fcn_jax.datasets.class_lists import ClassList, find_class_list
from fcn_jax.datasets.colours import ByFirstPalette, ByTable, class_palette, first_palette
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, shown
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.files import FileDataset, errors_name_the_file, read_label_image
from fcn_jax.datasets.label_values import LabelValues, Values, label_values, parse_values
from fcn_jax.datasets.layouts import Found, Pairs, find_pairs
from fcn_jax.datasets.orientation import check_upright, read_header
from fcn_jax.datasets.split_lists import data_folder, part_of, unknown_split
from fcn_jax.images import ImageError, open_image

logger = logging.getLogger(__name__)

CLASSES = "classes.txt"
LOOKED_AT = 8  # label files, to see whether the values begin at 1

ReadLabels = Callable[[Path], np.ndarray]


def open_folder(
    folder: str | os.PathLike,
    split: str = "train",
    categories: Sequence[str] | None = None,
    *,
    void: Values = None,
    values: Values = None,
    zero_is_void: bool = False,
    channels: int | None = None,
    tolerant: bool = False,
) -> FileDataset:
    """Opens a folder of pictures and labels.

    If neither an option nor the list of classes says what the values mean, and the labels go from 0 to the
    number of classes, they can only have 0 for no class: a warning says that they are taken so, and the
    dataset's `faults` have it.

    Args:
      folder: see the module.
      split: "train" or "val", or the name of a subfolder.
      categories: names of the classes by index; by default those in classes.txt. Without this file, all label
        images are read once to count the classes, which are named class_0, class_1, ...
      void: label values that mean no class, besides 255; as text "0,255".
      values: the label value of each class, in order. Then 255 may be a class.
      zero_is_void: whether 0 means no class, 1 the first class, 2 the second, ...
      channels: of the pictures, which are then read as stored, see `fcn_jax.bands`: .npy, TIFF with many
        bands, 8 or 16 bits. By default they become 8-bit RGB.
      tolerant: whether files without a partner, and others of the same name, are left out; the dataset's
        `faults` then list them.

    Raises:
      DatasetError: folder or split do not exist; a file has no partner; two files have the same name; the
        labels do not show the classes; see `FileDataset`. A picture with an EXIF orientation is refused,
        because its labels may belong to either orientation.
      SettingError: the options contradict each other or the number of classes.
    """
    root = data_folder(folder)
    found = find_pairs(root)
    if found.faults and not tolerant:
        raise _several(found.faults, root)
    splits = _split_by_hash(found.pairs[""], root) if "" in found.pairs else found.pairs
    if split not in splits:
        raise unknown_split(split, splits)
    files = [labels for pairs in splits.values() for _, labels in pairs]
    listed = _class_list(root, found) if categories is None else None
    colours = None if listed is None else listed.colours
    if values is None and not zero_is_void and listed is not None:
        values = listed.values
    palette, read_labels = _reading(listed, files)
    faults = list(found.faults)
    if categories is not None or listed is not None:
        categories = tuple(categories or (listed.names if listed else ()))
        plain = void is None and values is None and not zero_is_void and colours is None
        meant = label_values(len(categories), void, values, zero_is_void)
        if plain:
            meant = _perhaps_from_one(categories, files, read_labels, root, faults)
    else:
        categories, meant = _count_classes(root, files, read_labels, void, values, zero_is_void, tolerant)
    return FileDataset(
        splits[split],
        categories,
        void=meant.void,
        values=meant.values,
        palette=palette,
        read_image=_read_upright if channels is None else functools.partial(read_bands, channels=channels),
        read_labels=read_labels,
        upright=True,
        faults=faults,
        tolerant=tolerant,
    )


def read_bands(path: Path, channels: int) -> np.ndarray:
    """Reads a picture as stored, (H, W, channels); see `fcn_jax.bands.open_bands`.

    Raises:
      DatasetError: the file is missing or damaged, has other channels, or EXIF asks to turn it.
    """
    with errors_name_the_file(path, "a picture", Fault.PICTURE):
        read_header(path, check_upright)
        return open_bands(path, channels)


def _class_list(root: Path, found: Found) -> ClassList | None:
    """Finds the list of classes: in the folder, or beside the pictures of each split, the same in all."""
    listed = find_class_list(root)
    if listed is not None:
        return listed
    lists = [each for folder in found.folders if (each := find_class_list(folder)) is not None]
    for other in lists[1:]:
        if other[1:] != lists[0][1:]:
            raise DatasetError(
                path=other.path, expected=f"the classes of {lists[0].path}", got=shown(other.names, most=8)
            )
    return lists[0] if lists else None


def _reading(listed: ClassList | None, files: Sequence[Path]) -> tuple[np.ndarray, ReadLabels]:
    """Chooses what reads label files, and the (256, 3) colours that show them."""
    if listed is not None and listed.colours is not None:
        return class_palette(listed.colours), ByTable(listed.colours, listed.path)
    first = min(files, default=None)  # the same for every split
    colours = None if first is None else first_palette(first)
    if first is None or colours is None:
        return class_palette(None), read_label_image
    return class_palette(colours), ByFirstPalette(colours.tobytes(), first)


def _several(faults: list[DatasetError], root: Path) -> DatasetError:
    """Makes one error of files without a partner, or else of the first one with another's name."""
    for fault in faults:
        if fault.fault is Fault.SAME_NAME:
            return fault
    return DatasetError(
        path=root,
        fault=Fault.PARTNER,
        expected="labels for each picture and a picture for all labels",
        got=f"{len(faults):,} without: {shown((f'{each.path} {each.reason}' for each in faults), most=3)}",
    )


def _split_by_hash(pairs: Pairs, root: Path) -> dict[str, Pairs]:
    """Splits by the hash of each name, so that a picture keeps its split when the folder moves."""
    if len(pairs) < 2:
        got = "one" if pairs else "none"
        raise DatasetError(path=root, expected="at least two pictures, one of them for validation", got=got)
    names = [image.name for image, _ in pairs]
    return {part: [pairs[index] for index in part_of(names, part)] for part in ("train", "val")}


def _perhaps_from_one(
    categories: Sequence[str], files: list[Path], read: ReadLabels, root: Path, faults: list[DatasetError]
) -> LabelValues:
    """Returns the values as class indices; or from 1, if the labels of a few files can mean nothing else.

    In that case it logs a warning and adds it to `faults`.
    """
    chosen = sorted(files)[:: max(1, len(files) // LOOKED_AT)][:LOOKED_AT]
    found: set[int] = set()
    for path in chosen:
        try:
            found.update(np.unique(read(path)).tolist())
        except DatasetError:  # whoever reads the sample raises it
            continue
    count = len(categories)
    if max(found - {IGNORE_LABEL}, default=0) != count:
        return LabelValues(count)
    taken = ", ".join(f"{value} for {name}" for value, name in enumerate(categories[:3], 1))
    guess = DatasetError(
        f"labels go from {min(found)} to {count}, and there are {count} classes: taken as 0 for no class, "
        + taken
        + (", ..." if count > 3 else ""),
        root,
        fault=Fault.SHIFT,
        hint="if that is so, say it with {zero_is_void}; if 0 is a class, such as the background, name it "
        f"first in {CLASSES}",
    )
    logger.warning("%s", guess)
    faults.append(guess)
    return label_values(count, None, None, zero_is_void=True)


def _count_classes(
    root: Path,
    files: list[Path],
    read: ReadLabels,
    void: Values,
    values: Values,
    zero_is_void: bool,
    tolerant: bool,
) -> tuple[list[str], LabelValues]:
    """Finds the classes in the labels, where nothing names them: as many values, without a gap."""
    named = parse_values("values", values)
    if named is not None:
        return [f"class_{value}" for value in named], label_values(len(named), void, named, zero_is_void)
    found = sorted({int(value) for labels in _read_all(files, read, tolerant) for value in np.unique(labels)})
    if tolerant and not found:
        return ["class_0"], LabelValues(1)  # no file can be read: every one is a fault
    none = {IGNORE_LABEL, *(parse_values("void", void) or ()), *((0,) if zero_is_void else ())}
    classes = [value for value in found if value not in none]
    first = 1 if zero_is_void else 0
    if len(classes) < 2 or classes != list(range(first, first + len(classes))):
        raise DatasetError(
            path=root,
            expected=f"{CLASSES} with the names of the classes, one a line, "
            f"or labels {first}, {first + 1}, {first + 2}, ... that leave none out",
            got=f"no such file and the labels {shown(found, most=8)}",
            hint=_what_to_do(found),
        )
    names = [f"class_{value}" for value in classes]
    return names, label_values(len(names), void, None, zero_is_void)


def _read_all(files: list[Path], read: ReadLabels, tolerant: bool) -> Iterator[np.ndarray]:
    """Reads label files; if tolerant, without those that cannot be read, which a check finds later."""
    for path in files:
        try:
            yield read(path)
        except DatasetError:
            if not tolerant:
                raise


def _what_to_do(found: list[int]) -> str | None:
    if found == [0, IGNORE_LABEL]:
        return "if 255 marks a class, write 1 instead of 255, or say so with {values} 0,255"
    return None


def _read_upright(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        raise DatasetError(
            path=path,
            fault=Fault.PICTURE,
            expected="a picture in 8-bit RGB",
            got="an array",
            hint="say how many channels the pictures have with {in_channels}",
        )
    with errors_name_the_file(path, "a picture", Fault.PICTURE):
        read_header(path, check_upright)
        try:
            return np.asarray(open_image(path))
        except ImageError as error:
            raise DatasetError(error.reason, hint=error.hint) from error
