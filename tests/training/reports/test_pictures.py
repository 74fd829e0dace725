"""Curves and sheets: that they can be drawn whatever the run gave, and show what they should."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fcn_jax.datasets import Scenes
from fcn_jax.training.reports.curves import MOST_POINTS, _draw_scores, _thin, draw_curves
from fcn_jax.training.reports.sheet import MOST_CLASSES, _shown_classes, draw_sheet


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


def drawn(records, path):
    draw_curves(records, path)
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_single_step_can_be_seen(tmp_path):
    one = {"kind": "train", "step": 0, "loss": 2.0, "lr": 0.1}
    with_loss = drawn([one], tmp_path / "a.png")
    without = drawn([one | {"loss": None}], tmp_path / "b.png")
    inner = np.s_[40:300, 200:380]  # around the middle of the left plot, beside ticks and legend
    blue = (abs(with_loss[inner].astype(int) - (44, 95, 168)).sum(-1) < 60).sum()
    assert blue > 5
    assert (abs(without[inner].astype(int) - (44, 95, 168)).sum(-1) < 60).sum() == 0


@pytest.mark.parametrize("scores", [[0.2, 0.6, 0.4], [0.6, None, 0.2], [None, 0.1, 0.6]])
def test_the_best_is_ringed(scores):
    made = [
        {"kind": "eval", "step": 50 * k, "mean_iou": score, "pixel_accuracy": 1 - (score or 0)}
        for k, score in enumerate(scores)
    ]
    axes = Figure().subplots()
    _draw_scores(made, axes)
    step = 50 * scores.index(0.6)
    ring = axes.lines[-1]
    assert ([step], [0.6]) == (list(ring.get_xdata()), list(ring.get_ydata()))
    assert ring.get_label() == f"best mean IoU: 60.0% after {step} steps"
    _draw_scores([record | {"mean_iou": None} for record in made], axes := Figure().subplots())
    assert len(axes.lines) == 2


def test_thinning_keeps_peaks_gaps_and_both_ends():
    values = np.random.default_rng(0).random(100_003)
    values[77_777], values[33_333], values[50_000:60_000] = 50, -50, np.nan
    shown = _thin(values)
    assert len(shown) <= MOST_POINTS
    assert {0, 33_333, 77_777, 100_002} <= set(shown.tolist())
    assert np.isnan(values[shown]).any()
    assert (np.diff(shown) > 0).all()
    np.testing.assert_array_equal(_thin(values[:MOST_POINTS]), np.arange(MOST_POINTS))


def test_curves_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"curves need matplotlib: pip install 'fcn_jax\[train\]'"):
        draw_curves([], tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


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


def test_the_legend_names_what_occurs():
    labels = np.array([[0, 1, 40, 255]], np.uint8)
    rows = [("a", None, labels, labels[:, :2])]
    assert _shown_classes(rows, ["sky", "road"]) == [(0, "sky"), (1, "road"), (40, "class 40"), (255, "void")]
    many = np.arange(MOST_CLASSES + 3, dtype=np.uint8)[None]
    shown = _shown_classes([("a", None, many, many)], [f"c{k}" for k in range(64)])
    assert shown[-2:] == [(MOST_CLASSES - 1, f"c{MOST_CLASSES - 1}"), (None, "and 3 more")]


@pytest.mark.parametrize("size", [(1, 1000), (300, 7), (1, 1)])
def test_sheets_of_odd_sizes_and_long_names(tmp_path, size):
    labels = np.zeros(size, np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    pages = []
    for name in ("W" * 500, "W" * 400):
        draw_sheet([(name, image, labels, labels)], ["sky"], palette, tmp_path / "sheet.png")
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
        with pytest.raises(ValueError, match=r"dog: expected truth and prediction of the picture's \(5, 7\)"):
            draw_sheet([("dog", image, *wrong)], ["sky"], palette, tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []
