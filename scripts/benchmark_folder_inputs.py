"""What scripts/benchmark_folder.py measures with: pictures of many sizes, random weights, a graph for ONNX.

All of it is the same in every run.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import fcn_jax
from fcn_jax.images import open_image
from fcn_jax.models.arrays import named_variables

RATIOS = (1, 5 / 4, 4 / 3, 3 / 2, 16 / 9)  # of cameras and screens
CROPPED = 0.04  # people crop: each ratio is up to so much larger or smaller
TRIES = 1000  # for each size

Size = tuple[int, int]
"""Width and height."""


def photo_size(random: np.random.RandomState, edges: Sequence[int], number: int) -> Size:
    """Draws the size of a photo; `edges` bound its longer edge. Every third one is a portrait."""
    longer = random.randint(edges[0], edges[1] + 1)
    ratio = RATIOS[number % len(RATIOS)] * random.uniform(1 - CROPPED, 1 + CROPPED)
    shorter = max(1, round(longer / max(ratio, 1 / ratio)))
    return (shorter, longer) if number % 3 == 2 else (longer, shorter)


def free_size(random: np.random.RandomState, edges: Sequence[int], number: int) -> Size:
    """Draws a size whose two edges vary independently."""
    width, height = random.randint(edges[0], edges[1] + 1, size=2)
    return int(width), int(height)


def draw_sizes(draw: Callable[..., Size], count: int, edges: Sequence[int]) -> list[Size]:
    """Draws `count` different sizes.

    Raises:
      ValueError: there are not so many between these edges.
    """
    random = np.random.RandomState(10)  # its streams are frozen for good
    found: dict[Size, None] = {}
    for _ in range(TRIES * count if edges[0] <= edges[1] else 0):
        found.setdefault(draw(random, edges, len(found)))
        if len(found) == count:
            return list(found)
    raise ValueError(f"--edges: expected bounds that allow {count} sizes, got {edges[0]} to {edges[1]}")


def find_photos(folder: Path) -> list[Path]:
    """Lists the JPEG and PNG files of a folder.

    Raises:
      ValueError: there are none.
    """
    found = sorted(folder.glob("*")) if folder.is_dir() else []
    photos = [path for path in found if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    if not photos:
        raise ValueError(f"--pictures: expected a folder with JPEG or PNG files, got {folder}")
    return photos


def write_pictures(folder: Path, sizes: list[Size], photos: list[Path]) -> None:
    """Writes a JPEG file of each size: the photos in turn, cropped and resized, or else smooth noise.

    Raises:
      ImageError: a photo cannot be read.
    """
    for number, size in enumerate(sizes):
        if photos:
            image = ImageOps.fit(open_image(photos[number % len(photos)]), size)
        else:
            image = smooth_noise(number, size)
        image.save(folder / f"{number:04}.jpg", quality=90)


def smooth_noise(seed: int, size: Size) -> Image.Image:
    """Draws soft blots of random colours, some 40 pixels wide."""
    blots = tuple(math.ceil(edge / 40) + 1 for edge in size)
    colours = np.random.RandomState(seed).randint(0, 256, (*blots[::-1], 3))
    return Image.fromarray(colours.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def save_random(model: fcn_jax.SegmentationModel, path: Path) -> None:
    """Saves a model with random weights and batch-norm statistics that keep activations near 1."""
    random = np.random.RandomState(0)
    for name, variable in named_variables(model).items():
        shape = variable[...].shape
        if isinstance(variable, fcn_jax.Fixed):
            continue
        if len(shape) == 4:
            values = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:3]))
        elif name.endswith((".scale", ".var")):
            values = random.uniform(0.5, 1.5, shape) * (0.3 if name.endswith(".bn3.scale") else 1)
        else:
            values = random.standard_normal(shape) * 0.3
        variable.set_value(values.astype(np.float32))
    fcn_jax.save_weights(model, path)


def export_onnx(model: str, weights: Path, path: Path) -> None:
    """Writes torchvision's network with dynamic height and width.

    The graph takes "images" (1, 3, h, w) and "picture" (H, W), whose shape is the size for its "labels".
    """
    import torch
    from torch_modules import build_module

    class Labels(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = build_module(model, str(weights))

        def forward(self, images: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
            logits = self.module(images)["out"]
            size = picture.shape[-2:]
            return torch.nn.functional.interpolate(logits, size=size, mode="bilinear").argmax(1)

    examples = torch.zeros(1, 3, 48, 64), torch.zeros(40, 50, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export")
        torch.onnx.export(
            Labels().eval(),
            examples,
            str(path),
            input_names=["images", "picture"],
            output_names=["labels"],
            dynamic_axes={
                "images": {2: "h", 3: "w"},
                "picture": {0: "H", 1: "W"},
                "labels": {1: "H", 2: "W"},
            },
            dynamo=False,
            opset_version=17,
        )
