"""A run's curves as a picture: loss, learning rate, scores. Drawn by matplotlib, of the extra `train`."""

import os
from collections.abc import Sequence

import numpy as np

from weights_converter.files import replacing

MOST_POINTS = 2000
INK, PALE, ACCENT, SECOND = "#28282c", "#b8c4d8", "#2c5fa8", "#c8702c"


def draw_curves(records: Sequence[dict], path: str | os.PathLike) -> None:
    """Draws the records of a run as PNG, whole or not at all.

    Args:
      records: what `read_records` gives; any number of them.
      path: the file to write.

    Raises:
      ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("curves need matplotlib: pip install 'fcn_jax[train]'") from error

    steps, losses, rates = (_column(records, "train", name) for name in ("step", "loss", "lr"))
    figure = Figure(figsize=(11, 3.6), dpi=100, layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    thin = slice(None, None, max(1, -(-len(steps) // MOST_POINTS)))
    loss_axes.plot(steps[thin], losses[thin], color=PALE, linewidth=0.8)
    loss_axes.plot(steps[thin], _smooth(losses)[thin], color=ACCENT, linewidth=1.8, label="loss, smoothed")
    loss_axes.set(title="training loss", xlabel="step")
    positive = losses[np.isfinite(losses)]
    if positive.size and positive.max() > 20 * positive.min() > 0:
        loss_axes.set_yscale("log")
    rate_axes = loss_axes.twinx()
    rate_axes.plot(steps[thin], rates[thin], color=SECOND, linewidth=1, linestyle="--", label="learning rate")
    rate_axes.tick_params(colors=SECOND, labelsize=8)
    rate_axes.set_ylabel("learning rate", color=SECOND)

    done = _column(records, "eval", "step")
    for name, label, colour in (
        ("mean_iou", "mean IoU", ACCENT),
        ("pixel_accuracy", "pixel accuracy", SECOND),
    ):
        values = _column(records, "eval", name)
        score_axes.plot(done, values, color=colour, marker="o", markersize=3.5, label=label)
        if name == "mean_iou" and np.isfinite(values).any():
            best = int(np.nanargmax(values))
            score_axes.annotate(
                f"{values[best]:.1%}",
                (done[best], values[best]),
                xytext=(0, -16),
                textcoords="offset points",
                ha="center",
                color=colour,
            )
    score_axes.set(title="validation", xlabel="step", ylim=(0, 1.05))
    score_axes.legend(frameon=False, loc="best")
    for axes in (loss_axes, score_axes):
        axes.grid(color="#e6e6ea", linewidth=0.7)
        axes.tick_params(colors=INK, labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _column(records: Sequence[dict], kind: str, name: str) -> np.ndarray:
    values = [record.get(name) for record in records if record["kind"] == kind]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _smooth(values: np.ndarray) -> np.ndarray:
    """A moving mean over the last 2 % of the values, nan left out."""
    window = max(1, len(values) // 50)
    known = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0], np.where(known, values, 0)]))
    counts = np.cumsum(np.concatenate([[0], known]))
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - window)
    count = counts[ends] - counts[begins]
    means = np.divide(sums[ends] - sums[begins], count, out=np.full(len(values), np.nan), where=count > 0)
    return means
