"""Legend, colour bar and captions, on or beside pictures. See `lettering` for the fonts."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcn_jax.visualization.lettering import INK, Lettering, legend_entries, shorten

_PANEL = (20, 20, 24, 200)
_WHITE = (255, 255, 255, 255)
_MAX_ROWS = 10
MOST_WIDTH = 0.6
"""Share of a picture's width that a panel may take; longer names are shortened."""


def legend(
    labels: np.ndarray,
    categories: Sequence[str],
    colours: np.ndarray,
    background: int | None,
    picture_size: tuple[int, int],
) -> Image.Image | None:
    """Draws the classes found, the largest first, with their share of the pixels.

    Args:
      labels: (H, W) uint8.
      categories: names by index; labels beyond them are named "class N", or "void" for 255.
      colours: (256, 3) uint8.
      background: the class left out, or None.
      picture_size: (W, H) in pixels of the picture that the legend lies on.

    Returns:
      An RGBA image, or None if nothing was found.
    """
    pixels = np.zeros(256, np.int64)
    for row in labels:  # bincount makes a 64-bit copy
        pixels += np.bincount(row, minlength=256)
    found = np.argsort(-pixels, kind="stable").tolist()
    found = [index for index in found if pixels[index] and index != background]
    if not found:
        return None
    rows = [
        (index, name, "" if index is None else _percent(pixels[index] / labels.size))
        for index, name in legend_entries(found, categories, _MAX_ROWS)
    ]
    em, lettering = _lettering(picture_size)
    share_width = max(lettering.length(share) for _, _, share in rows)
    room = MOST_WIDTH * picture_size[0] - 4.1 * em - share_width
    if room > 4 * em:
        rows = [(index, shorten(name, lettering, room), share) for index, name, share in rows]
    name_width = max(lettering.length(name) for _, name, _ in rows)
    line = round(1.5 * em)
    width = round(0.8 * em + 1.5 * em + name_width + em + share_width + 0.8 * em)
    panel, draw = _new_panel(width, round(0.8 * em) + line * len(rows), em)
    for number, (index, name, share) in enumerate(rows):
        middle = round(0.4 * em) + line * number + line // 2
        if index is not None:
            half = round(0.45 * em)
            left = round(0.8 * em)
            draw.rectangle(
                (left, middle - half, left + 2 * half, middle + half),
                fill=(*colours[index].tolist(), 255),
                outline=_WHITE,
                width=max(1, em // 14),
            )
        lettering.write(draw, (2.3 * em, middle), name, _WHITE, anchor="lm")
        lettering.write(draw, (width - 0.8 * em, middle), share, _WHITE, anchor="rm")
    return panel


def colour_bar(colours: np.ndarray, name: str, picture_size: tuple[int, int]) -> Image.Image:
    """Draws a colour scale from 0 % to 100 %, with a name above it.

    Args:
      colours: (256, 3) uint8, from the colour for 0 to the colour for 1.
      name: what is measured, or "".
      picture_size: (W, H) in pixels of the picture that the bar lies on.

    Returns:
      An RGBA image.
    """
    em, lettering = _lettering(picture_size)
    margin, bar = round(0.7 * em), (round(9 * em), round(0.9 * em))
    name = shorten(name, lettering, max(bar[0], MOST_WIDTH * picture_size[0] - 2 * margin - 1))
    width = 2 * margin + max(bar[0], round(lettering.length(name)))
    top = margin + (round(1.5 * em) if name else 0)
    panel, draw = _new_panel(width, top + bar[1] + round(1.7 * em) + margin // 2, em)
    if name:
        lettering.write(draw, (margin, margin), name, _WHITE, anchor="lt")
    strip = Image.fromarray(colours[None]).resize(bar, Image.Resampling.BILINEAR)
    panel.paste(strip, (margin, top))
    draw.rectangle((margin, top, margin + bar[0], top + bar[1]), outline=_WHITE, width=max(1, em // 14))
    below = top + bar[1] + round(0.4 * em)
    for share, anchor in ((0, "lt"), (0.5, "mt"), (1, "rt")):
        lettering.write(draw, (margin + share * bar[0], below), f"{share:.0%}", _WHITE, anchor=anchor)
    return panel


def place_panel(image: Image.Image, panel: Image.Image | None, busy: np.ndarray) -> None:
    """Puts a panel on a picture, in the corner where the sum of `busy` is smallest.

    Does nothing if the panel is None, or higher than 3/4 or wider than 3/5 of the picture.

    Args:
      image: RGB; it is changed.
      panel: RGBA.
      busy: (H, W) bool or float, of the picture's size.
    """
    if panel is None or panel.width > MOST_WIDTH * image.width or panel.height > 0.75 * image.height:
        return
    margin = round(min(image.size) / 60)
    right, bottom = image.width - panel.width - margin, image.height - panel.height - margin
    corners = [(margin, bottom), (right, bottom), (right, margin), (margin, margin)]

    def hidden(corner):
        left, top = corner
        return float(busy[top : top + panel.height, left : left + panel.width].sum())

    image.paste(panel, min(corners, key=hidden), panel)


def side_by_side(panes: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Puts pictures of one size in a row on white, each above its caption."""
    width, height = panes[0][1].size
    em = max(14, round(min(width, height) / 26))
    lettering = Lettering(em)
    gap = em
    page = Image.new("RGB", (gap + (width + gap) * len(panes), gap + height + round(2.4 * em)), "white")
    draw = ImageDraw.Draw(page)
    for number, (caption, pane) in enumerate(panes):
        left = gap + (width + gap) * number
        page.paste(pane, (left, gap))
        middle = (left + width / 2, gap + height + 1.2 * em)
        lettering.write(draw, middle, shorten(caption, lettering, width), INK, anchor="mm")
    return page


def _lettering(picture_size: tuple[int, int]) -> tuple[int, Lettering]:
    em = max(11, round(min(picture_size) / 26))
    return em, Lettering(em)


def _new_panel(width: int, height: int, em: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    panel = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(panel)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=em // 3, fill=_PANEL)
    return panel, draw


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"
