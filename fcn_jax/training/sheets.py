"""A sheet of validation pictures: image, truth and prediction side by side, with the classes' colours."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_jax.metrics import ConfusionMatrix
from weights_converter.files import replacing

WIDTH, GAP, HEADER, CAPTION = 320, 12, 30, 24
INK, PALE = (40, 40, 44), (110, 110, 116)
MOST_CLASSES = 24


def draw_sheet(
    rows: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    categories: Sequence[str],
    palette: np.ndarray,
    path: str | os.PathLike,
) -> None:
    """Draws a row for each picture and writes the sheet as PNG, whole or not at all.

    Args:
      rows: at least one; for each picture its name, the image (H, W, 3), the truth (H, W) and the prediction
        (H, W), all uint8.
      categories: names of the classes by index.
      palette: (256, 3) uint8 colours by label.
      path: the file to write.
    """
    heights = [round(WIDTH * image.shape[0] / image.shape[1]) for _, image, _, _ in rows]
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    names = _shown_classes(rows, categories)
    width = GAP + 3 * (WIDTH + GAP)
    legend = _legend_lines(names, small, width - 2 * GAP)
    height = HEADER + sum(heights) + CAPTION * len(rows) + 22 * len(legend) + GAP
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((GAP + column * (WIDTH + GAP) + WIDTH / 2, HEADER / 2), title, INK, large, anchor="mm")
    top = HEADER
    for (name, image, truth, prediction), row_height in zip(rows, heights, strict=True):
        size = WIDTH, row_height
        panes = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)]
        panes += [
            Image.fromarray(palette[labels]).resize(size, Image.Resampling.NEAREST)
            for labels in (truth, prediction)
        ]
        for column, pane in enumerate(panes):
            page.paste(pane, (GAP + column * (WIDTH + GAP), top))
        caption = f"{name}: mean IoU {_mean_iou(truth, prediction, len(categories))}"
        draw.text((GAP, top + row_height + 4), caption, PALE, small)
        top += row_height + CAPTION
    for line in legend:
        left = GAP
        for index, name in line:
            colour = tuple(palette[index].tolist())
            draw.rectangle((left, top + 3, left + 14, top + 15), fill=colour, outline=PALE)
            draw.text((left + 20, top + 9), name, INK, small, anchor="lm")
            left += _entry_width(name, small)
        top += 22
    with replacing(path) as temporary:
        page.save(temporary, optimize=True)


def _mean_iou(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> str:
    confusion = ConfusionMatrix(num_classes)
    confusion.update(truth, prediction)
    score = confusion.scores().mean_iou
    return "-" if np.isnan(score) else f"{score:.1%}"


def _shown_classes(rows, categories: Sequence[str]) -> list[tuple[int, str]]:
    found = np.unique(np.concatenate([np.unique(labels) for row in rows for labels in row[2:]]))
    names = [(int(i), categories[i] if i < len(categories) else "void") for i in found]
    return names[:MOST_CLASSES]


def _entry_width(name: str, font: ImageFont.FreeTypeFont) -> int:
    return 20 + round(font.getlength(name)) + 16


def _legend_lines(names, font, width: int) -> list[list[tuple[int, str]]]:
    lines, left = [[]], 0
    for index, name in names:
        if lines[-1] and left + _entry_width(name, font) > width:
            lines.append([])
            left = 0
        lines[-1].append((index, name))
        left += _entry_width(name, font)
    return lines
