"""Reads TIFF from cameras, satellites and microscopes as what it is, or says why not.

- Red, green and blue are the first three bands of a file that says it has colours. Every further band is
  left out: many writers mark near infrared as transparency. Only a band that is marked so and holds nothing
  but 0 and one other value is a mask: where it is 0, the picture becomes white.
- A file of several bands that names no colours needs `bands`; three of them pass for red, green and blue.
- Values of more than 8 bits, signed ones and floats: see `depth`.

Pillow decodes what it decodes right; tifffile, of `pip install 'fcn_jax[tiff]'`, does the rest.
"""

from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from fcn_jax.images.conversion import Bands, choose_bands, to_rgb
from fcn_jax.images.depth import to_8_bits, values_of_16_bits, with_raw_mode
from fcn_jax.images.errors import ImageError, tell_once
from fcn_jax.images.limits import check_pixels

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
OTHER_COLOURS = {3: "a palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
"""What else Pillow turns into colours."""
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
ALPHA = (1, 2, 999)
"""Marks of a transparent band: premultiplied, not premultiplied, and Corel Draw's."""
CAMERA_RAW = (32803, 34892)


class Layout(NamedTuple):
    """What a TIFF file says of its first picture.

    Attributes:
      size: (W, H) as stored.
      bits: of a value.
      samples: number of bands.
      photometric: what the bands mean, such as `RGB`.
      kind: `UNSIGNED`, `SIGNED`, `FLOAT` or another sort of values.
      by_bands: whether each band is stored by itself.
      extra: marks of the bands beyond the colours.
      orientation: as in EXIF.
      raw: whether it is, or hides, a camera's raw data.
    """

    size: tuple[int, int]
    bits: int
    samples: int
    photometric: int
    kind: int
    by_bands: bool
    extra: tuple[int, ...]
    orientation: int
    raw: bool

    @property
    def dtype(self) -> str:
        """Name of the values' type."""
        return {UNSIGNED: "uint", SIGNED: "int", FLOAT: "float"}.get(self.kind, "unknown ") + str(self.bits)

    def __str__(self) -> str:
        bands = f"{self.samples} bands" if self.samples > 1 else "one band"
        return f"TIFF with {bands} of {self.dtype}" + (", band after band" if self.by_bands else "")


def is_tiff(head: bytes) -> bool:
    """Tells whether a file begins like TIFF."""
    return head.startswith(tuple(TiffImagePlugin.PREFIXES))


def read_tiff(file: BinaryIO, name: str, bands: Bands | None) -> Image.Image:
    """Reads the first picture of a TIFF file as upright 8-bit RGB.

    Args:
      file: at its beginning.
      name: for remarks.
      bands: see `fcn_jax.images.open_image`.

    Raises:
      ImageError: it is camera raw, or has values or colours that cannot be shown, or needs tifffile.
    """
    layout = _layout(file)
    if layout.raw:
        raise ImageError("is camera raw, which needs to be developed", hint="export it as TIFF or JPEG")
    check_pixels(*layout.size)
    if layout.photometric in OTHER_COLOURS or layout.bits < 8:
        if bands:
            raise ImageError(
                expected="bands to choose from", got=str(layout), hint="leave {bands} out for this picture"
            )
        return _by_pillow_alone(file, name, layout)
    if layout.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        got = f"{layout} of kind {layout.photometric}"
        raise ImageError(expected="grey values, colours or a palette", got=got, hint="export it as RGB")
    return Image.fromarray(_colours(file, name, layout, bands or _usual_bands(layout, name)))


def _usual_bands(layout: Layout, name: str) -> Bands:
    if layout.photometric == RGB:
        return (1, 2, 3)
    if layout.samples < 3:
        return (1,)
    if layout.samples > 3:
        raise ImageError(
            expected="colours", got=f"{layout}, which names none", hint="choose three with {bands}, as 3,2,1"
        )
    tell_once("three bands", "its three bands, of which it names no colours, are red, green and blue", name)
    return (1, 2, 3)


def _colours(file: BinaryIO, name: str, layout: Layout, bands: Bands) -> np.ndarray:
    """Returns (H, W, 3) uint8: the chosen bands, with a mask on white."""
    values = _values(file, layout, bands)
    colours = choose_bands(values, bands)
    own = 2**layout.bits - 1 if layout.kind == UNSIGNED and layout.bits in (10, 12, 14) else None
    colours = to_8_bits(colours, layout.dtype, name, own)
    if layout.photometric == WHITE_IS_ZERO:
        colours = 255 - colours
    place = 3 if layout.photometric == RGB else 1
    marks = layout.extra or (ALPHA[1:2] if layout.photometric == RGB else ())
    if place < values.shape[2] and place + 1 not in bands and set(marks[:1]) & set(ALPHA):
        colours = _on_white(colours, values[..., place], name)
    return np.ascontiguousarray(colours)


def _on_white(colours: np.ndarray, alpha: np.ndarray, name: str) -> np.ndarray:
    low, high = alpha.min(), alpha.max()
    if low == high:
        return colours
    if low == 0 and ((alpha == 0) | (alpha == high)).all():
        return np.where((alpha == 0)[..., None], np.uint8(255), colours)
    text = "its last band, although marked as transparency, is left out: it may be near infrared"
    tell_once("infrared", text, name)
    return colours


PATCHED = {2: ("LA", "LA"), 4: ("RGBA", "RGBA")} | {n: ("RGB", "RGB".ljust(n, "X")) for n in (5, 6)}
"""{bands: (mode, raw mode)} that make Pillow keep the bands as they are, whatever their marks; X: skip."""


AS_STORED = {"L;I": "L", "L;IR": "L;R"}
"""{raw mode that turns black into white: the same without that}."""


def _values(file: BinaryIO, layout: Layout, bands: Bands) -> np.ndarray:
    """Returns the bands that Pillow reads, or all, (H, W, C), upright."""
    if _pillow_is_right(layout, bands):
        try:
            if layout.bits == 16 and layout.samples >= 3:
                channels = [band - 1 for band in bands if band <= layout.samples]
                return values_of_16_bits(lambda change: _by_pillow(file, layout, change), channels)
            image = _by_pillow(file, layout, lambda mode: AS_STORED.get(mode, mode))
        except Image.UnidentifiedImageError:  # Pillow's table of layouts has gaps
            return _by_tifffile(file, layout)
        values = np.asarray(image)
        if values.dtype.itemsize * 8 == layout.bits:  # Pillow has no unsigned 32 bits and no signed 8
            values = values.view(np.dtype(layout.dtype).newbyteorder(values.dtype.byteorder))
        return values.reshape(image.height, image.width, -1)
    return _by_tifffile(file, layout)


def _pillow_is_right(layout: Layout, bands: Bands) -> bool:
    if layout.samples == 1:
        return layout.bits in (8, 12, 16, 32)
    if layout.kind != UNSIGNED:
        return False
    if layout.by_bands:
        return layout.bits == 8 and max(bands) <= 3 and not any(layout.extra)
    if layout.bits == 16:
        return layout.photometric == RGB and layout.samples <= 4
    return layout.bits == 8 and (layout.samples <= 4 or (layout.samples <= 6 and max(bands) <= 3))


def _by_pillow(file: BinaryIO, layout: Layout, change: Callable[[str], str]) -> Image.Image:
    file.seek(0)
    image: Any = Image.open(file, formats=["TIFF"])
    if layout.samples in PATCHED and not layout.by_bands:
        mode, raw = PATCHED[layout.samples]
        image._mode = mode
        image = with_raw_mode(image, lambda usual: change(raw + usual[len(raw) :]))
    else:
        image = with_raw_mode(image, change)
    image.load()
    return ImageOps.exif_transpose(image)


def _by_pillow_alone(file: BinaryIO, name: str, layout: Layout) -> Image.Image:
    file.seek(0)
    try:
        with Image.open(file, formats=["TIFF"]) as image:
            return to_rgb(image, name)
    except Image.UnidentifiedImageError as error:
        colours = OTHER_COLOURS.get(layout.photometric, "few bits")
        raise ImageError(
            expected="a TIFF that Pillow can decode", got=f"{layout} with {colours}", hint="export it as RGB"
        ) from error


def _by_tifffile(file: BinaryIO, layout: Layout) -> np.ndarray:
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            f"is a {layout}, which needs tifffile",
            hint="pip install 'fcn_jax[tiff]', or export it as RGB with 8 or 16 bits",
        ) from error
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        axes, values = page.axes, page.asarray()
    wanted = [axis for axis in "YXS" if axis in axes]
    values = values[tuple(slice(None) if axis in wanted else 0 for axis in axes)]
    values = values.transpose([[axis for axis in axes if axis in wanted].index(axis) for axis in wanted])
    return _upright(values.reshape(*values.shape[:2], -1), layout.orientation)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    rows, columns = UPRIGHT.get(orientation, (1, 1))
    return values[::rows, ::columns]


