"""Turns Pillow images and arrays into 8-bit RGB, and chooses bands."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from fcn_jax.errors import SettingError
from fcn_jax.images.depth import to_8_bits
from fcn_jax.images.errors import ImageError

Bands = tuple[int, ...]


def check_bands(bands: Sequence[int] | None) -> Bands | None:
    """Checks which bands become red, green and blue.

    Args:
      bands: three numbers, or one for a grey picture; the first band is 1. None for the usual colours.

    Raises:
      SettingError: they are something else.
    """
    if bands is None:
        return None
    whole = all(isinstance(band, int | np.integer) and band >= 1 for band in bands)
    if len(bands) not in (1, 3) or not whole:
        raise SettingError(
            subject="bands",
            expected="three bands for red, green and blue, or one for grey, counted from 1",
            got=str(tuple(bands)),
        )
    return tuple(int(band) for band in bands)


def choose_bands(values: np.ndarray, bands: Bands) -> np.ndarray:
    """Returns (H, W, 3): the chosen bands of (H, W, C).

    Raises:
      ImageError: the picture has fewer bands.
    """
    if max(bands) > values.shape[2]:
        raise ImageError(
            expected=f"a picture with at least {max(bands)} bands",
            got=f"{values.shape[2]}",
            hint="choose other {bands}",
        )
    chosen = values[..., [band - 1 for band in bands]]
    return chosen.repeat(3, 2) if len(bands) == 1 else chosen


def from_array(array: np.ndarray, bands: Bands | None = None) -> Image.Image:
    """Makes an image of an array; see `open_image` for what it may be.

    Raises:
      ImageError: it has another shape or dtype, or no pixels.
    """
    got = f"{array.dtype} {array.shape}"
    if array.dtype != np.uint8:
        hint = {
            "f": "for values in [0, 1] try (255 * array).round().astype(np.uint8)",
            "b": "try 255 * array.astype(np.uint8)",
        }.get(array.dtype.kind, "scale it to 0..255 and cast")
        raise ImageError(expected="a uint8 array", got=got, hint=hint)
    channels = range(1, 2**16) if bands else (1, 3, 4)
    channels_last = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in channels)
    if not channels_last:
        hint = None
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "channels come last: try array.transpose(1, 2, 0)"
        elif array.ndim == 3 and array.shape[2] > 4:
            hint = "{bands} chooses three, such as (3, 2, 1)"
        elif array.ndim == 4:
            hint = "for a batch pass a list: try list(array)"
        raise ImageError(expected="an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)", got=got, hint=hint)
    if array.size == 0:
        raise ImageError(expected="at least one pixel", got=got)
    if bands:
        array = choose_bands(array.reshape(*array.shape[:2], -1), bands)
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def to_rgb(image: Image.Image, name: str, bands: Bands | None = None) -> Image.Image:
    """Makes an upright RGB image without transparency; a copy.

    Args:
      image: of any mode.
      name: of the picture, for a remark.
      bands: chosen of red, green and blue, or of the one band of a grey picture.

    Raises:
      ImageError: the picture has no pixels, or its values have no scale; see `to_8_bits`.
    """
    if 0 in image.size:
        raise ImageError(expected="at least one pixel", got=f"{image.width} x {image.height}")
    image = ImageOps.exif_transpose(image)  # always a copy
    grey = len(image.getbands()) == 1 and image.mode != "P"
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(to_8_bits(np.asarray(image), f"mode {image.mode}", name))
    image = _without_transparency(image)
    if bands is None:
        return image
    values = np.asarray(image)
    return Image.fromarray(choose_bands(values[..., :1] if grey else values, bands))


def _without_transparency(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # premultiplied grey; Pillow converts it only to LA
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
