"""From logits at the model's size to labels at the picture's own size, a band of rows at a time.

Logits of a 10,000 x 10,000 picture with 21 classes would fill 8 GiB; a band of them fills a fixed 64 MiB.
They are resized before softmax and argmax, as by torch's `interpolate(logits, size=..., mode="bilinear")`:
half-pixel centres, no antialiasing. Of several views of a picture the softmax probabilities are averaged.
"""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.inference.views import View
from fcn_jax.models.upsampling import bilinear_taps

BAND_VALUES = 2**24
"""How many logits a band may hold at the picture's own size, unless a single row holds more."""

Taps = tuple[np.ndarray, np.ndarray, np.ndarray]


def finish(views: Sequence[View], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Enlarges or reduces logits to `size` and decides.

    Args:
      views: of one picture, at least one, all of C classes.
      size: (H, W) of the picture.

    Returns:
      labels: (H, W) uint8, the class of the largest logit, or the most probable class of several views; the
        first one where several are equal;
      confidence: (H, W) float32, its softmax probability.

    Raises:
      ValueError: C exceeds 256, more than uint8 can number.
    """
    if views[0].classes > 256:
        raise ValueError(f"expected at most 256 classes, as labels are uint8, got {views[0].classes}")
    labels, confidence = np.empty(size, np.uint8), np.empty(size, np.float32)
    for band, parts in _bands(views, size):
        values = _decide(*parts[0]) if len(parts) == 1 else _decide_on_average(parts)
        labels[band], confidence[band] = jax.device_get(values)
    return labels, confidence


def probability(views: Sequence[View], index: int, size: tuple[int, int]) -> np.ndarray:
    """Gives one class's softmax probability at `size`.

    Args:
      views: as for `finish`.
      index: the class, in [0, C).
      size: (H, W) of the picture.

    Returns:
      (H, W) float32 in [0, 1].
    """
    result = np.empty(size, np.float32)
    for band, parts in _bands(views, size):
        result[band] = _probability(parts, np.int32(index))
    return result


def _bands(views: Sequence[View], size) -> Iterator[tuple[slice, list[tuple[jax.Array, Taps, Taps]]]]:
    """Gives one band of rows after another: of each view some logits, and how rows and columns mix them.

    All bands have one height, so that one compilation serves them all: the last is moved up until it fits,
    and some rows are computed twice.
    """
    height, width = size
    band_height = min(height, max(1, BAND_VALUES // (width * views[0].classes)))
    starts = [min(start, height - band_height) for start in range(0, height, band_height)]
    plans = []
    for view in views:
        rows, columns = (
            (low, high, weight.astype(np.float32))
            for low, high, weight in map(bilinear_taps, view.size, size)
        )
        # Column x of the picture lies where its mirror image has column width - 1 - x.
        columns = tuple(tap[::-1] for tap in columns) if view.mirrored else columns
        low, high, _ = rows
        reading = max(int(high[start + band_height - 1] - low[start]) + 1 for start in starts)
        plans.append((view, rows, columns, reading))
    for start in starts:
        band = slice(start, start + band_height)
        parts = []
        for view, (low, high, weight), columns, reading in plans:
            first = min(int(low[start]), view.size[0] - reading)
            parts.append(
                (view.rows(first, reading), (low[band] - first, high[band] - first, weight[band]), columns)
            )
        yield band, parts


def _resize(logits, rows, columns):
    """(h, w, C) to (W, C, H): mixes two rows, then two columns, for each output point.

    Transposed, so that columns are gathered as whole blocks and softmax runs along vectors of rows: on a CPU
    four times faster than with the classes last.
    """
    low, high, weight = rows
    weight = weight[:, None, None]
    logits = logits[low] * (1 - weight) + logits[high] * weight
    logits = logits.transpose(1, 2, 0)
    low, high, weight = columns
    weight = weight[:, None, None]
    return logits[low] * (1 - weight) + logits[high] * weight


@jax.jit
def _decide(logits, rows, columns):
    logits = _resize(logits, rows, columns)
    largest = logits.max(1, keepdims=True)
    classes = jnp.arange(logits.shape[1])[:, None]
    labels = jnp.where(logits == largest, classes, 255).min(1)  # argmax, but quick on a CPU
    confidence = 1 / jnp.exp(logits - largest).sum(1)
    return labels.astype(jnp.uint8).T, confidence.T


def _average(parts):
    return sum(jax.nn.softmax(_resize(*part), axis=1) for part in parts) / len(parts)


@jax.jit
def _decide_on_average(parts):
    probabilities = _average(parts)
    return probabilities.argmax(1).astype(jnp.uint8).T, probabilities.max(1).T


@jax.jit
def _probability(parts, index):
    return _average(parts)[:, index].T
