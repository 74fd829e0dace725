"""Pictures of any size, tile by tile, with the result of the whole: exact, not blended.

A tile is cut out together with all of its surroundings that its coarse logits depend on. Its corner lies
where the network's strides begin anew. The network pads each tile with zeros: at the borders of the picture
that is right, and elsewhere the padding reaches no coarse logits that are kept. All tiles of a picture have
one shape, so one compilation serves them.
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
      first: the first row of coarse logits that is kept, counted from the image's first.
      kept: how many rows are kept.
      skipped: how many rows come before it in what the network gives.
    """

    start: int
    first: int
    kept: int
    skipped: int


def cut_axis(
    length: int, coarse: int, tile: int, field: ReceptiveField, halo: int | None = None
) -> tuple[int, list[Cut]]:
    """Cuts an axis into tiles.

    Args:
      length: of the image, in pixels.
      coarse: how many rows of coarse logits the network gives for it.
      tile: pixels that one tile is to answer for; rounded up to the alignment.
      field: what the coarse logits depend on.
      halo: pixels of surroundings to see, if fewer than that.

    Returns:
      How many pixels of the axis the network sees at once; and the tiles, in order.
    """
    align = field.alignment
    tile, low, high = _tile_and_reach(tile, field, halo)
    per_tile = tile // field.stride
    seen = tile - field.stride + high - low + 1 + align - 1  # the corner moves back by up to align - 1
    seen += (length - seen) % align  # so that a tile that ends with the image begins aligned
    if seen >= length:
        return length, [Cut(0, 0, coarse, 0)]
    cuts = []
    for first in range(0, coarse, per_tile):
        start = (field.stride * first + low) // align * align
        start = min(max(start, 0), length - seen)
        cuts.append(Cut(start, first, min(per_tile, coarse - first), first - start // field.stride))
    return seen, cuts


def pixels_seen(tile: int, field: ReceptiveField, halo: int | None = None) -> int:
    """Tells how many pixels a side the network sees at most for a tile."""
    tile, low, high = _tile_and_reach(tile, field, halo)
    return tile - field.stride + high - low + 1 + 2 * (field.alignment - 1)


def _tile_and_reach(tile: int, field: ReceptiveField, halo: int | None) -> tuple[int, int, int]:
    low, high = field.low, field.high
    if halo is not None:
        centre = (low + high - field.stride + 1) // 2  # where the pixels of a row's own begin
        low, high = max(low, centre - halo), min(high, centre + field.stride - 1 + halo)
    return -(-tile // field.alignment) * field.alignment, low, high


def tiled(
    compute: Callable[[np.ndarray], Any],
    read: Callable[[slice, slice], np.ndarray],
    size: tuple[int, int],
    shape: Any,
    tile: int,
    field: ReceptiveField,
    *,
    halo: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Any:
    """Computes the coarse logits of an image, a tile at a time.

    Args:
      compute: from (1, h, w, C_in) to coarse logits, a pytree of one array.
      read: gives the rows and columns of the image that the network is to see, (h, w, C_in).
      size: (H, W) of the image.
      shape: of the whole image's coarse logits, as of `jax.eval_shape`.
      tile: side of a tile in pixels.
      field: what the coarse logits depend on.
      halo: see `cut_axis`; the result is then an approximation.
      on_progress: called after each tile with the number of tiles done and the number of all.

    Returns:
      The coarse logits; the array is one of NumPy.
    """
    (whole,), structure = jax.tree.flatten(shape)
    result = np.empty(whole.shape, whole.dtype)
    height, rows = cut_axis(size[0], whole.shape[1], tile, field, halo)
    width, columns = cut_axis(size[1], whole.shape[2], tile, field, halo)
    tiles = list(itertools.product(rows, columns))
    for number, (row, column) in enumerate(tiles, 1):
        image = read(slice(row.start, row.start + height), slice(column.start, column.start + width))
        (values,) = jax.tree.leaves(compute(image[None]))
        result[:, _kept(row), _kept(column)] = np.asarray(values)[:, _skipped(row), _skipped(column)]
        on_progress(number, len(tiles))
    return jax.tree.unflatten(structure, [result])


def _kept(cut: Cut) -> slice:
    return slice(cut.first, cut.first + cut.kept)


def _skipped(cut: Cut) -> slice:
    return slice(cut.skipped, cut.skipped + cut.kept)
