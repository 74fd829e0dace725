"""Text on pictures: ink colours, fonts, class names, and a legend in lines."""

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, PALE = (40, 40, 44), (110, 110, 116)
"""The colours of text on white, and of less important text."""

Entry = tuple[int | None, str]
"""An entry of a legend: (label, name), or (None, "and N more")."""


def font(size: float) -> ImageFont.FreeTypeFont:
    """Returns Pillow's own font."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # with a size, never a bitmap


def one_line(text: str) -> str:
    """Replaces line breaks and tabs with spaces."""
    return " ".join(text.split())


def class_name(index: int, categories: Sequence[str]) -> str:
    """Returns the name of a label; beyond the categories "class N", or "void" for 255."""
    if index < len(categories):
        return one_line(categories[index])
    return "void" if index == 255 else f"class {index}"


def legend_entries(labels: Sequence[int], categories: Sequence[str], most: int) -> list[Entry]:
    """Makes an entry for each of the first `most` labels, and one that counts the others."""
    entries: list[Entry] = [(index, class_name(index, categories)) for index in labels[:most]]
    if len(labels) > most:
        entries.append((None, f"and {len(labels) - most} more"))
    return entries


def shorten(text: str, typeface: ImageFont.FreeTypeFont, width: float) -> str:
    """Replaces the middle of a text that is wider than `width` pixels with dots."""
    text = one_line(text)
    if typeface.getlength(text) <= width:
        return text
    text = f"{text[:250]}{text[-250:]}" if len(text) > 500 else text  # a letter is at least one pixel wide
    kept = len(text)
    while kept and typeface.getlength(_without_middle(text, kept)) > width:
        kept -= 1
    return _without_middle(text, kept)


def _without_middle(text: str, kept: int) -> str:
    end = kept // 2
    return f"{text[: kept - end]}...{text[len(text) - end :]}"


def legend_lines(
    entries: Iterable[Entry], colours: np.ndarray, typeface: ImageFont.FreeTypeFont, width: int
) -> Image.Image:
    """Draws colour squares with names on white, in as many lines as needed.

    Args:
      entries: from `legend_entries`.
      colours: (N, 3) uint8 by label.
      typeface: for the names; squares and lines grow with its size.
      width: of a line in pixels, at most, unless a single name is longer.

    Returns:
      An RGB image, as wide as its longest line.
    """
    side, line = round(typeface.size) + 1, round(1.7 * typeface.size)
    before, after = round(1.5 * side), round(1.2 * side)
    places: list[tuple[int, int, int | None, str]] = []
    left = top = longest = 0
    for index, name in entries:
        length = before + round(typeface.getlength(name))
        if left and left + length > width:
            left, top = 0, top + line
        places.append((left, top, index, name))
        longest = max(longest, left + length)
        left += length + after
    page = Image.new("RGB", (max(1, longest), top + line), "white")
    draw = ImageDraw.Draw(page)
    for left, top, index, name in places:
        square = (left, top + (line - side) // 2, left + side - 1, top + (line + side) // 2 - 1)
        if index is not None:
            draw.rectangle(square, fill=tuple(colours[index].tolist()), outline=PALE)
        draw.text((left + before, top + line / 2), name, INK, typeface, anchor="lm")
    return page
