"""Reads pictures with any number of channels as stored: NumPy files, TIFF with many bands, 8 and 16 bits.

Unlike `fcn_jax.images`, nothing is converted: no channel is dropped, no depth reduced, no picture turned.
TIFF with other than one, three or four bands of 8 bits needs `pip install 'fcn_jax[tiff]'`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcn_jax.errors import MissingPackageError, WrongTypeError
from fcn_jax.images import ImageError

SUFFIXES = (".npy", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Of the files that `open_bands` reads."""
DTYPES = (np.uint8, np.uint16, np.float32)
"""Of what it returns."""
_WIDER = {"float16": np.float32, "float64": np.float32, "int16": np.float32}
_MODES = {"P": "RGB", "1": "L", "La": "LA", "RGBa": "RGBA", "CMYK": "CMYK", "YCbCr": "RGB"}

Bands = str | os.PathLike[str] | Image.Image | np.ndarray
"""What `open_bands` takes."""


def open_bands(source: Bands, channels: int | None = None) -> np.ndarray:
    """Reads a picture with all its channels.

    Args:
      source: the path of a .npy file, a TIFF or any picture that Pillow reads; a Pillow image; or an array
        (H, W) or (H, W, C).
      channels: how many there must be; any number if not given.

    Returns:
      (H, W, C) uint8, uint16 or float32; half and double precision and int16 become float32.

    Raises:
      ImageError: the file is missing, damaged or of another kind; there are other channels; the picture has
        no pixels, or numbers that are not finite.
      MissingPackageError: the file needs tifffile.
      WrongTypeError: `source` has another type.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            return _checked(_read(path), channels)
        except ImageError as error:
            raise error.about(path) from error.__cause__
    if isinstance(source, Image.Image):
        return _checked(_from_pillow(source), channels)
    if hasattr(source, "__array__"):
        return _checked(np.asarray(source), channels)
    raise WrongTypeError(expected="a path, a Pillow image or an array", got=type(source).__name__)


def _read(path: Path) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(expected=f"a file that ends in one of {', '.join(SUFFIXES)}", got=repr(suffix))
    if path.is_dir():
        raise ImageError(expected="a picture", got="a folder")
    readers: dict[str, Callable[[Path], np.ndarray]] = {
        ".npy": _read_numpy,
        ".tif": _read_tiff,
        ".tiff": _read_tiff,
    }
    try:
        return readers.get(suffix, _read_picture)(path)
    except (ImageError, MissingPackageError):
        raise
    except FileNotFoundError as error:
        raise ImageError("cannot be read: there is no such file") from error
    except Exception as error:  # on damaged files decoders raise many kinds of errors
        raise ImageError(f"cannot be decoded: {type(error).__name__}: {error}") from error


def _read_numpy(path: Path) -> np.ndarray:
    array: Any = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ImageError(expected="one array", got="an archive of arrays")
    return array


def _read_tiff(path: Path) -> np.ndarray:
    try:
        import tifffile
    except ImportError as error:
        try:
            with Image.open(path) as image:
                if image.mode in ("L", "RGB", "RGBA") and getattr(image, "n_frames", 1) == 1:
                    return _from_pillow(image)
        except Image.UnidentifiedImageError:
            pass  # also what Pillow says of many bands
        raise MissingPackageError(
            f"{path}: this TIFF needs tifffile", hint="pip install 'fcn_jax[tiff]'"
        ) from error
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        array, axes = series.asarray(), series.axes
    others = [axis for axis in range(len(axes)) if axes[axis] not in "YX"]
    if sorted(axis for axis in axes if axis in "YX") != ["X", "Y"] or len(others) > 1:
        raise ImageError(expected="rows, columns and bands", got=f"the axes {axes} of shape {array.shape}")
    return array.transpose(axes.index("Y"), axes.index("X"), *others)


def _read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return _from_pillow(image)


def _from_pillow(image: Image.Image) -> np.ndarray:
    if image.mode == "I":  # how older versions of Pillow open 16-bit grey
        array = np.asarray(image)
        if array.size and array.min() >= 0 and array.max() <= 65535:
            return array.astype(np.uint16)
        raise ImageError(expected="grey values from 0 to 65535", got=f"{array.min()} to {array.max()}")
    return np.asarray(image.convert(_MODES[image.mode]) if image.mode in _MODES else image)


def _checked(array: np.ndarray, channels: int | None) -> np.ndarray:
    got = f"{array.dtype} {array.shape}"
    if array.dtype.name in _WIDER:
        array = array.astype(_WIDER[array.dtype.name])
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in DTYPES:
        raise ImageError(expected="numbers of 8 or 16 bits, or floats", got=got)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.size == 0:
        raise ImageError(expected="an array (H, W) or (H, W, C) with at least one pixel", got=got)
    if channels is not None and array.shape[2] != channels:
        first = array.shape[0] == channels
        raise ImageError(
            expected=f"{channels} channels",
            got=f"{array.shape[2]} ({got})",
            hint="channels come last: transpose it by (1, 2, 0)" if first else None,
        )
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise ImageError(expected="finite numbers", got="NaN or infinity", hint="fill the gaps first")
    return array


def resize_bands(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W, C) to (h, w), bilinear and antialiased, channel by channel as Pillow does.

    Returns:
      (h, w, C) of the same dtype; 16-bit numbers are computed in float32 and rounded.
    """
    height, width = size
    if array.shape[:2] == (height, width):
        return array
    dtype = array.dtype
    values = array if dtype == np.uint8 else array.astype(np.float32)
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR)
        )
        for plane in np.moveaxis(values, -1, 0)
    ]
    resized = np.stack(planes, -1)
    return np.rint(resized).clip(0, 65535).astype(dtype) if dtype == np.uint16 else resized


def preview(array: np.ndarray) -> Image.Image:
    """Draws a picture of any channels in RGB: the first three, or the first one as grey.

    8-bit numbers stay; others are scaled so that the darkest and the brightest 2 % become black and white.
    """
    shown = array[..., :3] if array.shape[2] >= 3 else np.repeat(array[..., :1], 3, 2)
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (2, 98))
        scale = 255 / (high - low) if high > low else 0.0
        shown = ((shown.astype(np.float32) - low) * scale).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(shown))
