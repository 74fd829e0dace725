"""Computes a picture tile by tile, with exactly the result of the whole picture; nothing is blended.

Each tile is cut out with all surroundings that its coarse logits depend on, and starts at a multiple of the
network's alignment. The network pads every tile with zeros. At the borders of the picture this is correct;
elsewhere the padding affects only coarse logits that are discarded. All tiles of a picture have one shape, so
they share one compilation.
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
      start: first pixel that the network sees.
      first: first row of coarse logits that is kept, counted in the whole image.
      kept: number of rows kept.
      skipped: number of rows before them in the output of the network.
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
      coarse: number of rows of coarse logits for that length.
      tile: pixels that a tile covers; rounded up to the alignment.
      field: what the coarse logits depend on.
      halo: pixels of surroundings to see, if fewer than `field` asks for.

    Returns:
      The number of pixels that the network sees at once, and the tiles in order.
    """
    align = field.alignment
    tile, low, high = _tile_and_reach(tile, field, halo)
    per_tile = tile // field.stride
    seen = tile - field.stride + high - low + 1 + align - 1  # the start moves back by up to align - 1
    seen += (length - seen) % align  # so that the last tile, which ends with the image, starts aligned
    if seen >= length:
        return length, [Cut(0, 0, coarse, 0)]
    cuts = []
    for first in range(0, coarse, per_tile):
        start = (field.stride * first + low) // align * align
        start = min(max(start, 0), length - seen)
        cuts.append(Cut(start, first, min(per_tile, coarse - first), first - start // field.stride))
    return seen, cuts


def pixels_seen(tile: int, field: ReceptiveField, halo: int | None = None) -> int:
    """Returns the largest side, in pixels, that the network sees for a tile."""
    tile, low, high = _tile_and_reach(tile, field, halo)
    return tile - field.stride + high - low + 1 + 2 * (field.alignment - 1)


def _tile_and_reach(tile: int, field: ReceptiveField, halo: int | None) -> tuple[int, int, int]:
    low, high = field.low, field.high
    if halo is not None:
        centre = (low + high - field.stride + 1) // 2  # first of the middle `stride` pixels
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
    """Computes the coarse logits of an image tile by tile.

    Args:
      compute: maps (1, h, w, C_in) to coarse logits, a pytree of one array.
      read: returns the given rows and columns of the image, (h, w, C_in).
      size: (H, W) of the image.
      shape: of the coarse logits of the whole image, from `jax.eval_shape`.
      tile: side of a tile in pixels.
      field: what the coarse logits depend on.
      halo: see `cut_axis`; the result is then an approximation.
      on_progress: called after each tile as on_progress(tiles done, tiles in total).

    Returns:
      The coarse logits, with a NumPy array.
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
