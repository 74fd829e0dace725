"""Pictures in, labelled pictures out: the transforms, the model and the resizing back, compiled.

The result is that of torchvision's pipeline: preset, model, bilinear `interpolate` of the logits to the
picture's own size, argmax.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.images import PATH, ImageError, open_image
from fcn_jax.inference.engine import Engine
from fcn_jax.inference.labels import finish
from fcn_jax.inference.receptive_field import receptive_field
from fcn_jax.inference.result import Segmentation
from fcn_jax.inference.tiling import pixels_seen, tiled_scores
from fcn_jax.inference.views import View
from fcn_jax.models import FCN, SkipFCN
from fcn_jax.transforms import SemanticSegmentation

MAX_MODEL_PIXELS = 8_000_000
"""The largest picture given to a model at once, with its border; some 4 GiB in fcn_resnet50."""
AUTO_TILE = 1024
SMALLEST_TILE = 32  # worth advising


class Plan(NamedTuple):
    """How pictures go through the model: the size (h, w) that it sees, and the side of tiles, if any."""

    size: tuple[int, int]
    tile: int | None


class Segmenter:
    """Segments pictures with a model as it is now.

    The model is read once: later changes to it are not seen. It runs in its compiled inference form, in
    evaluation mode and without "aux" (see `inference.prepare`). Each new size of picture costs a compilation.

    Args:
      model: takes (N, H, W, 3) float32 and returns {"out": (N, H, W, C)} logits, C at most 256.
      transforms: a preset of `fcn_jax.transforms`, or any callable from a Pillow image to (H, W, 3) float32
        with a method `output_size((H, W)) -> (H, W)`. It must keep the whole picture, so no
        `ImageClassification`. Default: the model's own `transforms`, else `SemanticSegmentation()`.
      categories: C names by index. Default: the model's own `categories`, else PASCAL VOC's for 21 classes,
        else "class 0", "class 1", ...
      tile: side in pixels of the tiles that a picture goes through the model in, with the same result as in
        one piece; "auto" tiles what exceeds `MAX_MODEL_PIXELS`, None nothing.
      halo: how many pixels around a tile the model sees. By default all that its scores depend on; fewer are
        quicker, and the result is an approximation, with seams.
      scales: of the picture, against the size that the transforms give it; softmax probabilities are averaged
        over them, as published protocols do.
      flip: also look at the mirror image of each.
      devices: JAX devices to compute on. A list of pictures of one size is split over them; a single picture
        by its rows.
      progress: told after each tile, with how many there are.

    Raises:
      TypeError: the model is no nnx.Module, or the transforms cannot tell their output size.
      ValueError: the model returns no "out" of rank 4, has more than 256 classes, the number of categories is
        not C, or a number out of its range.
    """

    def __init__(
        self,
        model: nnx.Module,
        transforms: Callable | None = None,
        categories: Sequence[str] | None = None,
        *,
        tile: int | Literal["auto"] | None = "auto",
        halo: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        devices: Sequence[jax.Device] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ):
        if not isinstance(model, nnx.Module):
            raise TypeError(
                f"expected a model, an nnx.Module, got {type(model).__name__}; "
                "fcn_jax.load_model(path) builds the one that a checkpoint is of"
            )
        transforms = getattr(model, "transforms", None) if transforms is None else transforms
        self.transforms = SemanticSegmentation() if transforms is None else transforms
        if not hasattr(self.transforms, "output_size"):
            raise TypeError(
                f"expected transforms with a method output_size((H, W)), got {self.transforms!r}; "
                f"try fcn_jax.transforms.SemanticSegmentation"
            )
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f"scales: expected numbers above 0, got {tuple(scales)}")
        if tuple(scales) != (1.0,) and not hasattr(self.transforms, "normalize"):
            raise ValueError(
                f"scales: expected a preset of fcn_jax.transforms with them, got {self.transforms!r}"
            )
        if tile not in (None, "auto") and not (isinstance(tile, Integral) and tile > 0):
            raise ValueError(f'tile: expected a number of pixels, "auto" or None, got {tile!r}')
        if halo is not None and halo < 0:
            raise ValueError(f"halo: expected a number of pixels of at least 0, got {halo}")
        tileable = isinstance(model, FCN | SkipFCN)
        if not tileable and (isinstance(tile, Integral) or halo is not None):
            raise ValueError(
                f"tile, halo: expected a model of fcn_jax, whose receptive field can be told, got "
                f"{type(model).__name__}; leave them out"
            )
        self._tile, self._halo, self._progress = tile, halo, progress
        self._scales, self._flip = tuple(scales), flip
        self._border = getattr(model, "border", 0)
        self._classes = count_classes(model)
        self._engine = Engine(model, devices)
        self._field = functools.cache(lambda: receptive_field(model)) if tileable else None
        categories = getattr(model, "categories", None) if categories is None else categories
        self.categories = _name_categories(self._classes, categories)

    def update(self, model: nnx.Module) -> None:
        """Takes the weights that a model has now, without compiling again: one of the same structure."""
        self._engine.update(model)

    def __call__(self, source) -> Segmentation | list[Segmentation]:
        """Segments one picture, or a list of them.

        Args:
          source: a path, a Pillow image or a uint8 array (see `fcn_jax.images.open_image`); or a list or
            tuple of these, of any sizes.

        Returns:
          One result, or a list of results in the order of `source`.

        Raises:
          ImageError: a picture cannot be read, or would exceed `MAX_MODEL_PIXELS` once transformed and cannot
            be tiled.
          ValueError: the model's logits are not finite.
          MemoryError: a picture needs more memory than there is; the message tells what would help.
        """
        if isinstance(source, (list, tuple)):
            return list(self.stream(source))
        (result,) = self._segment([source])
        return result

    def stream(self, sources: Iterable) -> Iterator[Segmentation]:
        """Segments pictures as they are asked for, one at a time, or one for each device.

        The first picture that cannot be read ends the stream with its ImageError. To go on past it, call the
        segmenter for each picture.
        """
        together: list = []
        for source in sources:
            together.append(source)
            if len(together) == self._engine.devices:
                yield from self._segment(together)
                together = []
        if together:
            yield from self._segment(together)

    def _segment(self, sources: list) -> Iterator[Segmentation]:
        """Segments pictures, as one batch if they have one size."""
        paths = [Path(source) if isinstance(source, PATH) else None for source in sources]
        images = [open_image(source) for source in sources]
        sizes = [(image.height, image.width) for image in images]
        groups = [range(len(images))] if len(set(sizes)) == 1 else [[index] for index in range(len(images))]
        for group in groups:
            plan = self._plan(sizes[group[0]], len(group), paths[group[0]])
            try:
                views = self._views([images[index] for index in group], plan)
                labels = [finish(each, sizes[index]) for each, index in zip(views, group, strict=True)]
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                raise MemoryError(self._too_large(sizes[group[0]], plan, error)) from error
            for index, each, (classes, confidence) in zip(group, views, labels, strict=True):
                if not np.isfinite(confidence).all():
                    raise ValueError(
                        "expected finite logits, got nan or infinity from the model; check its weights"
                    )
                yield Segmentation(
                    image=images[index],
                    source=paths[index],
                    categories=self.categories,
                    labels=classes,
                    confidence=confidence,
                    views=each,
                )

    def _plan(self, size: tuple[int, int], count: int, path: Path | None) -> list[Plan]:
        """Decides how so many pictures of a size go through the model, at each scale."""
        transformed = self.transforms.output_size(size)
        plans = []
        for scale in self._scales:
            height, width = (max(1, round(scale * edge)) for edge in transformed)
            plans.append(
                Plan((height, width), self._tile_for((height, width), transformed, size, count, path))
            )
        return plans

    def _views(self, images: list[Image.Image], plans: list[Plan]) -> list[list[View]]:
        """Looks at pictures of one size, at all scales; gives the views of each."""
        views: list[list[View]] = [[] for _ in images]
        for size, tile in plans:
            pixels, normalize = zip(*(self._pixels(image, size) for image in images), strict=True)
            for mirrored in (False, True) if self._flip else (False,):
                if mirrored:
                    pixels = [values[:, ::-1] for values in pixels]
                scores = self._scores(pixels, normalize[0], size, tile)
                for each, values in zip(views, scores, strict=True):
                    each.append(self._view(values, size, mirrored))
        return views

    def _view(self, values, size: tuple[int, int], mirrored: bool) -> View:
        if self._field is None:  # a model of another make: its logits, of whatever size
            size = jax.tree.leaves(values)[0].shape[1:3]
        rows = functools.partial(self._engine.rows, values, size)
        return View(size, self._classes, rows, mirrored=mirrored)

    def _pixels(self, image: Image.Image, size: tuple[int, int]):
        """Gives (h, w, 3), and what makes of it, or of a part, what the model reads."""
        if not hasattr(self.transforms, "normalize"):
            return self.transforms(image), lambda pixels: pixels
        if (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image), self.transforms.normalize

    def _scores(self, pixels: Sequence[np.ndarray], normalize, size, tile: int | None) -> list:
        """Computes the scores of pictures of one size, each with a batch of one."""
        if tile is None:
            scores = self._engine.scores(np.stack([normalize(values) for values in pixels]))
            return [jax.tree.map(lambda x, i=i: x[i : i + 1], scores) for i in range(len(pixels))]
        shape = self._engine.shape(1, size)
        return [
            self._engine.place(
                tiled_scores(
                    self._engine.scores,
                    lambda rows, columns, values=values: normalize(values[rows, columns]),
                    size,
                    shape,
                    tile,
                    self._field(),
                    halo=self._halo,
                    seen=self._progress,
                )
            )
            for values in pixels
        ]

    def _tile_for(self, size, transformed, original, count: int, path: Path | None) -> int | None:
        """Decides whether pictures, of `size` as the model sees them, are tiled: the side of a tile."""
        limit = MAX_MODEL_PIXELS * self._engine.devices
        height, width = (edge + 2 * self._border for edge in size)
        whole = count * height * width <= limit
        # A strip blown up by the transforms is refused rather than computed for an hour, unless asked for.
        enlarged = transformed[0] * transformed[1] > original[0] * original[1]
        if self._tile == "auto" and not whole and (enlarged or self._field is None):
            raise ImageError(
                f"expected a picture of at most {MAX_MODEL_PIXELS:,} pixels once transformed, got "
                f"{original[1]} x {original[0]}, which becomes {width} x {height} = {width * height:,}; "
                + self._advice(),
                path,
            )
        if self._tile is None or (self._tile == "auto" and whole):
            return None
        tile = AUTO_TILE if self._tile == "auto" else int(self._tile)
        seen = pixels_seen(tile, self._field(), self._halo)
        height, width = (min(seen, edge) + 2 * self._border for edge in size)
        if height * width > limit and not whole:
            raise ImageError(
                f"expected tiles with which the model sees at most {MAX_MODEL_PIXELS:,} pixels at once, got "
                f"tiles of {tile}, with which it sees {width} x {height} = {width * height:,}; "
                "choose a smaller tile",
                path,
            )
        return tile

    def _advice(self) -> str:
        if not hasattr(self.transforms, "resize_size"):
            return "crop or shrink it"
        return "crop it, or pass transforms=SemanticSegmentation(resize_size=...) with a smaller size"

    def _too_large(self, size: tuple[int, int], plans: list[Plan], error: Exception) -> str:
        tiles = [plan.tile for plan in plans if plan.tile]
        smaller = min(tiles) // 2 if tiles else AUTO_TILE
        advice = f"try tile={smaller}" if self._field and smaller >= SMALLEST_TILE else "crop or shrink it"
        return (
            f"out of memory with a picture of {size[1]} x {size[0]} ({str(error).splitlines()[0]}); {advice}"
        )


def count_classes(model: nnx.Module) -> int:
    """Tells how many classes a model has.

    Raises:
      ValueError: it does not give logits as it should.
    """
    graph, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    output = jax.eval_shape(lambda state, images: nnx.merge(graph, state)(images), state, images)
    if not isinstance(output, dict) or "out" not in output:
        raise ValueError(f'expected a model that returns {{"out": logits}}, got {output}')
    logits = output["out"]
    if logits.ndim != 4:
        raise ValueError(f'expected "out" logits (N, H, W, C), got shape {logits.shape}')
    if logits.shape[3] > 256:
        raise ValueError(f"expected at most 256 classes, as labels are uint8, got {logits.shape[3]}")
    return logits.shape[3]


def _name_categories(num_classes: int, categories: Sequence[str] | None) -> tuple[str, ...]:
    if categories is None:
        if num_classes == len(VOC_CATEGORIES):
            return VOC_CATEGORIES
        return tuple(f"class {index}" for index in range(num_classes))
    if len(categories) != num_classes:
        raise ValueError(f"expected {num_classes} categories, one for each class, got {len(categories)}")
    return tuple(categories)
