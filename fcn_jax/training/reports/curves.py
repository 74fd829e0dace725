"""Draws a run's curves: loss, learning rate, scores. Needs matplotlib, from the extra `train`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn_jax.errors import MissingPackageError
from weights_converter.files import replacing

MOST_POINTS = 2000
INK, PALE, ACCENT, SECOND = "#28282c", "#b8c4d8", "#2c5fa8", "#c8702c"


def draw_curves(records: Sequence[dict], path: str | os.PathLike) -> None:
    """Draws the records of a run as PNG, whole or not at all.

    Args:
      records: as `read_records` returns them; may be empty.
      path: the file to write.

    Raises:
      MissingPackageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "curves need matplotlib, which is not installed", hint="pip install 'fcn_jax[train]'"
        ) from error

    figure = Figure(figsize=(11, 3.6), dpi=100, layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    rate_axes = loss_axes.twinx()
    _draw_losses(records, loss_axes, rate_axes)
    draw_scores(records, score_axes)
    for axes in (loss_axes, score_axes):
        axes.grid(color="#e6e6ea", linewidth=0.7)
        axes.tick_params(colors=INK, labelsize=8)
    for axes in (loss_axes, score_axes, rate_axes):
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _draw_losses(records: Sequence[dict], axes: Any, rate_axes: Any) -> None:
    axes.set(title="training", xlabel="step", ylabel="loss")
    steps, losses, rates = (_column(records, "train", name) for name in ("step", "loss", "lr"))
    if not len(steps):
        rate_axes.set(xticks=[], yticks=[])
        _say(axes, "no step yet")
        return
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    shown, marker = thin_out(losses), "." if len(steps) < 3 else None  # a line needs two points
    smooth = _smooth(losses)[shown]
    lines = axes.plot(steps[shown], losses[shown], color=PALE, linewidth=0.8, marker=marker, label="loss")
    lines += axes.plot(steps[shown], smooth, color=ACCENT, linewidth=1.8, marker=marker, label="smoothed")
    positive = losses[np.isfinite(losses)]
    if positive.size and positive.max() > 20 * positive.min() > 0:
        axes.set_yscale("log")
    style = {"color": SECOND, "linewidth": 1, "linestyle": "--", "marker": marker}
    lines += rate_axes.plot(steps[shown], rates[shown], label="learning rate", **style)
    rate_axes.tick_params(colors=SECOND, labelsize=8)
    rate_axes.set_ylabel("learning rate", color=SECOND)
    rate_axes.set_ylim(bottom=0)
    rate_axes.legend(handles=lines, loc="upper right", fontsize=8, framealpha=0.8, edgecolor="none")


def draw_scores(records: Sequence[dict], axes: Any) -> None:
    """Draws pixel accuracy and mean IoU into matplotlib's axes, and marks the best mean IoU.

    For one logit it is the foreground's IoU.
    """
    axes.set(title="validation", xlabel="step", ylim=(0, 1.05))
    done = _column(records, "eval", "step")
    if not len(done):
        _say(axes, "no evaluation yet")
        return
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    binary = any("iou" in record for record in records if record["kind"] == "eval")
    key, word = ("iou", "foreground IoU") if binary else ("mean_iou", "mean IoU")
    iou, accuracy = (_column(records, "eval", name) for name in (key, "pixel_accuracy"))
    points = {"marker": "o", "markersize": 3.5, "clip_on": False}
    axes.plot(done, accuracy, color=SECOND, label="pixel accuracy", **points)
    axes.plot(done, iou, color=ACCENT, label=word, **points)
    if np.isfinite(iou).any():
        best = int(np.nanargmax(iou))
        label = f"best {word}: {iou[best]:.1%} after {done[best]:.0f} steps"
        ring = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "linestyle": "none"}
        axes.plot(done[best], iou[best], color=ACCENT, label=label, clip_on=False, **ring)
    axes.legend(loc="best", fontsize=8, framealpha=0.8, edgecolor="none")


def _say(axes: Any, text: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, color=INK, ha="center", va="center", transform=axes.transAxes)


def thin_out(values: np.ndarray) -> np.ndarray:
    """Chooses indices to draw: the smallest and largest value of each stretch, so that no peak is lost."""
    if len(values) <= MOST_POINTS:
        return np.arange(len(values))
    known = np.isfinite(values)
    stretches = np.array_split(np.arange(len(values)), MOST_POINTS // 2 - 1)
    chosen = [0, len(values) - 1]
    for stretch in stretches:
        chosen.append(stretch[np.where(known[stretch], values[stretch], np.inf).argmin()])
        chosen.append(stretch[np.where(known[stretch], values[stretch], -np.inf).argmax()])
    return np.unique(chosen)


def _column(records: Sequence[dict], kind: str, name: str) -> np.ndarray:
    values = [record.get(name) for record in records if record["kind"] == kind]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Returns a moving mean over the last 2 % of the values, but at least five, without NaNs."""
    window = max(5, len(values) // 50)
    known = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0], np.where(known, values, 0)]))
    counts = np.cumsum(np.concatenate([[0], known]))
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - window)
    count = counts[ends] - counts[begins]
    means = np.divide(sums[ends] - sums[begins], count, out=np.full(len(values), np.nan), where=count > 0)
    return means
