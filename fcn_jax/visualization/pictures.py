"""Draws a result: as label image, overlay or heat map, or several side by side.

Text and lines grow with the picture. Legend and colour bar lie in the corner where they hide least, and are
left out if they do not fit.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.errors import ArrayError
from fcn_jax.images import open_image
from fcn_jax.visualization.panels import colour_bar, legend, place_panel, side_by_side

_INFERNO = "0000041b0c414a0c6b781c6da52c60cf4446ed6925fb9b06f7d13dfcffa4"
"""Matplotlib's "inferno" (CC0) at ten even steps: lightness rises evenly, also for the colour-blind."""


def label_image(labels: np.ndarray, *, colours: np.ndarray | None = None) -> Image.Image:
    """Makes a label image: a palette image whose PNG file keeps the indices and shows the colours.

    Args:
      labels: (H, W) uint8.
      colours: (256, 3) uint8 by label; PASCAL VOC's if not given.

    Returns:
      A Pillow image of mode P with 256 colours.

    Raises:
      ArrayError: labels or colours have another dtype or shape.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ArrayError(expected="uint8 labels (H, W)", got=f"{labels.dtype} {labels.shape}")
    image = Image.fromarray(labels)
    image.putpalette(_checked_colours(colours).tobytes())
    return image


def overlay(
    image,
    labels: np.ndarray,
    categories: Sequence[str] = (),
    *,
    alpha: float = 0.5,
    background: int | None = 0,
    colours: np.ndarray | None = None,
) -> Image.Image:
    """Paints classes over a picture, with white lines where they meet.

    Args:
      image: what `fcn_jax.images.open_image` takes.
      labels: (H, W) uint8, of the picture's size.
      categories: names by index, for a legend of the classes found, largest first; () draws no legend.
      alpha: opacity of the paint, in [0, 1].
      background: the class that is not painted, or None.
      colours: (256, 3) uint8 by label; PASCAL VOC's if not given.

    Returns:
      A Pillow RGB image of the picture's size.

    Raises:
      ArrayError: the sizes differ, or see `label_image`.
    """
    image = open_image(image)
    _check_size(image, labels)
    colours = _checked_colours(colours)
    painted = Image.blend(image, label_image(labels, colours=colours).convert("RGB"), alpha)
    image.paste(painted, mask=_mask(labels != background))
    image.paste("white", mask=_mask(_boundaries(labels, thickness=max(1, round(min(image.size) / 300)))))
    if categories:
        panel = legend(labels, categories, colours, background, image.size)
        place_panel(image, panel, busy=labels != background)
    return image


def heatmap(image, probability: np.ndarray, name: str = "") -> Image.Image:
    """Draws a probability over a grey picture: dark for 0, bright yellow for 1.

    Args:
      image: what `fcn_jax.images.open_image` takes.
      probability: (H, W) float in [0, 1], of the picture's size.
      name: the class, written above the colour bar.

    Returns:
      A Pillow RGB image of the picture's size.

    Raises:
      ArrayError: the sizes differ.
    """
    image = open_image(image)
    _check_size(image, probability)
    scale = _inferno()
    heat = Image.fromarray(np.rint(probability.clip(0, 1) * 255).astype(np.uint8))
    heat.putpalette(scale.tobytes())
    image = Image.blend(image.convert("L").convert("RGB"), heat.convert("RGB"), 0.6)
    place_panel(image, colour_bar(scale, name, image.size), busy=probability)
    return image


def figure(
    image,
    labels: np.ndarray,
    categories: Sequence[str] = (),
    *,
    heat: np.ndarray | None = None,
    heat_name: str | None = None,
    title: str | None = None,
    background: int | None = 0,
    colours: np.ndarray | None = None,
) -> Image.Image:
    """Draws picture, overlay and heat map side by side with captions, each 400 to 800 pixels long.

    Args:
      image: what `fcn_jax.images.open_image` takes.
      labels: (H, W) uint8, of the picture's size.
      categories: names by index, for the legend.
      heat: (H, W) float in [0, 1], of the picture's size; None leaves the third picture out.
      heat_name: the class that `heat` belongs to.
      title: caption of the picture.
      background: the class that is not painted, or None.
      colours: (256, 3) uint8 by label; PASCAL VOC's if not given.

    Returns:
      A Pillow RGB image.

    Raises:
      ArrayError: see `overlay` and `heatmap`.
    """
    image = open_image(image)
    _check_size(image, labels)
    scale = np.clip(max(image.size), 400, 800) / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    labels = np.asarray(label_image(labels).resize(size, Image.Resampling.NEAREST))
    panes = [
        (title or "picture", image),
        ("classes", overlay(image, labels, categories, background=background, colours=colours)),
    ]
    if heat is not None:
        resized = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        caption = f"probability of {heat_name}" if heat_name else "probability"
        panes.append((caption, heatmap(image, np.asarray(resized), heat_name or "")))
    return side_by_side(panes)


def _inferno() -> np.ndarray:
    """Returns the colour map as (256, 3) uint8."""
    anchors = np.frombuffer(bytes.fromhex(_INFERNO), np.uint8).reshape(-1, 3)
    steps = np.linspace(0, 255, len(anchors))
    channels = [np.interp(np.arange(256), steps, channel) for channel in anchors.T]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def _checked_colours(colours: np.ndarray | None) -> np.ndarray:
    if colours is None:
        return voc_palette(256)
    if colours.shape != (256, 3) or colours.dtype != np.uint8:
        raise ArrayError(subject="colours", expected="uint8 (256, 3)", got=f"{colours.dtype} {colours.shape}")
    return colours


def _check_size(image: Image.Image, values: np.ndarray) -> None:
    if values.shape != (image.height, image.width):
        size = image.height, image.width
        raise ArrayError(expected=f"values of the picture's size {size}", got=str(values.shape))


def _mask(chosen: np.ndarray) -> Image.Image:
    return Image.fromarray(chosen.astype(np.uint8) * 255)


def _boundaries(labels: np.ndarray, thickness: int) -> np.ndarray:
    """Marks the boundaries between labels with lines of `thickness` pixels."""
    edges = np.zeros(labels.shape, bool)
    height, width = (edge - thickness for edge in labels.shape)
    half = thickness // 2
    if width > 0:
        edges[:, half : half + width] |= labels[:, :width] != labels[:, thickness:]
    if height > 0:
        edges[half : half + height] |= labels[:height] != labels[thickness:]
    return edges
