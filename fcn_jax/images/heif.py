"""Reads HEIC, the pictures of iPhones, with pillow-heif: `pip install 'fcn_jax[heif]'`."""

from typing import BinaryIO

from PIL import Image

from fcn_jax.images.conversion import Bands, to_rgb
from fcn_jax.images.errors import ImageError
from fcn_jax.images.limits import check_pixels

SUFFIXES = (".heic", ".heif", ".hif")
BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs")
OPEN_BRANDS = (b"mif1", b"msf1")
"""They say nothing of the compression: AVIF has them too."""


def is_heif(head: bytes) -> bool:
    """Tells whether a file with these first 64 bytes is HEIC, and not AVIF, which Pillow reads by itself."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    return brand in BRANDS or (brand in OPEN_BRANDS and b"avif" not in head)


def read_heif(file: BinaryIO, name: str, bands: Bands | None) -> Image.Image:
    """Reads the primary picture of a HEIC file as upright 8-bit RGB.

    Pillow-heif is called directly, because registering it with Pillow would change the process.

    Raises:
      ImageError: pillow-heif is not installed, or the picture has too many pixels.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(
            "a HEIC picture, which needs pillow-heif",
            hint="pip install 'fcn_jax[heif]', or save it as JPEG",
        ) from error
    heif = pillow_heif.open_heif(file)
    check_pixels(*heif.size)
    return to_rgb(heif.to_pillow(), name, bands)
