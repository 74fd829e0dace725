"""Computes a picture in windows that overlap, and averages their logits: mmsegmentation's "slide" test.

Unlike tiles (see `tiling`), windows change the result: a window does not see what lies around it. Networks
that were trained on crops of its size were published with scores from it.

Source: `EncoderDecoder.slide_inference` of mmsegmentation.
"""

import itertools
from collections.abc import Callable

import numpy as np

from fcn_jax.meta import Window


def starts(length: int, crop: int, stride: int) -> list[int]:
    """Returns where windows start along an axis. The last one is moved back until it ends with the picture.

    A picture shorter than the window has one window of its own length.
    """
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(number * stride, length - crop), 0) for number in range(count)]


def average_windows(
    compute: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    window: Window,
    sides: tuple[int, int],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Averages the logits of all windows at each pixel.

    Args:
      compute: maps a part of the image (h, w, C_in) to its logits (h, w, C) float32.
      image: (H, W, C_in).
      window: its size and its steps.
      sides: of the result, at least (H, W).
      on_progress: called after each window as on_progress(windows done, windows in total).

    Returns:
      (*sides, C) float32: the logits in the upper left corner, zeros in the rest.
    """
    height, width = window.crop
    total, counts = np.zeros((*sides, 0), np.float32), np.zeros((*sides, 1), np.float32)
    places = list(itertools.product(*map(starts, image.shape[:2], window.crop, window.stride)))
    for number, (row, column) in enumerate(places, 1):
        part = image[row : row + height, column : column + width]
        logits = compute(part)
        if number == 1:
            total = np.zeros((*sides, logits.shape[-1]), np.float32)
        seen = slice(row, row + part.shape[0]), slice(column, column + part.shape[1])
        total[seen] += logits
        counts[seen] += 1
        on_progress(number, len(places))
    return np.divide(total, counts, out=total, where=counts > 0)
