"""Computes a picture tile by tile, with exactly the result of the whole picture; nothing is blended.

Each tile is cut out with all surroundings that its coarse logits depend on, and starts at a multiple of the
network's alignment. The network pads every tile with zeros. At the borders of the picture this is correct;
elsewhere the padding affects only coarse logits that are discarded. A tile at the lower or right border may
be smaller than the others; it is computed in the same buffer, so all tiles share one program.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fcn_jax.inference.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Cut:
    """One tile along one axis.

    Attributes:
      start: first pixel that the network sees.
      seen: number of pixels that it sees.
      first: first row of coarse logits that is kept, counted in the whole image.
      kept: number of rows kept.
      skipped: number of rows before them in the output of the network.
    """

    start: int
    seen: int
    first: int
    kept: int
    skipped: int


def cut_axis(
    length: int, coarse: int, tile: int, field: ReceptiveField, halo: int | None = None
) -> list[Cut]:
    """Cuts an axis into tiles.

    Args:
      length: of the image, in pixels.
      coarse: number of rows of coarse logits for that length.
      tile: pixels that a tile covers; rounded up to the alignment.
      field: what the coarse logits depend on.
      halo: pixels of surroundings to see, if fewer than `field` asks for.
    """
    most = pixels_seen(tile, field, halo)
    if most >= length:
        return [Cut(0, length, 0, coarse, 0)]
    tile, low, _ = _tile_and_reach(tile, field, halo)
    per_tile = tile // field.stride
    cuts = []
    for first in range(0, coarse, per_tile):
        start = max(0, (field.stride * first + low) // field.alignment * field.alignment)
        kept = min(per_tile, coarse - first)
        cuts.append(Cut(start, min(most, length - start), first, kept, first - start // field.stride))
    return cuts


def pixels_seen(tile: int, field: ReceptiveField, halo: int | None = None) -> int:
    """Returns how many pixels along an axis the network sees for a tile, at most."""
    tile, low, high = _tile_and_reach(tile, field, halo)
    return tile - field.stride + high - low + field.alignment  # the start moves back by up to alignment - 1


def _tile_and_reach(tile: int, field: ReceptiveField, halo: int | None) -> tuple[int, int, int]:
    low, high = field.low, field.high
    if halo is not None:
        centre = (low + high - field.stride + 1) // 2  # first of the middle `stride` pixels
        low, high = max(low, centre - halo), min(high, centre + field.stride - 1 + halo)
    return -(-tile // field.alignment) * field.alignment, low, high


def tiled(
    compute: Callable[[np.ndarray], ArrayLike],
    read: Callable[[slice, slice], np.ndarray],
    size: tuple[int, int],
    result: np.ndarray,
    shape: tuple[int, int],
    tile: int,
    field: ReceptiveField,
    *,
    halo: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Computes the coarse logits of an image tile by tile.

    Args:
      compute: maps an image (h, w, C_in) to its coarse logits (1, ...); they may lie in the upper left corner
        of a larger array.
      read: returns the given rows and columns of the image, (h, w, C_in).
      size: (H, W) of the image.
      result: where the coarse logits of the whole image go, (1, h, w, C) or larger.
      shape: (h, w) of the coarse logits.
      tile: side of a tile in pixels.
      field: what the coarse logits depend on.
      halo: see `cut_axis`; the result is then an approximation.
      on_progress: called after each tile as on_progress(tiles done, tiles in total).
    """
    rows = cut_axis(size[0], shape[0], tile, field, halo)
    columns = cut_axis(size[1], shape[1], tile, field, halo)
    tiles = list(itertools.product(rows, columns))
    for number, (row, column) in enumerate(tiles, 1):
        values = compute(read(_seen(row), _seen(column)))
        result[:, _kept(row), _kept(column)] = np.asarray(values)[:, _skipped(row), _skipped(column)]
        on_progress(number, len(tiles))


def _seen(cut: Cut) -> slice:
    return slice(cut.start, cut.start + cut.seen)


def _kept(cut: Cut) -> slice:
    return slice(cut.first, cut.first + cut.kept)


def _skipped(cut: Cut) -> slice:
    return slice(cut.skipped, cut.skipped + cut.kept)
