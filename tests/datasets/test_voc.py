"""VOC and SBD from small trees in their own layouts."""

from pathlib import Path

import numpy as np
import pytest

from fcn_jax import VOC_CATEGORIES
from fcn_jax.categories import voc_palette
from fcn_jax.datasets import DatasetError, open_sbd, open_voc
from fcn_jax.datasets.voc import _loadmat
from fcn_jax.errors import MissingPackageError
from fcn_jax.visualization import label_image
from tests.datasets.made_files import random_image, random_labels, write

REAL = Path(__file__).parents[3] / "shared" / "data" / "voc_mini"
LISTS = {"train": ["2007_01", "2007_02"], "val": ["2007_03"]}
LISTS["trainval"] = LISTS["train"] + LISTS["val"]
SBD_LISTS = {"train": ["2007_02", "2008_05", "2008_04"], "val": ["2007_03", "2008_06"]}


def write_voc(root):
    """VOC2012 with three pictures; the labels' seed is the picture's number."""
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, lines in LISTS.items():
        (lists / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "SegmentationClass").mkdir()
    for name in LISTS["trainval"]:
        seed = int(name[-1])
        write(root / "JPEGImages" / f"{name}.jpg", random_image(seed))
        label_image(random_labels(seed, 21)).save(root / "SegmentationClass" / f"{name}.png")


def write_sbd(root):
    """SBD with five pictures, two of them VOC's; seeds from 100."""
    savemat = pytest.importorskip("scipy.io").savemat
    (root / "cls").mkdir(parents=True)
    for name, lines in SBD_LISTS.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            seed = 100 + int(line[-1])
            write(root / "img" / f"{line}.jpg", random_image(seed))
            labels = random_labels(seed, 21) % 21  # no borders in SBD
            boundaries = np.zeros((20, 1), object)  # as in SBD's own files, beside the labels
            boundaries[:] = [[np.zeros((2, 2))]] * 20
            savemat(
                root / "cls" / f"{line}.mat",
                {"GTcls": {"Segmentation": labels, "Boundaries": boundaries, "CategoriesPresent": [1]}},
            )


@pytest.mark.parametrize("inside", [".", "VOCdevkit/VOC2012", "VOC2012"])
@pytest.mark.parametrize("split", LISTS)
def test_voc(tmp_path, inside, split):
    write_voc(tmp_path / inside)
    dataset = open_voc(str(tmp_path), split)
    assert [dataset.name(index) for index in range(len(dataset))] == LISTS[split]
    assert dataset.categories == VOC_CATEGORIES
    np.testing.assert_array_equal(dataset.palette, voc_palette(256))
    for name, (image, labels) in zip(LISTS[split], dataset, strict=True):
        assert image.shape == (33, 47, 3)
        np.testing.assert_array_equal(labels, random_labels(int(name[-1]), 21))


def test_any_list_file_is_a_split(tmp_path):
    write_voc(tmp_path / "VOC2012")
    chosen = tmp_path / "seg11valid.txt"
    chosen.write_text("2007_03\r\n\r\n 2007_01\n", encoding="utf-8-sig")
    for split in (chosen, str(chosen)):
        dataset = open_voc(tmp_path, split)
        assert [dataset.name(index) for index in range(len(dataset))] == ["2007_03", "2007_01"]


