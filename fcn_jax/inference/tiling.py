"""Pictures of any size, tile by tile, with the result of the whole: exact, not blended.

A tile is cut out with as much of its surroundings as its scores depend on, its corner where the network's
strides begin anew, and the network's own zero padding acts at the true borders only: what it does at the
others reaches no score that is kept. All tiles of a picture have one shape, so one compilation serves them.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fcn_jax.inference.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Cut:
    """One tile along one axis.

    Attributes:
      start: first pixel of what the network sees.
      first: the first score that is kept, counted from the image's first.
      kept: how many are.
      skipped: how many come before it in what the network gives.
    """

    start: int
    first: int
    kept: int
    skipped: int


def cut_axis(
    length: int, scores: int, tile: int, field: ReceptiveField, halo: int | None = None
) -> tuple[int, list[Cut]]:
    """Cuts an axis into tiles.

    Args:
      length: of the image, in pixels.
      scores: how many the network gives for it.
      tile: pixels that one tile is to answer for; rounded up to the alignment.
      field: what a score depends on.
      halo: pixels of surroundings to see, if fewer than that.

    Returns:
      How many pixels of the axis the network sees at once; and the tiles, whose scores follow one another.
    """
    align = field.alignment
    tile, low, high = _tile_and_reach(tile, field, halo)
    per_tile = tile // field.stride
    seen = tile - field.stride + high - low + 1 + align - 1  # the corner moves back by up to align - 1
    seen += (length - seen) % align  # so that a tile that ends with the image begins aligned
    if seen >= length:
        return length, [Cut(0, 0, scores, 0)]
    cuts = []
    for first in range(0, scores, per_tile):
        start = (field.stride * first + low) // align * align
        start = min(max(start, 0), length - seen)
        cuts.append(Cut(start, first, min(per_tile, scores - first), first - start // field.stride))
    return seen, cuts


def pixels_seen(tile: int, field: ReceptiveField, halo: int | None = None) -> int:
    """Tells how many pixels a side the network sees at most for a tile."""
    tile, low, high = _tile_and_reach(tile, field, halo)
    return tile - field.stride + high - low + 1 + 2 * (field.alignment - 1)


def _tile_and_reach(tile: int, field: ReceptiveField, halo: int | None) -> tuple[int, int, int]:
    low, high = field.low, field.high
    if halo is not None:
        centre = (low + high - field.stride + 1) // 2  # where the pixels of a score's own begin
        low, high = max(low, centre - halo), min(high, centre + field.stride - 1 + halo)
    return -(-tile // field.alignment) * field.alignment, low, high


def tiled_scores(
    compute: Callable[[np.ndarray], Any],
    read: Callable[[slice, slice], np.ndarray],
    size: tuple[int, int],
    shape: Any,
    tile: int,
    field: ReceptiveField,
    *,
    halo: int | None = None,
    seen: Callable[[int, int], None] = lambda done, total: None,
) -> Any:
    """Computes the scores of an image, a tile at a time.

    Args:
      compute: from (1, h, w, 3) to scores.
      read: gives the rows and columns of the image that the network is to see, (h, w, 3).
      size: (H, W) of the image.
      shape: of the whole image's scores, as of `jax.eval_shape`.
      tile: side of a tile in pixels.
      field: what a score depends on.
      halo: see `cut_axis`; the result is then an approximation.
      seen: told after each tile, with how many there are.

    Returns:
      The scores, as NumPy arrays.
    """
    leaves, structure = jax.tree.flatten(shape)
    (whole,) = leaves
    result = np.empty(whole.shape, whole.dtype)
    height, rows = cut_axis(size[0], whole.shape[1], tile, field, halo)
    width, columns = cut_axis(size[1], whole.shape[2], tile, field, halo)
    tiles = list(itertools.product(rows, columns))
    for number, (row, column) in enumerate(tiles, 1):
        image = read(slice(row.start, row.start + height), slice(column.start, column.start + width))
        (values,) = jax.tree.leaves(compute(image[None]))
        result[:, _kept(row), _kept(column)] = np.asarray(values)[:, _skipped(row), _skipped(column)]
        seen(number, len(tiles))
    return jax.tree.unflatten(structure, [result])


def _kept(cut: Cut) -> slice:
    return slice(cut.first, cut.first + cut.kept)


def _skipped(cut: Cut) -> slice:
    return slice(cut.skipped, cut.skipped + cut.kept)
