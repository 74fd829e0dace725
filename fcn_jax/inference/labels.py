"""From coarse logits to labels, one part of a picture at a time.

Logits of a 10,000 x 10,000 picture with 21 classes would fill 8 GiB. `compute_labels` computes labels at the
size of the images, inside one compiled function, a band of rows at a time. `find_labels` computes them at the
size of the picture, in blocks: it resizes logits before softmax and argmax, like torch's
`interpolate(logits, size=..., mode="bilinear")`, and averages the softmax probabilities of several views. One
logit tells foreground from background: its sigmoid is the foreground's probability, and label 1 needs a
threshold of it. All blocks have one shape and take their place in the picture as data, so pictures of all
sizes share a program.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.errors import ArrayError
from fcn_jax.models.upsampling import Lines, Upsampler

BAND_VALUES = 2**24
"""Largest number of logits in a band, 64 MiB; a band has at least one row."""
BLOCK = 256
"""Rows and columns of a block: 5.5 MB of logits for 21 classes, near the size of a CPU's caches."""
SPAN = 64
"""Blocks reach over a multiple of this many lines of logits, so that few programs serve all scales."""
MAX_CLASSES = 256
"""Labels are uint8."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """Coarse logits of a picture at one scale, or of its mirror image, and their upsampler. Immutable.

    Attributes:
      coarse: coarse logits of one image: a pytree whose first array is (1, h, w, C). They lie in the upper
        left corner; the rest is undefined.
      upsampler: computes logits from `coarse`.
      size: (H, W) of the logits.
      mirrored: whether the model saw the mirror image.
      transposed: whether the model saw the picture with rows and columns swapped, after mirroring.
    """

    coarse: Any
    upsampler: Upsampler
    size: tuple[int, int]
    mirrored: bool = False
    transposed: bool = False

    @property
    def num_classes(self) -> int:
        """The number of logits, C; 1 tells foreground from background."""
        return jax.tree.leaves(self.coarse)[0].shape[-1]

    def logits(self) -> np.ndarray:
        """Computes all logits, (H, W, C) float32, mirrored back."""
        logits = np.empty((*self.size, self.num_classes), np.float32)
        _fill([logits], [self], self.size, _resized_logits)
        return logits


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


def logit_of(threshold: float) -> float:
    """Returns the logit whose sigmoid is the threshold."""
    return math.log(threshold / (1 - threshold))


def compute_labels(
    upsampler: Upsampler,
    coarse: Any,
    images: tuple[int, int],
    sizes: jax.Array | None = None,
    threshold: float = 0.5,
) -> jax.Array:
    """Computes labels at the size of the logits, inside a jitted function.

    Args:
      upsampler: of the model that computed `coarse`.
      coarse: a pytree whose first array is (N, h, w, C). In an export N is symbolic, and a band is sized for
        one image.
      images: size (H, W) of the images.
      sizes: (N, 2) int32, the size of each image in a buffer of size `images`, or None.
      threshold: of the foreground's probability, for one logit.

    Returns:
      (N, H, W) uint8, the first class with the largest logit; for one logit 1 from the threshold on, else 0;
      undefined outside of `sizes`.

    Raises:
      ArrayError: C exceeds 256.
    """
    array, *_ = jax.tree.leaves(coarse)
    size = upsampler.size(coarse, images)
    check_num_classes(array.shape[-1])
    batch = array.shape[0] if isinstance(array.shape[0], int) else 1
    count, starts = bands(size, array.shape[-1], batch)

    def band_labels(start: jax.Array | int) -> jax.Array:
        logits = upsampler.rows(coarse, size, start, count, sizes)
        if logits.shape[-1] == 1:
            return (logits[..., 0] >= logit_of(threshold)).astype(jnp.uint8)
        return first_largest(logits, -1)[0]

    if count == size[0]:
        return band_labels(0)
    labels = jax.lax.map(band_labels, jnp.asarray(starts))  # (bands, N, count, W)
    but_last = jnp.moveaxis(labels[:-1], 0, 1).reshape(array.shape[0], -1, size[1])
    repeated = but_last.shape[1] - starts[-1]
    return jnp.concatenate([but_last, labels[-1][:, repeated:]], axis=1)


def find_labels(
    views: Sequence[View], size: tuple[int, int], threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Resizes logits to `size` and finds the class of every pixel.

    Args:
      views: one or more views of one picture, all with C classes.
      size: (H, W) of the picture.
      threshold: of the foreground's probability, for one logit.

    Returns:
      labels: (H, W) uint8, the first class with the largest logit; for several views, with the largest mean
        probability; for one logit 1 where the (mean) probability reaches the threshold, else 0;
      confidence: (H, W) float32, the softmax probability of that class; for one logit the sigmoid of the
        foreground's, or 1 minus it.

    Raises:
      ArrayError: C exceeds 256.
    """
    check_num_classes(views[0].num_classes)
    labels, confidence = np.empty(size, np.uint8), np.empty(size, np.float32)
    decide = _decide
    if views[0].num_classes == 1:
        decide = functools.partial(_decide_binary, np.float32(threshold))
    _fill([labels, confidence], views, size, decide)
    return labels, confidence


