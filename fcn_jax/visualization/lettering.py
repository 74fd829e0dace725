"""Text on pictures, in any script: ink colours, lettering, class names, and a legend in lines."""

import functools
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_jax.visualization import fonts

logger = logging.getLogger(__name__)

INK, PALE = (40, 40, 44), (110, 110, 116)
"""The colours of text on white, and of less important text."""

Entry = tuple[int | None, str]
"""An entry of a legend: (label, name), or (None, "and N more")."""


class Lettering:
    """Writes text of one size; each text in a font that has its letters.

    Letters that no font of this machine has are written as their Unicode numbers in brackets, so that no two
    names look alike; a log message says so, once for each script.

    Attributes:
      size: in pixels.
    """

    def __init__(self, size: float):
        self.size = size

    def length(self, text: str) -> float:
        """Returns the width of a text in pixels."""
        typeface, text = self._set(text)
        return typeface.getlength(text)

    def write(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, ink, anchor: str = "la"
    ) -> None:
        """Writes a text at a place (x, y); see Pillow for `ink` and `anchor`."""
        typeface, text = self._set(text)
        draw.text(place, text, ink, typeface, anchor=anchor)

    def _set(self, text: str) -> tuple[ImageFont.FreeTypeFont, str]:
        text = in_letters_of_a_font(text)
        typeface = fonts.font(self.size, text)
        assert typeface is not None, "each of its letters is in some font"
        return typeface, text if fonts.joins_letters() else _from_the_left(text)


@functools.lru_cache(maxsize=4096)
def in_letters_of_a_font(text: str) -> str:
    """Returns a text of letters that one font has; others become numbers, as "[0414 043E 043C]"."""
    text = unicodedata.normalize("NFC", text)
    if fonts.has_one(text):
        return text
    missing = {letter for letter in text if not fonts.has_one(letter)}
    missing = missing or {letter for letter in text if not fonts.is_in_pillows(letter)}
    for letter in sorted(missing):
        if name := unicodedata.name(letter, ""):  # undecodable bytes of a file name have none
            _tell(name.partition(" ")[0], text)
    lacking = "|".join(re.escape(letter) for letter in sorted(missing))
    return in_letters_of_a_font(re.sub(f"(?:{lacking})+", lambda found: _numbers(found[0]), text))


def _numbers(letters: str) -> str:
    return "[" + " ".join(f"{ord(letter):04X}" for letter in letters) + "]"


TOLD: set[str] = set()
"""Scripts of which a message said that there is no font."""


def _tell(script: str, text: str) -> None:
    if script in TOLD:
        return
    TOLD.add(script)
    logger.warning(
        "no font here has the %s letters of %r, so pictures show their Unicode numbers; install a font that "
        "has them, such as the package fonts-noto of Debian and Ubuntu",
        script,
        text,
    )


def _from_the_left(text: str) -> str:
    """Orders letters for a layout that knows only one direction, where some run from the right."""
    from_right = [unicodedata.bidirectional(letter) in ("R", "AL") for letter in text]
    if not any(from_right):
        return text
    turned = text[::-1]
    return re.sub(r"[0-9A-Za-z]+", lambda found: found[0][::-1], turned)


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


def shorten(text: str, lettering: Lettering, width: float) -> str:
    """Replaces the middle of a text that is wider than `width` pixels with dots."""
    text = in_letters_of_a_font(one_line(text))
    if lettering.length(text) <= width:
        return text
    text = f"{text[:250]}{text[-250:]}" if len(text) > 500 else text  # a letter is at least one pixel wide
    kept = len(text)
    while kept and lettering.length(_without_middle(text, kept)) > width:
        kept -= 1
    return _without_middle(text, kept)


def _without_middle(text: str, kept: int) -> str:
    end = kept // 2
    return f"{text[: kept - end]}...{text[len(text) - end :]}"


def legend_lines(
    entries: Iterable[Entry], colours: np.ndarray, lettering: Lettering, width: int
) -> Image.Image:
    """Draws colour squares with names on white, in as many lines as needed.

    Args:
      entries: from `legend_entries`.
      colours: (N, 3) uint8 by label.
      lettering: for the names; squares and lines grow with its size.
      width: of a line in pixels, at most, unless a single name is longer.

    Returns:
      An RGB image, as wide as its longest line.
    """
    side, line = round(lettering.size) + 1, round(1.7 * lettering.size)
    before, after = round(1.5 * side), round(1.2 * side)
    places: list[tuple[int, int, int | None, str]] = []
    left = top = longest = 0
    for index, name in entries:
        length = before + round(lettering.length(name))
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
        lettering.write(draw, (left + before, top + line / 2), name, INK, anchor="lm")
    return page
