"""Draws labels from outlines of objects, in every form in which COCO's annotations come.

A list of polygons [x1, y1, x2, y2, ...] is COCO's own form; labelling tools also write one polygon without
the list around it, or points as pairs. Run lengths {"size": [height, width], "counts": ...} are numbers or,
compressed, text. What has no area (nothing, points, lines) covers no pixel.
"""

from itertools import chain
from typing import Any

import numpy as np

from fcn_jax.datasets.dataset import IGNORE_LABEL
from fcn_jax.errors import ArrayError, MissingPackageError

Outline = list | dict | None

FARTHEST = 1_000_000  # pixels; pycocotools' memory grows with the length of an outline


def draw_labels(objects: list[tuple[int, Outline]], height: int, width: int) -> np.ndarray:
    """Draws the labels of a picture from its objects.

    Args:
      objects: (class index, outline) pairs, see the module.

    Returns:
      (height, width) uint8: 0 where no object is, 255 where several are.

    Raises:
      ArrayError: an outline makes no sense, or run lengths have another size.
    """
    labels = np.zeros((height, width), np.uint8)
    covered, shared = np.zeros((2, height, width), bool)
    for label, outline in objects:
        inside = inside_of(outline, height, width)
        if inside is None:
            continue
        labels[inside] = label
        shared |= covered & inside
        covered |= inside
    labels[shared] = IGNORE_LABEL
    return labels


def inside_of(outline: Outline, height: int, width: int) -> np.ndarray | None:
    """Returns which pixels an object covers: (height, width) bool; None if it has no area.

    Raises:
      ArrayError: see `draw_labels`.
    """
    if not outline:
        return None
    if isinstance(outline, dict):
        return _of_runs(outline, height, width)
    mask_api = load_mask_api()
    polygons = polygons_of(outline)
    if not polygons:
        return None
    layers = np.asarray(mask_api.decode(mask_api.frPyObjects(polygons, height, width)))
    return np.any(layers, axis=2, keepdims=False)


def without_area(outline: Outline) -> bool:
    """Whether an outline covers nothing, by its form; False for one that makes no sense."""
    if not outline:
        return True
    if isinstance(outline, dict):
        return not outline.get("counts")
    try:
        return not polygons_of(outline)
    except ArrayError:
        return False


def polygons_of(outline: list) -> list[list[float]]:
    """Returns an outline's polygons [x1, y1, x2, y2, ...] that have an area: three points and more, not flat.

    Raises:
      ArrayError: it is not made of pairs of numbers.
    """
    if not isinstance(outline, list):
        raise ArrayError(expected="an outline as a list of polygons", got=type(outline).__name__)
    if all(map(_is_number, outline)):
        outline = [outline]
    elif len(outline) > 2 and all(map(_is_point, outline)):
        outline = [list(chain.from_iterable(outline))]
    return [polygon for polygon in map(_numbers, outline) if _has_area(polygon)]


def _numbers(polygon: Any) -> list[float]:
    if isinstance(polygon, list) and polygon and all(map(_is_point, polygon)):
        polygon = list(chain.from_iterable(polygon))
    if not isinstance(polygon, list) or not all(map(_is_number, polygon)):
        raise ArrayError(expected="a polygon of numbers, x and y in turn", got=repr(polygon)[:60])
    if len(polygon) % 2:
        raise ArrayError(expected="a polygon of pairs, x and y", got=f"{len(polygon)} numbers, which is odd")
    if not all(abs(number) <= FARTHEST for number in polygon):  # not for nan, either
        far = next(number for number in polygon if not abs(number) <= FARTHEST)
        raise ArrayError(expected=f"coordinates within {FARTHEST:,} pixels", got=repr(far))
    return polygon


def _has_area(polygon: list[float]) -> bool:
    if len(polygon) < 6:
        return False
    return all(max(part) > min(part) for part in (polygon[0::2], polygon[1::2]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _of_runs(outline: dict, height: int, width: int) -> np.ndarray | None:
    """Draws run lengths. They go down the columns, and begin with the length of what is outside."""
    counts, size = outline.get("counts"), outline.get("size", [height, width])
    if not counts:
        return None
    if list(size) != [height, width]:
        got = " x ".join(map(str, list(size)[::-1]))
        raise ArrayError(expected=f"an outline for the picture's {width} x {height}", got=f"one for {got}")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != height * width:
        whole = all(isinstance(run, int) and run >= 0 for run in runs)
        raise ArrayError(
            expected=f"run lengths of {height * width:,} pixels, for the picture's {width} x {height}",
            got=f"{sum(runs):,}" if whole else "others than whole numbers",
        )
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """Reads compressed run lengths, as `rleFrString` of COCO's API does.

    Each character has five bits of a number, the lowest first, and says whether more follow. From the fourth
    number on each is the difference to the number two before.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((codes & 0x20) == 0)
    if (codes < 0).any() or (codes > 63).any() or not len(last) or last[-1] != len(codes) - 1:
        raise ArrayError(expected="compressed run lengths", got=repr(text[:40]))
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > 12:
        raise ArrayError(expected="compressed run lengths", got="a number of more than 60 bits")
    place = np.arange(len(codes)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((codes & 0x1F) << (5 * place), first)
    numbers -= np.where(codes[last] & 0x10, 1 << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers.tolist()


def load_mask_api() -> Any:  # its type annotations lack lists of polygons
    """Imports pycocotools.

    Raises:
      MissingPackageError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingPackageError(
            "reading COCO's annotations needs pycocotools: pip install 'fcn_jax[coco]'"
        ) from error
    return mask
