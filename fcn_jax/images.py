"""Opens any picture as an upright 8-bit RGB Pillow image.

It does what a picture viewer does: it applies the EXIF orientation, scales 16-bit grey to 8 bits, puts
transparent parts on white, and takes the first frame of an animation. An RGB picture stays unchanged.

Pillow's own warnings, about damaged metadata or many pixels, are passed on.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fcn_jax.errors import FCNError, WrongTypeError

Picture = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]
"""What `open_image` takes: a path, a Pillow image, or a uint8 array."""

PATH = (str, os.PathLike)


class ImageError(FCNError, ValueError):
    """A picture cannot be read or used."""


def open_image(source: Picture) -> Image.Image:
    """Opens a picture as 8-bit RGB, upright, without transparency.

    Args:
      source: a path; a Pillow image of any mode, which is left as it is; or a uint8 array (H, W), (H, W, 1),
        (H, W, 3) RGB or (H, W, 4) RGBA.

    Returns:
      A Pillow image of mode RGB that shares no memory with `source`. No file stays open.

    Raises:
      ImageError: the file is missing, damaged or not a picture; it has more than twice
        `PIL.Image.MAX_IMAGE_PIXELS` pixels; the array has another shape or dtype; the picture has no pixels.
      WrongTypeError: `source` has another type.
    """
    if isinstance(source, PATH):
        return _open_file(Path(source))
    if isinstance(source, Image.Image):
        return _to_rgb(source)
    if hasattr(source, "__array__"):
        return _to_rgb(_from_array(np.asarray(source)))
    raise WrongTypeError(expected="a path, a Pillow image or an array", got=type(source).__name__)


def _open_file(path: Path) -> Image.Image:
    if path.is_dir():
        hint = "pass its pictures one by one, or as a list"
        raise ImageError(path=path, expected="a picture", got="a folder", hint=hint)
    try:
        with Image.open(path) as image:
            return _to_rgb(image)
    except ImageError as error:
        raise error.about(path) from error.__cause__
    except Image.DecompressionBombError as error:
        hint = "if you trust the file, crop it first or raise {PIL.Image.MAX_IMAGE_PIXELS}"
        raise ImageError(str(error).rstrip("."), path, hint=hint) from error
    except Image.UnidentifiedImageError as error:
        got = "a file that Pillow does not recognize"
        raise ImageError(path=path, expected="an image file", got=got) from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}", path) from error
    except Warning:  # Pillow's, where a filter turns warnings into errors
        raise
    except Exception as error:  # on damaged files Pillow's decoders raise many kinds of errors
        raise ImageError(f"cannot be decoded: {type(error).__name__}: {error}", path) from error


def _from_array(array: np.ndarray) -> Image.Image:
    got = f"{array.dtype} {array.shape}"
    if array.dtype != np.uint8:
        hint = {
            "f": "for values in [0, 1] try (255 * array).round().astype(np.uint8)",
            "b": "try 255 * array.astype(np.uint8)",
        }.get(array.dtype.kind, "scale it to 0..255 and cast")
        raise ImageError(expected="a uint8 array", got=got, hint=hint)
    channels_last = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not channels_last:
        hint = None
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "channels come last: try array.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "for a batch pass a list: try list(array)"
        raise ImageError(expected="an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)", got=got, hint=hint)
    if array.size == 0:
        raise ImageError(expected="at least one pixel", got=got)
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _to_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise ImageError(expected="at least one pixel", got=f"{image.width} x {image.height}")
    image = ImageOps.exif_transpose(image)  # always a copy
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_8_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # premultiplied grey; Pillow converts it only to LA
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scales grey of more than 8 bits to 8 bits; the full scale is 65535.

    Float grey has no fixed scale: the full scale is the smallest of 1, 255 and 65535 that holds every value.
    """
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 65535):  # also catches NaN
        got = f"{low:g} to {high:g} in mode {image.mode}"
        raise ImageError(expected="grey values from 0 to 65535", got=got, hint="scale them first")
    full_scale = 65535
    if image.mode == "F":
        full_scale = 1 if high <= 1 else 255 if high <= 255 else 65535
    return Image.fromarray(np.rint(values * (255 / full_scale)).astype(np.uint8))