def test_an_unknown_split_lists_those_there_are(tmp_path):
    write_voc(tmp_path)
    with pytest.raises(
        DatasetError, match=r"a split \(train, trainval, val\) or .*list file; .*, got 'test'"
    ):
        open_voc(tmp_path, "test")
    with pytest.raises(DatasetError, match="train_aug belongs to the dataset sbd"):
        open_voc(tmp_path, "train_aug")


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_list(tmp_path, content):
    write_voc(tmp_path)
    (tmp_path / "none.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=r"none.txt: expected a list .* got an empty file"):
        open_voc(tmp_path, tmp_path / "none.txt")


def test_a_list_that_is_no_text(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "none.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(
        DatasetError, match=r"none.txt: cannot be read as a list of pictures: UnicodeDecodeErr"
    ):
        open_voc(tmp_path, tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("open_it", "what"), [(open_voc, "VOCdevkit/VOC2012"), (open_sbd, "benchmark_RELEASE")]
)
def test_a_folder_without_the_dataset(tmp_path, open_it, what):
    pytest.importorskip("scipy.io")
    with pytest.raises(DatasetError, match=rf"{tmp_path.name}: expected .*{what}.*; unpack \S+\.t\w+ there"):
        open_it(tmp_path)
    with pytest.raises(DatasetError, match=r"nowhere: .* there is no such folder"):
        open_it(tmp_path / "nowhere")


@pytest.mark.parametrize("inside", [".", "dataset", "benchmark_RELEASE/dataset"])
@pytest.mark.parametrize("split", SBD_LISTS)
def test_sbd(tmp_path, inside, split):
    write_sbd(tmp_path / inside)
    dataset = open_sbd(tmp_path, split)
    assert dataset.categories == VOC_CATEGORIES
    for index, name in enumerate(SBD_LISTS[split]):
        assert dataset.name(index) == name
        assert dataset[index].labels.dtype == np.uint8
        expected = random_labels(100 + int(name[-1]), 21) % 21
        np.testing.assert_array_equal(dataset[index].labels, expected)


def test_train_aug_is_vocs_train_and_sbd_but_for_vocs_val(tmp_path):
    write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    write_sbd(tmp_path / "benchmark_RELEASE" / "dataset")
    dataset = open_sbd(tmp_path, "train_aug")
    seeds = {"2007_01": 1, "2007_02": 2, "2008_05": 105, "2008_04": 104, "2008_06": 106}
    assert [dataset.name(index) for index in range(len(dataset))] == list(seeds)
    for seed, (image, labels) in zip(seeds.values(), dataset, strict=True):
        expected = random_labels(seed, 21)
        np.testing.assert_array_equal(labels, expected if seed < 100 else expected % 21)
        # The picture lies beside its labels: a JPEG of noise is near the noise.
        assert abs(image.astype(float) - random_image(seed)).mean() < 60  # seen: 44; another picture: 85


def test_train_aug_needs_voc_too(tmp_path):
    write_sbd(tmp_path)
    with pytest.raises(DatasetError, match="VOCdevkit/VOC2012, found neither"):
        open_sbd(tmp_path, "train_aug")
    with pytest.raises(
        DatasetError, match=r"a split \(train, val\) or .* list file, or train_aug, got 'aug'"
    ):
        open_sbd(tmp_path, "aug")


@pytest.mark.parametrize("content", [b"no such thing", None])
def test_damaged_labels_of_sbd(tmp_path, content):
    write_sbd(tmp_path)
    path = tmp_path / "cls" / "2007_02.mat"
    if content is None:
        pytest.importorskip("scipy.io").savemat(path, {"other": 1})
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"2007_02.mat: cannot be read as SBD's labels: \w+"):
        open_sbd(tmp_path)[0]


def test_without_scipy(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(MissingPackageError, match=r"needs SciPy: pip install 'fcn_jax\[sbd\]'"):
        open_sbd(tmp_path)
    with pytest.raises(MissingPackageError, match="SciPy"):
        _loadmat()


@pytest.mark.skipif(not REAL.is_dir(), reason="real pictures are not here")
def test_real_pictures():
    dataset = open_voc(REAL, "trainval")
    found = {dataset.name(index): set(np.unique(dataset[index].labels).tolist()) for index in range(8)}
    assert len(dataset) == 8
    assert found["2007_000129"] == {0, 2, 15, 255}
    assert found["2011_000025"] == {0, 6, 7}
    assert found["2008_002536"] == {0, 12, 17, 255}
    with pytest.raises(DatasetError, match=r"1,466 of the 1,472 files of this split are missing"):
        open_voc(REAL, REAL / "seg11valid.txt")
