"""Calls a program made for one size with images of any sizes up to it: pads them, and cuts out results."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fcn_jax.errors import ArrayError
from fcn_jax.models.checks import check_images, image_size

Images = Any
"""One array (N, h, w, C), or a list or tuple of arrays (h, w, C); of NumPy or JAX."""


@dataclasses.dataclass(frozen=True)
class Padded:
    """A function of images that makes the arguments of a program.

    Attributes:
      program: takes images (N, H, W, C) float32 and sizes (N, 2) int32, and returns a pytree of arrays
        (N, H, W, ...).
      shape: (H, W, C).
      any_size: whether images may be smaller than (H, W). If not, `program` takes no sizes, and its output is
        returned as it is.
    """

    program: Callable[..., Any]
    shape: tuple[int, int, int]
    any_size: bool

    def __call__(self, images: Images) -> Any:
        """Computes the output of images without padding.

        Args:
          images: one float array (N, h, w, C), or a list or tuple of N float arrays (h, w, C), at most as
            large as (H, W).

        Returns:
          NumPy arrays (N, h, w, ...) for an array, a list of N results (h, w, ...) for a list.

        Raises:
          WrongTypeError, ArrayError: images do not fit.
        """
        if not isinstance(images, list | tuple):
            check_images(images, self.shape[2])
            size = image_size(images)
            self._check_size(size, "images")
            return self._cut(self._call(np.asarray(images)), slice(None), size)
        for place, image in enumerate(images):
            self._check_image(image, f"images[{place}]")
        output = self._call(images) if images else None
        return [self._cut(output, place, image.shape[:2]) for place, image in enumerate(images)]

    def _call(self, images: Images) -> Any:
        batch = np.zeros((len(images), *self.shape), np.float32)
        sizes = np.ones((len(images), 2), np.int32)
        for place, image in enumerate(images):
            height, width, _ = image.shape
            batch[place, :height, :width] = image
            sizes[place] = height, width
        return jax.device_get(self.program(batch, sizes) if self.any_size else self.program(batch))

    def _cut(self, output: Any, place: int | slice, size: tuple[int, int]) -> Any:
        """Cuts in NumPy: JAX would compile a program for each size. Copies let the padded output go."""
        rows, columns = map(slice, size) if self.any_size else (slice(None), slice(None))
        return jax.tree.map(lambda x: np.array(x[place, rows, columns]), output)

    def _check_image(self, image: Any, name: str) -> None:
        channels = self.shape[2]
        if not hasattr(image, "dtype") or np.ndim(image) != 3:
            got = f"shape {np.shape(image)}" if hasattr(image, "dtype") else type(image).__name__
            raise ArrayError(subject=name, expected=f"an array (h, w, {channels})", got=got)
        check_images(image[None], channels)
        self._check_size(image.shape[:2], name)

    def _check_size(self, size: tuple[int, int], name: str) -> None:
        height, width, _ = self.shape
        larger = max(size[0], height), max(size[1], width)
        if size == (height, width) or (self.any_size and larger == (height, width)):
            return
        needed = larger if self.any_size else size
        raise ArrayError(
            subject=name,
            expected=f"{'at most' if self.any_size else 'exactly'} {height} x {width} (height x width), the "
            "size that the model was exported for",
            got=f"{size[0]} x {size[1]}",
            hint=f"resize the image, or export the model again for {needed[0]}x{needed[1]}",
        )
