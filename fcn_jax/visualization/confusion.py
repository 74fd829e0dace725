"""Draws a confusion matrix: rows are truth, columns prediction; the shares of each row add up to 100 %."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcn_jax.errors import ArrayError
from fcn_jax.visualization.lettering import INK, PALE, Lettering, shorten

EMPTY = (236, 236, 238)
LIGHT, DARK = np.array((240, 245, 252)), np.array((20, 70, 140))
LONGEST_NAME = 300  # pixels


def confusion_picture(counts: np.ndarray, categories: Sequence[str]) -> Image.Image:
    """Draws a confusion matrix.

    Args:
      counts: (C, C) integers; rows are labels, columns predictions.
      categories: C names.

    Returns:
      A Pillow RGB image. A class that does not occur has a grey row.

    Raises:
      ArrayError: the matrix is not square, or its rows and the names differ in number.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(categories),) * 2:
        raise ArrayError(expected=f"counts ({len(categories)}, {len(categories)})", got=str(counts.shape))
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    cell = 44 if len(categories) <= 24 else 24
    lettering, small = Lettering(14), Lettering(12)
    names = [shorten(name, lettering, LONGEST_NAME) for name in categories]
    margin = 20 + round(max(lettering.length(name) for name in names))
    side = cell * len(names)
    page = Image.new("RGB", (margin + side + 20, margin + side + 40), "white")
    draw = ImageDraw.Draw(page)
    for row, name in enumerate(names):
        middle = margin + row * cell + cell / 2
        lettering.write(draw, (margin - 8, middle), name, INK, anchor="rm")
        _write_upwards(page, name, lettering, (round(middle), margin - 8))
        for column in range(len(names)):
            share = shares[row, column]
            left, top = margin + column * cell, margin + row * cell
            colour = tuple(np.rint(LIGHT + (DARK - LIGHT) * share).astype(int).tolist())
            box = (left, top, left + cell - 2, top + cell - 2)
            draw.rectangle(box, colour if totals[row, 0] else EMPTY)
            if share >= 0.005 and cell > 30:
                ink = "white" if share > 0.45 else INK
                middle_of_cell = (left + cell / 2 - 1, top + cell / 2 - 1)
                small.write(draw, middle_of_cell, f"{share:.0%}", ink, anchor="mm")
    caption = "rows: truth, columns: prediction, in percent of the row's pixels"
    small.write(draw, (page.width / 2, page.height - 20), caption, PALE, anchor="mm")
    return page


def _write_upwards(page: Image.Image, text: str, lettering: Lettering, foot: tuple[int, int]) -> None:
    strip = Image.new("RGB", (round(lettering.length(text)) + 2, 18), "white")
    lettering.write(ImageDraw.Draw(strip), (0, 9), text, INK, anchor="lm")
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    page.paste(turned, (foot[0] - turned.width // 2, foot[1] - turned.height))
