"""From logits at the model's size to labels at the picture's own size, a band of rows at a time.

Logits of a 10,000 x 10,000 picture with 21 classes would fill 8 GiB; a band of them fills a fixed 64 MiB.
They are resized before softmax and argmax, as by torch's `interpolate(logits, size=..., mode="bilinear")`:
half-pixel centres, no antialiasing.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.upsampling import bilinear_taps

BAND_VALUES = 2**24
"""How many logits a band may hold at the picture's own size, unless a single row holds more."""


def finish(logits: jax.Array, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Enlarges or reduces logits to `size` and decides.

    Args:
      logits: (h, w, C) float32.
      size: (H, W) of the picture.

    Returns:
      labels: (H, W) uint8, the class of the largest logit, the first one where several are equal;
      confidence: (H, W) float32, its softmax probability.

    Raises:
      ValueError: C exceeds 256, more than uint8 can number.
    """
    if logits.shape[-1] > 256:
        raise ValueError(f"expected at most 256 classes, as labels are uint8, got logits {logits.shape}")
    labels, confidence = np.empty(size, np.uint8), np.empty(size, np.float32)
    for band, values in _bands(_decide, logits, size):
        labels[band], confidence[band] = values
    return labels, confidence


def probability(logits: jax.Array, index: int, size: tuple[int, int]) -> np.ndarray:
    """Gives one class's softmax probability at `size`.

    Args:
      logits: (h, w, C) float32.
      index: the class, in [0, C).
      size: (H, W) of the picture.

    Returns:
      (H, W) float32 in [0, 1].
    """
    result = np.empty(size, np.float32)
    for band, values in _bands(_probability, logits, size, np.int32(index)):
        result[band] = values
    return result


def _bands(decide, logits, size, *arguments) -> Iterator[tuple[slice, object]]:
    """Calls the jitted `decide` for one band of rows after another.

    All bands have one height, so that one compilation serves them all: the last is moved up until it fits,
    and some rows are computed twice.
    """
    height, width = size
    logits = jnp.asarray(logits)
    rows, columns = (
        (low, high, weight.astype(np.float32))
        for low, high, weight in map(bilinear_taps, logits.shape[:2], size)
    )
    band_height = min(height, max(1, BAND_VALUES // (width * logits.shape[2])))
    for start in range(0, height, band_height):
        start = min(start, height - band_height)
        band = slice(start, start + band_height)
        yield band, jax.device_get(decide(logits, tuple(tap[band] for tap in rows), columns, *arguments))


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


@jax.jit
def _probability(logits, rows, columns, index):
    return jax.nn.softmax(_resize(logits, rows, columns), axis=1)[:, index].T