UPRIGHT = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""{orientation: steps through rows and columns, after 5 to 8 are transposed}."""


def _layout(file: BinaryIO) -> Layout:
    """Reads the tags of the first picture.

    Raises:
      Exception: of any kind, if they are damaged.
    """
    file.seek(0)
    head = file.read(8)
    if 43 in head[2:4]:  # BigTIFF
        head += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)

    def values(tag: int, default: tuple) -> tuple:
        value = tags.get(tag, default)
        return value if isinstance(value, tuple) else (value,)

    bits, kinds = values(TiffImagePlugin.BITSPERSAMPLE, (1,)), values(TiffImagePlugin.SAMPLEFORMAT, (1,))
    if len({*bits}) > 1 or len({*kinds}) > 1:
        raise ImageError(expected="bands of one type", got=f"bands of {bits} bits", hint="export it as RGB")
    photometric = int(tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0))
    reduced = bool(int(tags.get(254, 0)) & 1)
    return Layout(
        size=(int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])),
        bits=int(bits[0]),
        samples=int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)),
        photometric=photometric,
        kind=int(kinds[0]),
        by_bands=tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2,
        extra=tuple(map(int, values(TiffImagePlugin.EXTRASAMPLES, ()))),
        orientation=int(tags.get(274, 1)),
        raw=50706 in tags or photometric in CAMERA_RAW or (reduced and 330 in tags),  # 50706: DNG
    )
