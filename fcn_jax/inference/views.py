"""One look at a picture: what the model gave for it, and the way from there to logits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


class View:
    """Logits of a picture, or of its mirror image, a few rows at a time.

    Args:
      size: (h, w) of the logits.
      rows: from start and count to rows start .. start + count - 1, (count, w, C) float32.
      classes: C.
      mirrored: whether it is the mirror image that was looked at.
    """

    def __init__(
        self,
        size: tuple[int, int],
        classes: int,
        rows: Callable[[int, int], jax.Array],
        *,
        mirrored: bool = False,
    ):
        self.size, self.classes, self.rows, self.mirrored = size, classes, rows, mirrored

    @staticmethod
    def of_logits(logits: np.ndarray | jax.Array) -> "View":
        """Makes a view of all the logits, (h, w, C)."""
        logits = jnp.asarray(logits)
        return View(logits.shape[:2], logits.shape[2], lambda start, count: logits[start : start + count])

    def logits(self) -> np.ndarray:
        """Computes all the logits, (h, w, C) float32, mirrored back."""
        logits = np.asarray(self.rows(0, self.size[0]))
        return logits[:, ::-1] if self.mirrored else logits
