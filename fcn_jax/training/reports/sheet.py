"""A sheet of validation pictures: image, truth and prediction side by side, with the classes' colours."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_jax.evaluation.metrics import ConfusionMatrix
from weights_converter.files import replacing

WIDTH, GAP, HEADER, CAPTION = 320, 12, 30, 32
INK, PALE = (40, 40, 44), (110, 110, 116)
MOST_CLASSES, MOST_LETTERS = 24, 70


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

    Raises:
      ValueError: no row; or the sizes within a row differ; or a prediction is no class.
    """
    if not rows:
        raise ValueError("expected at least one picture for the sheet, got none")
    for name, image, truth, prediction in rows:
        if not image.shape[:2] == truth.shape == prediction.shape:
            raise ValueError(
                f"{name}: expected truth and prediction of the picture's {image.shape[:2]}, "
                f"got {truth.shape} and {prediction.shape}"
            )
    sizes = [_pane_size(image) for _, image, _, _ in rows]
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    names = _shown_classes(rows, categories)
    width = GAP + 3 * (WIDTH + GAP)
    legend = _legend_lines(names, small, width - 2 * GAP)
    height = HEADER + sum(height for _, height in sizes) + CAPTION * len(rows) + 22 * len(legend) + GAP
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(("image", "truth", "prediction")):
        draw.text((GAP + column * (WIDTH + GAP) + WIDTH / 2, HEADER / 2), title, INK, large, anchor="mm")
    top = HEADER
    for (name, image, truth, prediction), size in zip(rows, sizes, strict=True):
        panes = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)]
        panes += [
            Image.fromarray(palette[labels]).resize(size, Image.Resampling.NEAREST)
            for labels in (truth, prediction)
        ]
        for column, pane in enumerate(panes):
            page.paste(pane, (GAP + column * (WIDTH + GAP) + (WIDTH - size[0]) // 2, top))
        caption = f"{_shorten(name)}: mean IoU {_mean_iou(truth, prediction, len(categories))}"
        draw.text((GAP, top + size[1] + 4), caption, PALE, small)
        top += size[1] + CAPTION
    for line in legend:
        left = GAP
        for index, name in line:
            if index is not None:
                colour = tuple(palette[index].tolist())
                draw.rectangle((left, top + 3, left + 14, top + 15), fill=colour, outline=PALE)
            draw.text((left + 20, top + 9), name, INK, small, anchor="lm")
            left += _entry_width(name, small)
        top += 22
    with replacing(path) as temporary:
        page.save(temporary, optimize=True)


def _pane_size(image: np.ndarray) -> tuple[int, int]:
    """(W, H): as wide as the column, or narrower where it would be more than twice as high as wide."""
    height, width = image.shape[:2]
    scale = min(WIDTH / width, 2 * WIDTH / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _mean_iou(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> str:
    confusion = ConfusionMatrix(num_classes)
    confusion.update(truth, prediction)
    score = confusion.scores().mean_iou
    return "-" if np.isnan(score) else f"{score:.1%}"


def _shorten(name: str) -> str:
    half = MOST_LETTERS // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}...{name[-half:]}"


def _shown_classes(rows, categories: Sequence[str]) -> list[tuple[int | None, str]]:
    """The labels that occur and their names; how many more there are stands beside None."""
    found = np.unique(np.concatenate([np.unique(labels) for row in rows for labels in row[2:]])).tolist()
    names = [(index, _name(index, categories)) for index in found[:MOST_CLASSES]]
    return names + [(None, f"and {len(found) - MOST_CLASSES} more")] * (len(found) > MOST_CLASSES)


def _name(index: int, categories: Sequence[str]) -> str:
    if index < len(categories):
        return categories[index]
    return "void" if index == 255 else f"class {index}"


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
