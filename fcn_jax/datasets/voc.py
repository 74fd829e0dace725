"""PASCAL VOC 2012, and the Semantic Boundaries Dataset (SBD), which labels more of VOC's pictures.

VOC labels 1,464 pictures for training and 1,449 for validation; pixels along the borders of objects are 255.
SBD labels 11,355 without such borders, in its own splits: some of its training pictures are in VOC's val. The
paper trained on SBD's train (8,498) and scored on seg11valid, VOC 2011's validation pictures that are not in
SBD's train. Later work trains on `train_aug`: VOC's train and all of SBD, except for VOC's val.

Sources: Everingham et al., the VOC 2012 development kit; Hariharan et al. (2011), "Semantic contours from
inverse detectors". Layouts as in `torchvision.datasets`, `VOCSegmentation` and `SBDataset`.
"""

import os
from pathlib import Path

import numpy as np

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.datasets.class_lists import read_class_list
from fcn_jax.datasets.colours import ByTable, class_palette
from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.file_names import composed
from fcn_jax.datasets.files import FileDataset, errors_name_the_file, read_label_image
from fcn_jax.datasets.split_lists import data_folder, read_list
from fcn_jax.errors import MissingPackageError

LABELMAP = "labelmap.txt"


def open_voc(
    folder: str | os.PathLike, split: str | os.PathLike = "train", *, tolerant: bool = False
) -> FileDataset:
    """Opens VOC 2012's pictures with segmentation: 21 classes, the background first.

    CVAT exports "Segmentation mask 1.1" in the same layout, with labels in colours and their list,
    labelmap.txt. If that is there, the classes are its own. Pictures may then have any suffix.

    Args:
      folder: VOC2012, or the folder that holds VOCdevkit/VOC2012.
      split: "train", "val", "trainval", another list in ImageSets/Segmentation, or the path of a list file
        with one picture's name a line, such as the paper's seg11valid.txt.
      tolerant: whether pictures that lack a file are left out; the dataset's `faults` then list them.

    Raises:
      DatasetError: folder, split or files do not exist; see `FileDataset`.
    """
    root = _voc_root(data_folder(folder))
    names = read_list(split, _voc_lists(root), note="; train_aug belongs to the dataset sbd")
    pairs = [_voc_pair(root, name) for name in names]
    if not (root / LABELMAP).is_file():
        return FileDataset(pairs, VOC_CATEGORIES, tolerant=tolerant)
    listed = read_class_list(root / LABELMAP)
    if listed.colours is None:
        expected = "a colour for each class (road:128,64,128::)"
        raise DatasetError(path=listed.path, expected=expected, got="a class without one")
    suffixes = {composed(path.stem): path.name for path in sorted((root / "JPEGImages").iterdir())}
    pairs = [
        (image.with_name(suffixes.get(composed(image.stem), image.name)), labels) for image, labels in pairs
    ]
    return FileDataset(
        pairs,
        listed.names,
        palette=class_palette(listed.colours),
        read_labels=ByTable(listed.colours, listed.path),
        tolerant=tolerant,
    )


def open_sbd(
    folder: str | os.PathLike, split: str | os.PathLike = "train", *, tolerant: bool = False
) -> FileDataset:
    """Opens SBD's pictures with VOC's 21 classes. Needs the extra `sbd` (SciPy), for labels in .mat files.

    Args:
      folder: the folder that holds benchmark_RELEASE/dataset, or the one that holds `img`, `cls`, `train.txt`
        and `val.txt`.
      split: SBD's own "train" (8,498 pictures) or "val" (2,857); another list beside them, or the path of a
        list file, such as torchvision's train_noval.txt; or "train_aug" (10,582): VOC's train with VOC's
        labels, then SBD's train and val with SBD's, without VOC's val. "train_aug" also needs VOC in
        `folder`, where `open_voc` finds it.
      tolerant: whether pictures that lack a file are left out; the dataset's `faults` then list them.

    Raises:
      DatasetError: folder, split or files do not exist; see `FileDataset`.
      MissingPackageError: SciPy is not installed.
    """
    _loadmat()
    folder = data_folder(folder)
    root = _sbd_root(folder)
    lists = {path.stem: path for path in sorted(root.glob("*.txt"))}
    if os.fspath(split) == "train_aug":
        voc = _voc_root(folder)
        train, val = (read_list(name, _voc_lists(voc)) for name in ("train", "val"))
        both = dict.fromkeys(read_list("train", lists) + read_list("val", lists))
        more = [name for name in both if name not in {*train, *val}]
        pairs = [_voc_pair(voc, name) for name in train] + [_sbd_pair(root, name) for name in more]
    else:
        names = read_list(split, lists, note=", or train_aug")
        pairs = [_sbd_pair(root, name) for name in names]
    return FileDataset(pairs, VOC_CATEGORIES, read_labels=_read_labels, tolerant=tolerant)


def _voc_root(folder: Path) -> Path:
    for root in (folder / "VOCdevkit" / "VOC2012", folder / "VOC2012", folder):
        if (root / "JPEGImages").is_dir():
            return root
    raise DatasetError(
        "expected VOC2012 (JPEGImages, SegmentationClass, ImageSets) or the folder that holds "
        "VOCdevkit/VOC2012, found neither",
        folder,
        hint="unpack VOCtrainval_11-May-2012.tar there",
    )


def _voc_lists(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))}


def _voc_pair(root: Path, name: str) -> tuple[Path, Path]:
    return root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png"


def _sbd_root(folder: Path) -> Path:
    for root in (folder / "benchmark_RELEASE" / "dataset", folder / "dataset", folder):
        if (root / "cls").is_dir():
            return root
    raise DatasetError(
        "expected SBD's dataset (img, cls, train.txt, val.txt) or the folder that holds "
        "benchmark_RELEASE/dataset, found neither",
        folder,
        hint="unpack benchmark.tgz there",
    )


def _sbd_pair(root: Path, name: str) -> tuple[Path, Path]:
    return root / "img" / f"{name}.jpg", root / "cls" / f"{name}.mat"


def _read_labels(path: Path) -> np.ndarray:
    """Reads VOC's labels or SBD's, by the suffix."""
    if path.suffix == ".png":
        return read_label_image(path)
    with errors_name_the_file(path, "SBD's labels"):
        return _loadmat()(path)["GTcls"][0]["Segmentation"][0]


def _loadmat():
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingPackageError("reading SBD's labels needs SciPy: pip install 'fcn_jax[sbd]'") from error
    return loadmat
