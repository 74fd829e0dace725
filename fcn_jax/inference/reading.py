"""Reads pictures ahead of the model, in threads, and prepares what the model sees of them."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from PIL import Image

from fcn_jax.bands import Bands, open_bands, preview, resize_bands
from fcn_jax.images import PATH, Picture, open_image
from fcn_jax.inference.plan import Plan, Planner
from fcn_jax.multiband import Multiband
from fcn_jax.transforms import Preset

READERS = min(8, os.cpu_count() or 1)
"""Threads that read pictures; Pillow and NumPy release Python's lock."""

Source = TypeVar("Source")
Result = TypeVar("Result")


class Loaded(NamedTuple):
    """A picture and what the model sees of it.

    Attributes:
      path: of the picture, or None.
      image: RGB, upright; of a picture with other channels, a preview.
      plans: one for each scale.
      inputs: for each plan the image for the model, (h, w, C) float32; for tiles the pixels as they are,
        since a large picture in float32 fills memory, and `normalize` is left to do.
    """

    path: Path | None
    image: Image.Image
    plans: list[Plan]
    inputs: list[np.ndarray]


def load(source: Picture, planner: Planner) -> Loaded:
    """Reads a picture and prepares it.

    With a preset for any channels, `Multiband`, the picture is read as stored.

    Raises:
      ImageError: see `open_image`, `open_bands` and `Planner.plans`.
    """
    path = Path(source) if isinstance(source, PATH) else None
    transforms = planner.transforms
    if isinstance(transforms, Multiband):
        bands = open_bands(_of_bands(source), transforms.channels)
        plans = planner.plans((bands.shape[0], bands.shape[1]), path)
        return Loaded(path, preview(bands), plans, [_bands_input(bands, plan, transforms) for plan in plans])
    image = open_image(source, bands=planner.bands)
    plans = planner.plans((image.height, image.width), path)
    return Loaded(path, image, plans, [_input(image, plan, planner.transforms) for plan in plans])


def normalize(pixels: np.ndarray, transforms: Any) -> np.ndarray:
    """Turns pixels of an input for tiles, or a part of them, into the model's input."""
    return transforms.normalize(pixels) if isinstance(transforms, Preset) else pixels


def read_ahead(
    read: Callable[[Source], Result], sources: Iterable[Source], most: int
) -> Iterator[Future[Result]]:
    """Reads in threads; yields a finished future for each source, in order.

    Args:
      read: called for each source in one of `READERS` threads.
      sources: asked for the next one only when there is room.
      most: number of results that may wait, so that memory is bounded.
    """
    waiting: collections.deque[Future[Result]] = collections.deque()

    def first() -> Future[Result]:
        concurrent.futures.wait([waiting[0]])
        return waiting.popleft()

    pool = ThreadPoolExecutor(READERS, thread_name_prefix="fcn_jax reader")
    try:
        for source in sources:
            waiting.append(pool.submit(read, source))
            if len(waiting) > most:
                yield first()
        while waiting:
            yield first()
    finally:  # also when the caller stops early
        pool.shutdown(wait=True, cancel_futures=True)


def _of_bands(source: Picture) -> Bands:
    """Returns a picture that `open_bands` takes; a file in memory is opened by Pillow."""
    return Image.open(cast(Any, source)) if hasattr(source, "read") else cast(Bands, source)


def _bands_input(bands: np.ndarray, plan: Plan, transforms: Multiband) -> np.ndarray:
    pixels = resize_bands(bands, plan.size)
    return pixels if plan.tile else transforms.normalize(pixels)


def _input(image: Image.Image, plan: Plan, transforms: Any) -> np.ndarray:
    if not isinstance(transforms, Preset):
        return transforms(image)
    height, width = plan.size
    if image.size != (width, height):
        image = transforms.resize(image, plan.size)
    pixels = np.asarray(image)
    return pixels if plan.tile else normalize(pixels, transforms)
