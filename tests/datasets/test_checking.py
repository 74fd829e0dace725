"""A dataset with every fault: all in one list, none for a whole one; and the quick part before a run."""

import shutil

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets import Cached, Scenes, open_folder
from fcn_jax.datasets.checking import check, check_named, quick_check
from fcn_jax.datasets.faults import Fault, Severity
from tests.datasets.made_files import random_image, turned, write

MASK = np.random.default_rng(0).integers(0, 2, (9, 7)).astype(np.uint8)


def write_pairs(folder, names, mask=MASK):
    for name in names:
        write(folder / "images" / f"{name}.png", random_image(0, (9, 7)))
        write(folder / "labels" / f"{name}.png", mask)


def write_whole(root, classes="background\nroad\n", mask=MASK):
    write_pairs(root / "train", "abcdefghijkl", mask)
    write_pairs(root / "val", "mn", mask)
    (root / "classes.txt").write_text(classes)


def write_faulty(root):
    write_whole(root, "background\nroad\nghost\n")
    images, labels = root / "train" / "images", root / "train" / "labels"
    (labels / "a.png").unlink()
    for name in "bc":
        write(images / f"{name}.png", random_image(0, (9, 7)), exif=turned(6))
    write(labels / "d.png", MASK.T)
    write(labels / "e.png", np.full((9, 7), 7, np.uint8))
    for path in (images / "f.png", labels / "g.png"):
        path.write_bytes(path.read_bytes()[:-40])
    write(labels / "h.png", random_image(1, (9, 7)))
    write(labels / "i.png", np.full((9, 7), 255, np.uint8))
    shutil.copy(images / "j.png", images / "j.bmp")


ALL = {
    Fault.PARTNER: {"a.png"},
    Fault.SAME_NAME: {"j.png"},
    Fault.ORIENTATION: {"b.png", "c.png"},
    Fault.SIZE: {"d.png"},
    Fault.VALUE: {"e.png"},
    Fault.PICTURE: {"f.png"},
    Fault.LABELS: {"g.png"},
    Fault.COLOURS: {"h.png"},
    Fault.VOID: {"i.png"},
}


def files(report):
    return {
        finding.fault: {fault.path.rpartition("/")[2] for fault in finding.examples}
        for finding in report.findings
        if finding.of_files
    }


def test_all_faults_are_in_one_list(tmp_path):
    write_faulty(tmp_path)
    report = check_named("folder", tmp_path, ["train", "val"])
    assert files(report) == ALL
    ghosts = {finding.fault: finding.words() for finding in report.findings if not finding.of_files}
    assert ghosts == {
        Fault.GHOST: "1 class without any pixel: ghost (in 8 of the 11 label files of the split train)",
        Fault.UNSEEN: "1 class without any pixel to score: ghost (in 2 label files of the split val)",
    }
    assert not report.good
    order = list(Severity)
    assert [order.index(finding.severity) for finding in report.findings] == sorted(
        order.index(finding.severity) for finding in report.findings
    )


def test_pixels_and_pictures_of_each_class(tmp_path):
    write_whole(tmp_path)
    mask = MASK.copy()
    mask[0] = 255
    write(tmp_path / "train" / "labels" / "a.png", mask)
    write(tmp_path / "train" / "labels" / "b.png", np.zeros((9, 7), np.uint8))
    report = check_named("folder", tmp_path, ["train", "val"])
    assert (report.findings, report.good) == ((), True)
    train, val = report.tallies
    expected = sum(
        np.bincount(each.ravel(), minlength=256) for each in (mask, np.zeros((9, 7), np.uint8), *[MASK] * 10)
    )
    np.testing.assert_array_equal(train.pixels, expected)
    assert train.occurs[[0, 1, 2, 255]].tolist() == [12, 11, 0, 1]
    assert (train.pictures, train.counted, val.pictures) == (12, 12, 2)


@pytest.mark.parametrize(
    ("classes", "values", "kind", "said"),
    [
        ("background\nroad\n", (0, 255), Fault.NOTHING, "only background has pixels in 12 label files"),
        ("road\n", (0, 255), Fault.NOTHING, "there is only one class, road, in 12 label files"),
        ("background\nroad\n", (255, 255), Fault.NOTHING, "no pixel has a class in 12 label files"),
        ("background\nroad\nghost\n", (0, 1), Fault.GHOST, "ghost"),
        ("wall\nroad\n", (0, 2), Fault.SHIFT, "labels go from 0 to 2, and there are 2 classes"),
    ],
)
def test_labels_that_teach_nothing(tmp_path, classes, values, kind, said):
    write_whole(tmp_path, classes, np.array(values, np.uint8)[MASK])
    for report in (
        check_named("folder", tmp_path, ["train"]),
        quick_check({"train": Cached(open_folder(tmp_path))}),
    ):
        found = [
            fault.reason for finding in report.findings for fault in finding.examples if finding.fault is kind
        ]
        assert len(found) == 1
        assert found[0].startswith(said)
        assert not report.good
        assert bool(report.stopping) == (kind is not Fault.GHOST)
    binary = check_named("folder", tmp_path, ["train"], values="0,255") if classes.count("\n") == 2 else None
    if values == (0, 255) and binary is not None:
        assert binary.findings == ()


