"""Turns the colours of label files into class indices.

A label file may show its classes as colours, by a table that somebody gives. Or it has a palette: its values
are indices, but programs that save pictures put the same colours in different orders. Then the colours say
what a pixel is, and the palette of the first file says which index a colour has.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.datasets.class_lists import Colour
from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, shown
from fcn_jax.datasets.faults import Fault
from fcn_jax.datasets.files import label_file_opened, own_values


@dataclasses.dataclass(frozen=True)
class ByTable:
    """Reads label files by a table of colours; a function of a path, for `FileDataset`.

    A grey file has indices already, unless every colour of the table is grey.

    Args:
      colours: of the classes, in order.
      source: the file that lists them, for messages.
    """

    colours: tuple[Colour, ...]
    source: Path

    def __call__(self, path: Path) -> np.ndarray:
        """Reads (H, W) class indices; integers of 8 bits, or more if a grey file has more.

        Raises:
          DatasetError: the file is missing or damaged, or has a colour that the table lacks.
        """
        with label_file_opened(path) as image:
            if image.mode == "P" and (palette := palette_of_file(image)) is not None:
                return self._of_palette(np.asarray(image), palette)
            if image.mode in ("RGB", "RGBA", "RGBX"):
                return self._of_colours(_opaque(image))
            if image.mode in ("1", "L", "P") and all(len(set(colour)) == 1 for colour in self.colours):
                return self._of_colours(np.asarray(image.convert("RGB")))
            return own_values(image)

    def _of_palette(self, values: np.ndarray, palette: np.ndarray) -> np.ndarray:
        padded = np.zeros((256, 3), np.uint8)
        padded[: len(palette)] = palette
        used = np.unique(values)
        table = np.zeros(256, np.uint8)
        table[used] = self._of_colours(padded[used][None], counts=np.bincount(values.ravel())[used])[0]
        return table[values]

    def _of_colours(self, pixels: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
        codes = colour_codes(pixels)
        known = colour_codes(np.array(self.colours, np.uint8))
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
        wrong = known[order][place] != codes
        if wrong.any():
            raise self._unknown(pixels[wrong], None if counts is None else counts[wrong.ravel()])
        return order.astype(np.uint8)[place]

    def _unknown(self, colours: np.ndarray, counts: np.ndarray | None) -> DatasetError:
        found, each = np.unique(colours.reshape(-1, 3), axis=0, return_counts=True)
        pixels = int((each if counts is None else counts).sum())
        return DatasetError(
            fault=Fault.VALUE,
            expected=f"the colours that {self.source.name} lists",
            got=f"{shown(map(tuple, found.tolist()), most=4)} in {pixels:,} pixels",
            hint=f"add these to {self.source.name}, or save the labels without smoothed edges",
        )


@dataclasses.dataclass(frozen=True)
class ByFirstPalette:
    """Reads label files with palettes by the palette of the first; a function of a path, for `FileDataset`.

    A file that has the first one's palette, or none, keeps its values. So does one whose colours the first
    palette has not: then only the values can be meant. If colours stand at other places, they decide.

    Args:
      palette: (n, 3) uint8 colours of the first label file, as bytes.
      first: the first label file.
    """

    palette: bytes
    first: Path

    def __call__(self, path: Path) -> np.ndarray:
        """Reads (H, W) values as the first label file has them.

        Raises:
          DatasetError: see `read_label_image`; or some colours are those of other values in the first file,
            and others are unknown.
        """
        with label_file_opened(path) as image:
            values = own_values(image)
            if image.mode != "P" or (palette := palette_of_file(image)) is None:
                return values
            if palette.tobytes() == self.palette:
                return values
            return self._translated(values, palette)

    def _translated(self, values: np.ndarray, palette: np.ndarray) -> np.ndarray:
        first = np.frombuffer(self.palette, np.uint8).reshape(-1, 3)
        place = {colour: value for value, colour in reversed(list(enumerate(map(tuple, first.tolist()))))}
        used = [value for value in np.unique(values).tolist() if value < len(palette)]
        colour = {value: tuple(palette[value].tolist()) for value in used}
        other = [v for v in used if v >= len(first) or colour[v] != tuple(first[v].tolist())]
        if not any(colour[value] in place for value in other):
            return values
        unknown = [value for value in other if colour[value] not in place and value != IGNORE_LABEL]
        if unknown:
            raise DatasetError(
                fault=Fault.MIXED,
                expected=f"the colours of {self.first.name}, in whatever order",
                got=f"some of them at other values, and {shown((colour[v] for v in unknown), most=4)}",
                hint="list the classes with their colours in classes.txt, as in: road 128 64 128",
            )
        table = np.arange(256, dtype=np.uint8)
        for value in other:
            if colour[value] in place:
                table[value] = place[colour[value]]
        return table[values]


def palette_of_file(image: Image.Image) -> np.ndarray | None:
    """Returns the palette of a picture of mode P: (n, 3) uint8; None if it has only grey."""
    if image.palette is None:
        return None
    mode, data = image.palette.getdata()
    if mode not in ("RGB", "RGBA"):  # as a file holds it, until the pixels are read
        mode, data = "RGB", bytes(image.getpalette("RGB") or ())
    colours = np.frombuffer(bytes(data), np.uint8).reshape(-1, len(mode))[:256, :3]
    return colours if (colours[:, :1] != colours).any() else None


def first_palette(path: Path) -> np.ndarray | None:
    """Reads the palette of a label file: (n, 3) uint8; None if it has none, only grey, or cannot be read."""
    with contextlib.suppress(Exception), Image.open(path) as image:  # reading the labels raises the error
        if image.mode == "P":
            return palette_of_file(image)
    return None


def colour_codes(colours: np.ndarray) -> np.ndarray:
    """Returns one int32 for each colour: (..., 3) uint8 becomes (...)."""
    return colours[..., 0].astype(np.int32) << 16 | colours[..., 1].astype(np.int32) << 8 | colours[..., 2]


def class_palette(colours: np.ndarray | Sequence[Colour] | None) -> np.ndarray:
    """Returns (256, 3) uint8 colours by label: the given (n, 3) ones, then PASCAL VOC's."""
    palette = voc_palette(256)
    if colours is not None:
        palette[: len(colours)] = np.array(colours, np.uint8)
    return palette


def _opaque(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    if image.mode == "RGBA" and ((pixels[..., 3] > 0) & (pixels[..., 3] < 255)).any():
        raise DatasetError(
            fault=Fault.LABELS,
            expected="labels in plain colours",
            got="half transparent pixels",
            hint="save the labels without transparency",
        )
    return pixels[..., :3]
