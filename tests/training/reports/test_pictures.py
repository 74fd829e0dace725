"""Curves: that they can be drawn whatever the run gave, and show what they should."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fcn_jax.errors import MissingPackageError
from fcn_jax.training.reports.curves import MOST_POINTS, draw_curves, draw_scores, thin_out


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
    draw_scores(made, axes)
    step = 50 * scores.index(0.6)
    ring = axes.lines[-1]
    assert ([step], [0.6]) == (list(ring.get_xdata()), list(ring.get_ydata()))
    assert ring.get_label() == f"best mean IoU: 60.0% after {step} steps"
    draw_scores([record | {"mean_iou": None} for record in made], axes := Figure().subplots())
    assert len(axes.lines) == 2


def testthin_outning_keeps_peaks_gaps_and_both_ends():
    values = np.random.default_rng(0).random(100_003)
    values[77_777], values[33_333], values[50_000:60_000] = 50, -50, np.nan
    shown = thin_out(values)
    assert len(shown) <= MOST_POINTS
    assert {0, 33_333, 77_777, 100_002} <= set(shown.tolist())
    assert np.isnan(values[shown]).any()
    assert (np.diff(shown) > 0).all()
    np.testing.assert_array_equal(thin_out(values[:MOST_POINTS]), np.arange(MOST_POINTS))


def test_curves_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        MissingPackageError, match=r"curves need matplotlib, .*; pip install 'fcn_jax\[train\]'"
    ):
        draw_curves([], tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []
