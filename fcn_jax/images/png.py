"""Reads PNG where Pillow refuses or loses something: long texts in the file, and colours of 16 bits."""

import io
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image

from fcn_jax.images.conversion import Bands, to_rgb
from fcn_jax.images.depth import to_8_bits, values_of_16_bits, with_raw_mode

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST_TEXT = 2**16
TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def read_png(file: BinaryIO, name: str, bands: Bands | None) -> Image.Image:
    """Reads a PNG file as upright 8-bit RGB; the texts in it do not matter.

    Args:
      file: at its beginning.
      name: for a remark.
      bands: see `to_rgb`.
    """
    try:
        image = Image.open(file, formats=["PNG"])
        image.load()  # texts may also follow the pixels
    except ValueError as error:  # Pillow's limits for texts, which are settings of the process
        if "MAX_TEXT" not in str(error):
            raise
        file = without_texts(file)
        image = Image.open(file, formats=["PNG"])
    with image:
        if image.mode in ("RGB", "RGBA") and _has_16_bits(file):
            image = _with_all_bits(file, image, name)
        return to_rgb(image, name, bands)


def _with_all_bits(file: BinaryIO, image: Image.Image, name: str) -> Image.Image:
    """Returns an image of 16 bits as Pillow reads it; if that is nearly black, scaled by the rule."""
    values = values_of_16_bits(lambda change: _decoded(file, change), range(3))
    if values.dtype == np.uint8:
        return image
    alpha = (values[..., 3:] >> 8).astype(np.uint8)
    scaled = Image.fromarray(np.concatenate([to_8_bits(values[..., :3], "uint16", name), alpha], -1))
    scaled.getexif().update(image.getexif())
    return scaled


def without_texts(file: BinaryIO) -> io.BytesIO:
    """Copies a PNG file without its texts, except for short ones: the orientation can be in one."""
    file.seek(len(SIGNATURE))
    copy = io.BytesIO()
    copy.write(SIGNATURE)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        body = file.read(length + 4)
        if kind not in TEXTS or (kind != b"zTXt" and length <= LONGEST_TEXT and not _is_packed(kind, body)):
            copy.write(head)
            copy.write(body)
    copy.seek(0)
    return copy


def _is_packed(kind: bytes, body: bytes) -> bool:
    """Returns whether a text is compressed: a few bytes can become many."""
    return kind == b"iTXt" and body.partition(b"\0")[2][:1] != b"\0"


def _has_16_bits(file: BinaryIO) -> bool:
    file.seek(len(SIGNATURE) + 8 + 8)
    return file.read(1) == b"\x10"


def _decoded(file: BinaryIO, change: Callable[[str], str]) -> Image.Image:
    file.seek(0)
    image = with_raw_mode(Image.open(file, formats=["PNG"]), change)
    image.load()
    return image
