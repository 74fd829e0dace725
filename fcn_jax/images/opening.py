"""Opens a picture from a path, a Pillow image, an array or a file."""

import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fcn_jax.errors import OutOfMemoryError, WrongTypeError
from fcn_jax.images.conversion import Bands, check_bands, from_array, to_rgb
from fcn_jax.images.errors import ImageError
from fcn_jax.images.heif import is_heif, read_heif
from fcn_jax.images.limits import TRUST
from fcn_jax.images.names import not_a_picture
from fcn_jax.images.png import SIGNATURE, read_png
from fcn_jax.images.tiff import is_tiff, read_tiff

Picture = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | BinaryIO
"""What `open_image` takes: a path, a Pillow image, a uint8 array, or a binary file."""

PATH = (str, os.PathLike)


def open_image(source: Picture, *, bands: Sequence[int] | None = None) -> Image.Image:
    """Opens a picture as 8-bit RGB, upright, without transparency.

    Args:
      source: a path; a Pillow image of any mode, which is left as it is; a uint8 array (H, W), (H, W, 1),
        (H, W, 3) RGB or (H, W, 4) RGBA; or a file open for reading bytes, such as `io.BytesIO`.
      bands: which three bands of a picture with many, of a TIFF file or an array (H, W, C), become red, green
        and blue, or which one is the grey; counted from 1. By default the colours that the picture names.

    Returns:
      A Pillow image of mode RGB that shares no memory with `source`. No file stays open.

    Raises:
      ImageError: the file is missing, damaged or not a picture, or needs a package that is not installed; it
        has more than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels; the array has another shape or dtype; the
        picture has no pixels, or does not have these bands.
      SettingError: `bands` are neither three numbers nor one.
      WrongTypeError: `source` has another type.
    """
    chosen = check_bands(bands)
    if isinstance(source, PATH):
        return _open_path(Path(source), chosen)
    if isinstance(source, Image.Image):
        return to_rgb(source, "a Pillow image", chosen)
    if hasattr(source, "__array__"):
        return to_rgb(from_array(np.asarray(source), chosen), "an array")
    if hasattr(source, "read"):
        return _explained(cast(BinaryIO, source), None, chosen)
    raise WrongTypeError(expected="a path, a Pillow image or an array", got=type(source).__name__)


def _open_path(path: Path, bands: Bands | None) -> Image.Image:
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind == stat.S_IFDIR:
            hint = "pass its pictures one by one, or as a list"
            raise ImageError(path=path, expected="a picture", got="a folder", hint=hint)
        if kind != stat.S_IFREG:  # opening a pipe waits for a writer, perhaps for ever
            got = "a pipe, a socket or a device"
            raise ImageError(path=path, expected="a picture", got=got, hint="copy it to a file first")
        with path.open("rb") as file:
            return _explained(file, path, bands)
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # a ValueError for zero bytes in the path
        said = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot be read: {said}", path) from error


def _explained(file: BinaryIO, path: Path | None, bands: Bands | None) -> Image.Image:
    """Reads a picture; every error of a damaged or foreign file becomes an ImageError."""
    try:
        if not file.seekable():
            file = io.BytesIO(file.read())
        return _read(file, "a file" if path is None else str(path), bands)
    except ImageError as error:
        raise error.about(path) from error.__cause__
    except Image.DecompressionBombError as error:
        raise ImageError(str(error).rstrip("."), path, hint=TRUST) from error
    except Image.UnidentifiedImageError as error:
        got = "a file that Pillow does not recognize"
        hint = not_a_picture("" if path is None else path.suffix)
        raise ImageError(path=path, expected="an image file", got=got, hint=hint) from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}", path) from error
    except MemoryError as error:
        raise OutOfMemoryError("there is not enough memory to read it", path) from error
    except Warning:  # Pillow's, where a filter turns warnings into errors
        raise
    except Exception as error:  # on damaged files decoders raise many kinds of errors
        raise ImageError(f"cannot be decoded: {type(error).__name__}: {error}", path) from error


def _read(file: BinaryIO, name: str, bands: Bands | None) -> Image.Image:
    if file.tell():  # readers seek from the beginning
        file = io.BytesIO(file.read())
    head = file.read(64)
    file.seek(0)
    if is_tiff(head):
        return read_tiff(file, name, bands)
    if head.startswith(SIGNATURE):
        return read_png(file, name, bands)
    if is_heif(head):
        return read_heif(file, name, bands)
    with Image.open(file) as image:
        return to_rgb(image, name, bands)