def test_a_sample_of_the_labels_does_not_stop_a_run(tmp_path, monkeypatch):
    write_whole(tmp_path, mask=np.array((0, 255), np.uint8)[MASK])
    monkeypatch.setattr(check, "QUICK_LABELS", 5)
    report = quick_check({"train": open_folder(tmp_path)})
    assert [finding.fault for finding in report.findings] == [Fault.HARDLY]
    assert "in 5 of the 12 label files" in report.findings[0].words()
    assert (report.stopping, report.good) == ((), False)
    write_whole(tmp_path, "background\nroad\nghost\n")
    report = quick_check({"train": open_folder(tmp_path)})
    assert [finding.fault for finding in report.findings] == [Fault.RARE]
    assert report.good  # there may be some in the others


def test_the_quick_part_ends_when_its_time_is_over(tmp_path, monkeypatch):
    write_whole(tmp_path)
    monkeypatch.setattr(check, "QUICK_SECONDS", -1.0)
    report = quick_check({"train": open_folder(tmp_path)})
    assert (report.tallies[0].headers, report.tallies[0].counted) == (0, 0)


def test_the_quick_part_names_all_turned_pictures(tmp_path):
    write_whole(tmp_path)
    for name in "cfk":
        write(tmp_path / "train" / "images" / f"{name}.png", random_image(0, (9, 7)), exif=turned(3))
    (finding,) = quick_check({"train": open_folder(tmp_path)}).stopping
    assert finding.words() == "3 pictures that EXIF asks to turn: c.png, f.png, k.png"


def test_other_datasets_are_taken_as_they_are():
    assert quick_check({"train": Scenes(2)}).tallies == ()


def test_palettes_that_differ(tmp_path):
    write_whole(tmp_path)
    for name, colours in (
        ("a", (0, 0, 0, 9, 9, 200)),
        ("b", (9, 9, 200, 0, 0, 0)),
        ("c", (0, 0, 0, 9, 9, 200)),
    ):
        image = Image.fromarray(MASK if name != "b" else 1 - MASK)
        image.putpalette(colours)
        image.save(tmp_path / "train" / "labels" / f"{name}.png")
    report = check_named("folder", tmp_path, ["train"])
    assert files(report) == {Fault.PALETTE: {"b.png"}}
    assert "list them with their colours in classes.txt" in report.findings[0].hint
    (tmp_path / "classes.txt").write_text("background 0 0 0\nroad 9 9 200\n")
    assert check_named("folder", tmp_path, ["train"]).findings == ()


def test_a_split_that_cannot_be_opened_and_other_classes(tmp_path):
    write_whole(tmp_path)
    report = check_named("folder", tmp_path, ["train", "tst"])
    assert [finding.fault for finding in report.findings] == [Fault.OPENING]
    assert "expected a split (train, val), got 'tst'" in report.findings[0].words()
    assert check_named("folder", tmp_path / "nowhere", ["train"]).categories == ()


def test_a_long_list_is_cut(tmp_path):
    write_whole(tmp_path)
    for path in (tmp_path / "train" / "labels").iterdir():
        path.write_bytes(b"nothing")
    (finding,) = [
        each for each in check_named("folder", tmp_path, ["train"]).findings if each.fault is Fault.LABELS
    ]
    assert (finding.count, len(finding.examples)) == (12, 8)
    assert finding.words().endswith("h.png, ...")


@pytest.mark.parametrize("name", ["voc", "camvid"])
def test_missing_files_of_a_list(tmp_path, name):
    write(tmp_path / "JPEGImages" / "a.jpg", random_image(0, (9, 7)))
    write(tmp_path / "SegmentationClass" / "a.png", MASK)
    if name == "voc":
        (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
        (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    else:
        lines = [f"JPEGImages/{each}.jpg SegmentationClass/{each}.png\n" for each in "ab"]
        (tmp_path / "train.txt").write_text("".join(lines))
    report = check_named(name, tmp_path, ["train"])
    assert files(report) == {Fault.MISSING: {"b.jpg", "b.png"}}
    assert report.tallies[0].pictures == 1


@pytest.mark.parametrize("broken", ["ab", "abcdefghijkl"])
def test_all_labels_in_colours_are_counted_where_nothing_names_the_classes(tmp_path, broken):
    write_whole(tmp_path)
    (tmp_path / "classes.txt").unlink()
    for name in broken:
        write(tmp_path / "train" / "labels" / f"{name}.png", random_image(1, (9, 7)))
    shutil.rmtree(tmp_path / "val")
    (finding,) = check_named("folder", tmp_path, ["train"]).findings
    assert (finding.fault, finding.count) == (Fault.COLOURS, len(broken))