def find_probability(views: Sequence[View], index: int, size: tuple[int, int]) -> np.ndarray:
    """Computes the probability of one class at `size`.

    Args:
      views: as for `find_labels`.
      index: the class, in [0, C); for one logit 0 is the background and 1 the foreground.
      size: (H, W) of the picture.

    Returns:
      (H, W) float32 in [0, 1].
    """
    result = np.empty(size, np.float32)
    _fill([result], views, size, functools.partial(_probability, np.int32(index)))
    return result


Part = tuple[Any, Upsampler, Lines, Lines]
"""A view's coarse logits, its upsampler, and the rows and columns of a block."""
Spans = tuple[tuple[int, int], ...]
"""For each view, how many rows and columns of the logits a block reaches over."""


def _fill(
    results: list[np.ndarray],
    views: Sequence[View],
    size: tuple[int, int],
    compute: Callable[[list[Part], Spans], Any],
) -> None:
    """Computes values at the size of a picture, block by block, into arrays (H, W, ...)."""
    if views[0].transposed:  # then the blocks are those of the transposed picture
        results = [result.swapaxes(0, 1) for result in results]
        size = size[1], size[0]
    for rows, row_of_blocks in _blocks(views, size):
        computed = [(columns, compute(parts, spans)) for columns, parts, spans in row_of_blocks]
        for columns, values in computed:
            for result, block in zip(results, jax.tree.leaves(values), strict=True):
                part = result[rows, columns]
                part[...] = np.asarray(block).swapaxes(0, 1)[: part.shape[0], : part.shape[1]]


def _blocks(
    views: Sequence[View], size: tuple[int, int]
) -> Iterator[tuple[slice, list[tuple[slice, list[Part], Spans]]]]:
    """Yields rows of blocks: the rows, and for each block the columns and what it is computed from."""
    axes = [[_lines(view, axis, size[axis]) for axis in (0, 1)] for view in views]
    spans = tuple((_span(rows), _span(columns)) for rows, columns in axes)
    for top in range(0, size[0], BLOCK):
        blocks = []
        for left in range(0, size[1], BLOCK):
            parts = [
                (view.coarse, view.upsampler, _part(rows, top), _part(columns, left))
                for view, (rows, columns) in zip(views, axes, strict=True)
            ]
            blocks.append((slice(left, left + BLOCK), parts, spans))
        yield slice(top, top + BLOCK), blocks


def _lines(view: View, axis: int, target: int) -> Lines:
    """Returns the lines of a view along an axis of its coarse logits, mirrored back."""
    size = view.size[::-1] if view.transposed else view.size
    lines = view.upsampler.lines(size[axis], target)
    if view.mirrored and axis == (0 if view.transposed else 1):
        lines = Lines(lines.index[:, ::-1], lines.weight[:, ::-1])
    return lines


def _part(lines: Lines, start: int) -> Lines:
    """Returns the lines of a block; beyond the end the last line is repeated."""
    places = np.minimum(np.arange(start, start + BLOCK), lines.index.shape[1] - 1)
    return Lines(lines.index[:, places], lines.weight[:, places])


def _span(lines: Lines) -> int:
    """Returns how many lines of the logits a block reaches over at most, rounded up."""
    starts = range(0, lines.index.shape[1], BLOCK)
    longest = max(int(np.ptp(lines.index[:, start : start + BLOCK])) + 1 for start in starts)
    return -(-longest // SPAN) * SPAN


@functools.partial(jax.jit, static_argnums=1)
def _resized_logits(parts: list[Part], spans: Spans) -> jax.Array:
    (values,) = _resized(parts, spans)
    return values.swapaxes(1, 2).astype(jnp.float32)


@functools.partial(jax.jit, static_argnums=1)
def _decide(parts: list[Part], spans: Spans) -> tuple[jax.Array, jax.Array]:
    if len(parts) > 1:
        return first_largest(_average(parts, spans), 1)
    (logits,) = _resized(parts, spans)
    labels, largest = first_largest(logits, 1)
    return labels, 1 / jnp.exp(logits - largest[:, None]).sum(1)


@functools.partial(jax.jit, static_argnums=2)
def _decide_binary(threshold: jax.Array, parts: list[Part], spans: Spans) -> tuple[jax.Array, jax.Array]:
    # Both from logits: 1 - sigmoid(z) would lose the small probabilities.
    background, foreground = jnp.moveaxis(_average(parts, spans), 1, 0)
    labels = foreground >= threshold
    return labels.astype(jnp.uint8), jnp.where(labels, foreground, background)


@functools.partial(jax.jit, static_argnums=2)
def _probability(index: jax.Array, parts: list[Part], spans: Spans) -> jax.Array:
    return _average(parts, spans)[:, index]


def _average(parts: list[Part], spans: Spans) -> jax.Array:
    """Computes the mean probability of each label over the views, (K, labels, R)."""
    probabilities = map(_probabilities, _resized(parts, spans))
    return functools.reduce(jnp.add, probabilities) / len(parts)


def _probabilities(logits: jax.Array) -> jax.Array:
    if logits.shape[1] == 1:
        return jax.nn.sigmoid(jnp.concatenate([-logits, logits], 1))
    return jax.nn.softmax(logits, axis=1)


def _resized(parts: list[Part], spans: Spans) -> Iterator[jax.Array]:
    """Computes (K, C, R) for each view."""
    for (coarse, upsampler, rows, columns), span in zip(parts, spans, strict=True):
        yield upsampler.block(coarse, rows, columns, span)
