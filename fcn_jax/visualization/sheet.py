"""Draws a sheet: each row has a picture, truth and prediction; a legend stands below."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.visualization.lettering import INK, PALE, Lettering, legend_entries, legend_lines, shorten
from weights_converter.files import replacing

WIDTH, GAP, HEADER, CAPTION = 320, 12, 30, 32
MOST_CLASSES = 24


@dataclasses.dataclass(frozen=True, eq=False)
class SheetRow:
    """A row of the sheet.

    Attributes:
      name: of the picture, written below it.
      image: (H, W, 3) uint8.
      truth: (H, W) uint8 labels.
      prediction: (H, W) uint8 labels.
      note: a few words written after the name, such as a score.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    note: str = ""

    def __post_init__(self):
        if not self.image.shape[:2] == self.truth.shape == self.prediction.shape:
            raise ArrayError(
                subject=self.name,
                expected=f"truth and prediction of the picture's size {self.image.shape[:2]}",
                got=f"{self.truth.shape} and {self.prediction.shape}",
            )


def draw_sheet(
    rows: Sequence[SheetRow], categories: Sequence[str], colours: np.ndarray, path: str | os.PathLike
) -> None:
    """Draws the sheet and writes it as PNG, whole or not at all.

    Args:
      rows: at least one.
      categories: names of the classes by index.
      colours: (256, 3) uint8 by label.
      path: the file to write.

    Raises:
      SettingError: there are no rows.
      OSError: the file cannot be written.
    """
    if not rows:
        raise SettingError(expected="at least one picture for the sheet", got="none")
    sizes = [_pane_size(row.image) for row in rows]
    small = Lettering(13)
    width = GAP + 3 * (WIDTH + GAP)
    legend = legend_lines(sheet_entries(rows, categories), colours, small, width - 2 * GAP)
    height = HEADER + sum(height for _, height in sizes) + CAPTION * len(rows) + legend.height + GAP
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(("picture", "truth", "prediction")):
        place = (GAP + column * (WIDTH + GAP) + WIDTH / 2, HEADER / 2)
        Lettering(17).write(draw, place, title, INK, anchor="mm")
    top = HEADER
    for row, size in zip(rows, sizes, strict=True):
        panes = [Image.fromarray(row.image).resize(size, Image.Resampling.BICUBIC)]
        for labels in (row.truth, row.prediction):
            panes.append(Image.fromarray(colours[labels]).resize(size, Image.Resampling.NEAREST))
        for column, pane in enumerate(panes):
            page.paste(pane, (GAP + column * (WIDTH + GAP) + (WIDTH - size[0]) // 2, top))
        note = f": {row.note}" if row.note else ""
        caption = shorten(row.name, small, width - 2 * GAP - small.length(note)) + note
        small.write(draw, (GAP, top + size[1] + 4), caption, PALE)
        top += size[1] + CAPTION
    page.paste(legend, (GAP, top))
    with replacing(path) as temporary:
        page.save(temporary, optimize=True)


def sheet_entries(rows: Sequence[SheetRow], categories: Sequence[str]) -> list[tuple[int | None, str]]:
    """Returns the entries of the legend: the labels in truths or predictions, with names."""
    found = np.unique(
        np.concatenate([np.unique(each) for row in rows for each in (row.truth, row.prediction)])
    )
    return legend_entries(found.tolist(), categories, MOST_CLASSES)


def _pane_size(image: np.ndarray) -> tuple[int, int]:
    """Returns (W, H): as wide as the column, but never higher than twice the column's width."""
    height, width = image.shape[:2]
    scale = min(WIDTH / width, 2 * WIDTH / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
