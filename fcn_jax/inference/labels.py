"""From coarse logits to labels, one band of rows at a time.

Logits of a 10,000 x 10,000 picture with 21 classes would fill 8 GiB; a band of them fills 64 MiB.
`compute_labels` computes labels at the size of the images, inside one compiled function. `find_labels`
computes them at the size of the picture: it resizes logits before softmax and argmax, like torch's
`interpolate(logits, size=..., mode="bilinear")`, and averages the softmax probabilities of several views.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.errors import ArrayError
from fcn_jax.models.upsampling import Taps, Upsampler, bilinear_taps, resize_transposed

BAND_VALUES = 2**24
"""Largest number of logits in a band, 64 MiB; a band has at least one row."""
MAX_CLASSES = 256
"""Labels are uint8."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """Coarse logits of a picture at one scale, or of its mirror image, and their upsampler. Immutable.

    Attributes:
      coarse: coarse logits of one image: a pytree of one array (1, h, w, C).
      upsampler: computes logits from `coarse`.
      size: (H, W) of the logits.
      mirrored: whether the model saw the mirror image.
    """

    coarse: Any
    upsampler: Upsampler
    size: tuple[int, int]
    mirrored: bool = False

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return _num_classes(self.coarse)

    def rows(self, start: int, count: int) -> jax.Array:
        """Computes rows start .. start + count - 1 of the logits, (count, W, C), not mirrored back."""
        return _rows(self.upsampler, self.coarse, self.size, np.int32(start), count)

    def logits(self) -> np.ndarray:
        """Computes all logits, (H, W, C) float32, mirrored back."""
        logits = np.asarray(self.rows(0, self.size[0]))
        return logits[:, ::-1] if self.mirrored else logits


@functools.partial(jax.jit, static_argnums=(2, 4))
def _rows(upsampler: Upsampler, coarse: Any, size: tuple[int, int], start: jax.Array, count: int):
    """Module level, so that models and segmenters with coarse logits of one shape share one compilation."""
    return upsampler.rows(coarse, size, start, count)[0].astype(jnp.float32)


def check_num_classes(num_classes: int) -> None:
    """Raises ArrayError for more classes than uint8 labels can hold."""
    if num_classes > MAX_CLASSES:
        raise ArrayError(
            subject="num_classes",
            expected=f"at most {MAX_CLASSES} classes, because labels are uint8",
            got=str(num_classes),
        )


def bands(size: tuple[int, int], num_classes: int, images: int = 1) -> tuple[int, list[int]]:
    """Divides the rows of logits into bands.

    All bands have the same height, so that they share one compilation. The last band is moved up until it
    fits, so some rows are computed twice.

    Args:
      size: (H, W) of the logits.
      num_classes: C.
      images: number of images that share a band.

    Returns:
      The number of rows in a band, and the first row of each band.
    """
    height, width = size
    count = min(height, max(1, BAND_VALUES // (images * width * num_classes)))
    return count, [min(start, height - count) for start in range(0, height, count)]


def first_largest(values: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Finds the first class with the largest value.

    It compares class after class, which XLA's CPU compiler turns into one loop over pixels. That takes half
    the time of a maximum with a search, and less than `argmax`. The loop can also compute the values, so that
    they are never stored.

    Returns:
      (index of the class, uint8; largest value), both without the axis.
    """
    classes = [jax.lax.index_in_dim(values, index, axis, False) for index in range(values.shape[axis])]
    best, labels = classes[0], jnp.zeros(classes[0].shape, jnp.uint8)
    for index, value in enumerate(classes[1:], 1):
        labels = jnp.where(value > best, jnp.uint8(index), labels)
        best = jnp.maximum(value, best)
    return labels, best


