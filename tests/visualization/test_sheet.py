"""Sheets of pictures, truths and predictions."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets import Scenes
from fcn_jax.visualization.sheet import MOST_CLASSES, SheetRow, draw_sheet, sheet_entries


def test_a_sheet_shows_truth_and_prediction_in_the_datasets_colours(tmp_path):
    dataset = Scenes(2, (40, 60))
    rows = []
    for index in range(2):
        image, labels = dataset[index]
        truth = labels.copy()
        truth[:5] = 255
        rows.append(SheetRow(dataset.name(index), image, truth, np.full_like(labels, 2), "mean IoU 3%"))
    draw_sheet(rows, dataset.categories, dataset.palette, tmp_path / "sheet.png")
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    height = round(320 * 40 / 60)
    panes = [page[30 : 30 + height, 12 + column * 332 : 332 + column * 332] for column in range(3)]
    assert (panes[2] == dataset.palette[2]).all()
    assert (panes[1][:20] == dataset.palette[255]).all()
    assert not (panes[0] == panes[1]).all()
    shown = {tuple(colour) for colour in panes[1].reshape(-1, 3).tolist()}
    assert shown <= {tuple(colour) for colour in dataset.palette.tolist()}


def test_the_legend_names_what_occurs():
    image = np.zeros((1, 4, 3), np.uint8)
    truth, prediction = np.array([[[0, 1, 40, 255]], [[1, 1, 0, 0]]], np.uint8)
    shown = sheet_entries([SheetRow("a", image, truth, prediction)], ["sky", "ro\nad"])
    assert shown == [(0, "sky"), (1, "ro ad"), (40, "class 40"), (255, "void")]
    assert sheet_entries([SheetRow("a", image, prediction, truth)], ["sky", "ro\nad"]) == shown
    many = np.arange(MOST_CLASSES + 3, dtype=np.uint8)[None]
    image = np.zeros((*many.shape, 3), np.uint8)
    shown = sheet_entries([SheetRow("a", image, many, many)], [f"c{k}" for k in range(64)])
    assert shown[-2:] == [(MOST_CLASSES - 1, f"c{MOST_CLASSES - 1}"), (None, "and 3 more")]


@pytest.mark.parametrize("size", [(1, 1000), (300, 7), (1, 1)])
def test_sheets_of_odd_sizes_and_long_names(tmp_path, size):
    labels = np.zeros(size, np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    pages = []
    for name in ("W" * 500, "W" * 400):
        draw_sheet([SheetRow(name, image, labels, labels, "0%")], ["sky"], palette, tmp_path / "sheet.png")
        pages.append(np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")))
    assert pages[0].shape[0] < 900
    assert (pages[0][:, -12:] == 255).all()  # the caption ends before the margin
    np.testing.assert_array_equal(*pages)


def test_a_sheet_refuses(tmp_path):
    image, labels = np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7), np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    with pytest.raises(ValueError, match="expected at least one picture for the sheet, got none"):
        draw_sheet([], ["sky"], palette, tmp_path / "sheet.png")
    for wrong in ((labels.T, labels), (labels, labels[:-1])):
        with pytest.raises(
            ValueError, match=r"dog: expected truth and prediction of the picture's size \(5, 7\)"
        ):
            SheetRow("dog", image, *wrong)
    assert list(tmp_path.iterdir()) == []
