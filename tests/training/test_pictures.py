"""Curves and sheets: that they can be drawn whatever the run gave, and show what they should."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.datasets import Scenes
from fcn_jax.training.curves import draw_curves
from fcn_jax.training.sheets import draw_sheet


def records(count):
    made = [
        {"kind": "train", "step": step, "loss": None if step == 3 else 2 / (step + 1), "lr": 0.1}
        for step in range(count)
    ]
    scores = [
        {"kind": "eval", "step": step, "mean_iou": None if step == 0 else 0.3, "pixel_accuracy": 0.5}
        for step in range(0, count, 100)
    ]
    return made + scores


@pytest.mark.parametrize("count", [0, 1, 500, 20_000])
def test_curves_of_any_length(tmp_path, count):
    draw_curves(records(count), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1100, 360)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 5
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_sheet_shows_truth_and_prediction_in_the_datasets_colours(tmp_path):
    dataset = Scenes(2, (40, 60))
    rows = []
    for index in range(2):
        image, labels = dataset[index]
        truth = labels.copy()
        truth[:5] = 255
        rows.append((dataset.name(index), image, truth, np.full_like(labels, 2)))
    draw_sheet(rows, dataset.categories, dataset.palette, tmp_path / "sheet.png")
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    height = round(320 * 40 / 60)
    panes = [page[30 : 30 + height, 12 + column * 332 : 332 + column * 332] for column in range(3)]
    assert (panes[2] == dataset.palette[2]).all()
    assert (panes[1][:20] == dataset.palette[255]).all()
    assert not (panes[0] == panes[1]).all()
    shown = {tuple(colour) for colour in panes[1].reshape(-1, 3).tolist()}
    assert shown <= {tuple(colour) for colour in dataset.palette.tolist()}