def compute_labels(upsampler: Upsampler, coarse: Any, images: tuple[int, int]) -> jax.Array:
    """Computes labels at the size of the logits, inside a jitted function.

    Args:
      upsampler: of the model that computed `coarse`.
      coarse: a pytree of one array (N, h, w, C). In an export N is symbolic, and a band is sized for one
        image.
      images: size (H, W) of the images.

    Returns:
      (N, H, W) uint8, the first class with the largest logit.

    Raises:
      ArrayError: C exceeds 256.
    """
    (array,) = jax.tree.leaves(coarse)
    size = upsampler.size(coarse, images)
    check_num_classes(array.shape[-1])
    batch = array.shape[0] if isinstance(array.shape[0], int) else 1
    count, starts = bands(size, array.shape[-1], batch)

    def band_labels(start: jax.Array | int) -> jax.Array:
        return first_largest(upsampler.rows(coarse, size, start, count), -1)[0]

    if count == size[0]:
        return band_labels(0)
    labels = jax.lax.map(band_labels, jnp.asarray(starts))  # (bands, N, count, W)
    but_last = jnp.moveaxis(labels[:-1], 0, 1).reshape(array.shape[0], -1, size[1])
    repeated = but_last.shape[1] - starts[-1]
    return jnp.concatenate([but_last, labels[-1][:, repeated:]], axis=1)


def find_labels(views: Sequence[View], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resizes logits to `size` and finds the class of every pixel.

    Args:
      views: one or more views of one picture, all with C classes.
      size: (H, W) of the picture.

    Returns:
      labels: (H, W) uint8, the first class with the largest logit; for several views, with the largest mean
        probability;
      confidence: (H, W) float32, the softmax probability of that class.

    Raises:
      ArrayError: C exceeds 256.
    """
    check_num_classes(views[0].num_classes)
    labels, confidence = np.empty(size, np.uint8), np.empty(size, np.float32)
    for band, parts in _bands(views, size):
        values = _decide(*parts[0]) if len(parts) == 1 else _decide_on_average(parts)
        labels[band], confidence[band] = jax.device_get(values)
    return labels, confidence


def find_probability(views: Sequence[View], index: int, size: tuple[int, int]) -> np.ndarray:
    """Computes the softmax probability of one class at `size`.

    Args:
      views: as for `find_labels`.
      index: the class, in [0, C).
      size: (H, W) of the picture.

    Returns:
      (H, W) float32 in [0, 1].
    """
    result = np.empty(size, np.float32)
    for band, parts in _bands(views, size):
        result[band] = _probability(parts, np.int32(index))
    return result


Part = tuple[jax.Array, Taps, Taps]
"""Some rows of a view's logits, and the taps that make rows and columns of a band from them."""


def _bands(views: Sequence[View], size: tuple[int, int]) -> Iterator[tuple[slice, list[Part]]]:
    """Yields each band of rows with the part of each view that it is made from."""
    count, starts = bands(size, views[0].num_classes)
    plans = []
    for view in views:
        rows, columns = (
            (low, high, weight.astype(np.float32))
            for low, high, weight in map(bilinear_taps, view.size, size)
        )
        if view.mirrored:  # column x of the picture is column width - 1 - x of its mirror image
            low, high, weight = columns
            columns = low[::-1], high[::-1], weight[::-1]
        low, high, _ = rows
        rows_needed = max(int(high[start + count - 1] - low[start]) + 1 for start in starts)
        plans.append((view, rows, columns, rows_needed))
    for start in starts:
        band = slice(start, start + count)
        parts = []
        for view, (low, high, weight), columns, rows_needed in plans:
            first = min(int(low[start]), view.size[0] - rows_needed)
            taps = low[band] - first, high[band] - first, weight[band]
            parts.append((view.rows(first, rows_needed), taps, columns))
        yield band, parts


@jax.jit
def _decide(logits: jax.Array, rows: Taps, columns: Taps) -> tuple[jax.Array, jax.Array]:
    logits = resize_transposed(logits, rows, columns)
    labels, largest = first_largest(logits, 1)
    confidence = 1 / jnp.exp(logits - largest[:, None]).sum(1)
    return labels.T, confidence.T


@jax.jit
def _decide_on_average(parts: list[Part]) -> tuple[jax.Array, jax.Array]:
    labels, largest = first_largest(_average(parts), 1)
    return labels.T, largest.T


@jax.jit
def _probability(parts: list[Part], index: jax.Array) -> jax.Array:
    return _average(parts)[:, index].T


def _average(parts: list[Part]) -> jax.Array:
    probabilities = (jax.nn.softmax(resize_transposed(*part), axis=1) for part in parts)
    return functools.reduce(jnp.add, probabilities) / len(parts)


def _num_classes(coarse: Any) -> int:
    (array,) = jax.tree.leaves(coarse)
    return array.shape[-1]
