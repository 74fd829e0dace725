"""Which files of a folder are pictures, by the suffix of their names."""

from PIL import Image

from fcn_jax.images import heif

FORMATS = (
    "AVIF",
    "BMP",
    "DDS",
    "DIB",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "PSD",
    "QOI",
    "SGI",
    "SUN",
    "TGA",
    "TIFF",
    "WEBP",
)
"""Pillow's formats of what people call pictures. It also claims videos (MPEG), data (HDF5, GRIB, FITS),
drawings that other programs must draw (EPS, WMF) and parts of pictures (IPTC)."""

_RAW = "camera raw: develop it to TIFF or JPEG first, with darktable or the camera's program"
LOOK_LIKE_PICTURES = {
    ".pdf": "PDF: turn its pages into pictures first, such as by pdftoppm -png",
    ".svg": "a drawing: export it as PNG first",
    ".eps": "a drawing: export it as PNG first",
    ".ai": "a drawing: export it as PNG first",
    ".jxl": "JPEG XL: convert it first, such as by djxl",
    ".avif": "AVIF, which this Pillow cannot read: update Pillow",
    ".webp": "WebP, which this Pillow cannot read: update Pillow",
    ".jp2": "JPEG 2000, which this Pillow cannot read: update Pillow",
} | dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"), _RAW)
"""{suffix: what to do with the file} for files that people may take for pictures."""


def picture_suffixes() -> set[str]:
    """Returns the suffixes of pictures, in lower case; HEIC too, also if the package for it is missing."""
    Image.init()
    known = Image.EXTENSION.items()
    readable = {suffix for suffix, format in known if format in FORMATS and format in Image.OPEN}
    return readable | set(heif.SUFFIXES)


def not_a_picture(suffix: str) -> str | None:
    """Returns what to do with a file that cannot be read as a picture; None if nothing is known."""
    return LOOK_LIKE_PICTURES.get(suffix.lower())
