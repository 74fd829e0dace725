"""Scales values of more than 8 bits, signed values and floats to 8 bits, by one rule.

Files seldom say how many of their 16 bits a camera filled. So the full scale, which becomes white, is the
smallest usual one that holds every value of the picture:

- integers: 255, 1023, 4095, 16383 or 65535, so 8, 10, 12, 14 or 16 bits; for signed ones also 32767;
- floats: the same, and before them 1. Reflectances may exceed 1 a little: up to 16 the scale is 1, and what
  exceeds it becomes white.

Negative values, values above 65535 and NaN have no such scale; they are refused. Whenever the full scale is
not that of the file's own type, a remark says so (see `errors.tell_once`): within a series of pictures the
scale may differ from one to the next.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from fcn_jax.images.errors import ImageError, tell_once

FULL_SCALES = (255, 1023, 4095, 16383, 65535)
MOST_OVER_ONE = 16
NEARLY_BLACK = 64
"""Below this value of 8 bits, the most a picture has, its 16 bits hold at most 14."""


def to_8_bits(values: np.ndarray, what: str, name: str, full_scale: int | None = None) -> np.ndarray:
    """Scales values to 0..255; uint8 stays as it is.

    Args:
      values: any shape; integers or floats.
      what: names their type in messages, such as "mode F" or "int16".
      name: of the picture, for a remark.
      full_scale: the value that becomes white, if the file says so.

    Returns:
      uint8 of the same shape.

    Raises:
      ImageError: a value is below 0 or above 65535, or is NaN.
    """
    if values.dtype == np.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535):  # also catches NaN
        raise ImageError(
            expected="values from 0 to 65535", got=f"{low:g} to {high:g} in {what}", hint="scale them first"
        )
    full_scale = full_scale or _full_scale(values.dtype, high, what, name)
    scaled = values.clip(0, full_scale).astype(np.float32)
    scaled *= np.float32(255 / full_scale)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def _full_scale(dtype: np.dtype, high: float, what: str, name: str) -> int:
    scales = FULL_SCALES
    own = 65535
    if dtype.kind == "f":
        scales, own = (1, *FULL_SCALES), 1
        if 1 < high <= MOST_OVER_ONE:
            tell_once("above 1", f"{what}, with values up to {high:g}: those above 1 become white", name)
            return 1
    elif dtype.kind == "i" and dtype.itemsize == 2:
        scales, own = (*FULL_SCALES[:-1], 32767), 32767
    scale = next(scale for scale in scales if high <= scale)
    if scale != own and high > 0:
        tell_once(f"{dtype.kind} {scale}", f"{what}, with values up to {high:g}: {scale} becomes white", name)
    return scale


def values_of_16_bits(
    open_raw: Callable[[Callable[[str], str]], Image.Image], channels: Sequence[int]
) -> np.ndarray:
    """Reads colours of 16 bits. Pillow keeps the upper 8; if those are nearly black, the lower 8 count too.

    Args:
      open_raw: opens the picture and decodes it with another raw mode of Pillow, given a function from the
        usual raw mode; see `with_raw_mode`.
      channels: those that must not be nearly black.

    Returns:
      (H, W, C) uint8, the upper 8 bits, as everywhere with Pillow; or uint16, all of them.
    """
    upper = np.asarray(open_raw(lambda mode: mode))
    if upper[..., channels].max() >= NEARLY_BLACK:
        return upper
    return upper.astype(np.uint16) << 8 | np.asarray(open_raw(_swapped))


def with_raw_mode(image: Image.Image, change: Callable[[str], str]) -> Image.Image:
    """Makes an image that is open but not yet decoded be decoded with another raw mode.

    Args:
      image: from `Image.open`, of PNG or TIFF.
      change: from the usual raw mode to the other.
    """
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=change(tile.args) if isinstance(tile.args, str) else _first(tile.args, change))
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    return image


def _first(args: tuple, change: Callable[[str], str]) -> tuple:
    return change(args[0]), *args[1:]


def _swapped(raw_mode: str) -> str:
    """Returns the raw mode with the other order of bytes, which makes Pillow keep the lower 8 bits of 16."""
    little = raw_mode.endswith("L") or (raw_mode.endswith("N") and np.little_endian)
    return raw_mode[:-1] + ("B" if little else "L")
