"""Segments pictures: applies transforms and model, resizes logits to the picture, and takes the argmax.

The result equals that of torchvision's pipeline: preset, model, bilinear `interpolate` of the logits to the
size of the picture, argmax.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import jax
import numpy as np
from flax import nnx
from PIL import Image

from fcn_jax.errors import ArrayError, OutOfMemoryError
from fcn_jax.images import PATH, Picture, open_image
from fcn_jax.inference.engine import Device, Engine
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.labels import View, check_num_classes, find_labels
from fcn_jax.inference.plan import Plan, Planner, Transforms
from fcn_jax.inference.receptive_field import Probe
from fcn_jax.inference.result import Segmentation
from fcn_jax.inference.tiling import tiled
from fcn_jax.transforms import Preset, SemanticSegmentation

OnProgress = Callable[[int, int], None]


def ignore_progress(done: int, total: int) -> None:
    """Does nothing."""


class Segmenter:
    """Segments pictures with a model.

    The model is copied, so later changes to it have no effect (see `update`). It runs in its compiled
    inference form, in evaluation mode and without "aux" (see `inference.prepare`). Each new size of picture
    costs a compilation.

    A segmenter can be pickled with its weights, for another process with the same devices. The pickle leaves
    out `on_progress` and compiled programs.

    Args:
      model: takes (N, H, W, 3) float32 and returns {"out": (N, H, W, C)} logits, C at most 256.
      transforms: a preset of `fcn_jax.transforms`, or any callable from a Pillow image to (H, W, 3) float32
        with a method `output_size((H, W)) -> (H, W)`. It must keep the whole picture, so
        `ImageClassification` is refused. Default: the model's `transforms`, or else `SemanticSegmentation()`.
      categories: C names by index. Default: the model's `categories`, or else PASCAL VOC's for 21 classes,
        or else "class 0", "class 1", ...
      tile: side of tiles in pixels. Tiles give the same result as the whole picture. "auto" tiles pictures
        above `plan.MAX_MODEL_PIXELS`; None never tiles.
      halo: how many pixels around a tile the model sees. The default is all that its logits depend on; fewer
        are faster, but the result is then approximate and has seams.
      scales: sizes at which the model sees a picture, relative to the output of the transforms; softmax
        probabilities are averaged over them, as in published protocols.
      flip: average over the mirror image too.
      devices: JAX devices to compute on. Pictures of one size in a list are split over the devices; a single
        picture is split by rows.
      on_progress: called after each tile of a picture as on_progress(tiles done, tiles in total).

    Attributes:
      transforms: as given, or the default.
      categories: as given, or the default; a tuple.
      palette: C colours (red, green, blue) of the model's classes; None for PASCAL VOC's.

    Raises:
      WrongTypeError: the model is not an nnx.Module, or the transforms have no `output_size`.
      ArrayError: the model returns no "out" of rank 4, or has more than 256 classes.
      SettingError: the number of categories is not C, or a number is out of range.
    """

    def __init__(
        self,
        model: nnx.Module,
        transforms: Transforms | None = None,
        categories: Sequence[str] | None = None,
        *,
        tile: int | Literal["auto"] | None = "auto",
        halo: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        devices: Sequence[Device] | None = None,
        on_progress: OnProgress = ignore_progress,
    ):
        network = as_segmentation_model(model)
        check_num_classes(network.spec.num_classes)
        if transforms is None:
            transforms = network.transforms
        self.transforms = SemanticSegmentation() if transforms is None else transforms
        meta = network.meta
        if categories is not None:
            meta = dataclasses.replace(meta, categories=tuple(categories))
        meta.check(network.spec.num_classes)
        self.categories = meta.names(network.spec.num_classes)
        self.palette = meta.palette
        self._planner = Planner(
            self.transforms,
            model=type(model).__name__,
            border=network.border,
            probe=Probe(network) if network.tileable else None,
            tile=tile,
            halo=halo,
            scales=tuple(scales),
            devices=len(devices or ()) or 1,
        )
        self._flip, self._on_progress = flip, on_progress
        self._engine = Engine(network, devices)

    def update(self, model: nnx.Module) -> None:
        """Replaces the weights by those of a model of the same structure, without compiling again.

        Earlier results do not change.

        Raises:
          ArrayError: the arrays have other names or shapes.
        """
        self._engine.update(model)

    @property
    def compilations(self) -> int:
        """Number of programs compiled for the model so far, one for each size of images."""
        return self._engine.compilations

    def lowered(self, size: tuple[int, int], count: int = 1) -> jax.stages.Lowered:
        """Returns the model's lowered program for `count` images of size (H, W); see `jax.stages`."""
        return self._engine.lowered(count, size)

    @overload
    def __call__(self, source: Picture) -> Segmentation: ...

    @overload
    def __call__(self, source: list[Any] | tuple[Any, ...]) -> list[Segmentation]: ...

    def __call__(self, source: Picture | list[Any] | tuple[Any, ...]) -> Segmentation | list[Segmentation]:
        """Segments one picture, or a list of them.

        Args:
          source: a path, a Pillow image or a uint8 array (see `fcn_jax.images.open_image`); or a list or
            tuple of these, of any sizes.

        Returns:
          One result, or a list of results in the order of `source`.

        Raises:
          ImageError: a picture cannot be read, or would exceed `plan.MAX_MODEL_PIXELS` once transformed and
            cannot be tiled.
          ArrayError: the model's logits are not finite.
          OutOfMemoryError: a picture needs too much memory; the message says what would help.
        """
        if isinstance(source, (list, tuple)):
            return list(self.stream(source))
        (result,) = self._segment([source])
        return result

    def stream(self, sources: Iterable) -> Iterator[Segmentation]:
        """Segments pictures lazily: one at a time, or as many at a time as there are devices.

        A picture that cannot be read ends the stream with an ImageError. To skip such pictures, call the
        segmenter for each picture.
        """
        batch: list = []
        for source in sources:
            batch.append(source)
            if len(batch) == self._engine.devices:
                yield from self._segment(batch)
                batch = []
        if batch:
            yield from self._segment(batch)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_on_progress": ignore_progress}

    def _segment(self, sources: list) -> Iterator[Segmentation]:
        """Segments pictures, as one batch if they have the same size."""
        paths = [Path(source) if isinstance(source, PATH) else None for source in sources]
        images = [open_image(source) for source in sources]
        sizes = [(image.height, image.width) for image in images]
        groups = [range(len(images))] if len(set(sizes)) == 1 else [[index] for index in range(len(images))]
        for group in groups:
            size = sizes[group[0]]
            plans = self._planner.plans(size, len(group), paths[group[0]])
            try:
                views = self._views([images[index] for index in group], plans)
                found = [find_labels(each, size) for each in views]
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                raise OutOfMemoryError(
                    f"out of memory with a picture of {size[1]} x {size[0]} ({str(error).splitlines()[0]})",
                    paths[group[0]],
                    hint=self._planner.advice_on_memory(plans),
                ) from error
            for index, each, (labels, confidence) in zip(group, views, found, strict=True):
                yield self._result(images[index], paths[index], labels, confidence, each)

    def _result(
        self,
        image: Image.Image,
        path: Path | None,
        labels: np.ndarray,
        confidence: np.ndarray,
        views: tuple[View, ...],
    ) -> Segmentation:
        if not np.isfinite(confidence).all():
            raise ArrayError(
                path=path,
                expected="finite logits",
                got="NaN or infinity from the model",
                hint="check its weights",
            )
        return Segmentation(
            source=path,
            categories=self.categories,
            image=image,
            labels=labels,
            confidence=confidence,
            views=views,
            palette=self.palette,
        )

    def _views(self, images: list[Image.Image], plans: list[Plan]) -> list[tuple[View, ...]]:
        """Computes the views of pictures of one size: one for each picture, scale and mirror image."""
        views: list[tuple[View, ...]] = [() for _ in images]
        upsampler = self._engine.upsampler
        for size, tile in plans:
            pixels = [self._pixels(image, size) for image in images]
            for mirrored in (False, True) if self._flip else (False,):
                if mirrored:
                    pixels = [values[:, ::-1] for values in pixels]
                coarse = self._coarse_logits(pixels, size, tile)
                views = [
                    (*each, View(values, upsampler, upsampler.size(values, size), mirrored))
                    for each, values in zip(views, coarse, strict=True)
                ]
        return views

    def _pixels(self, image: Image.Image, size: tuple[int, int]) -> np.ndarray:
        """Returns (h, w, 3): 8-bit pixels for `_normalize`, or the output of other transforms."""
        if not isinstance(self.transforms, Preset):
            return self.transforms(image)
        if (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(image)

    def _normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Turns pixels, or a part of them, into the model's input."""
        return self.transforms.normalize(pixels) if isinstance(self.transforms, Preset) else pixels

    def _coarse_logits(self, pixels: Sequence[np.ndarray], size: tuple[int, int], tile: int | None) -> list:
        """Computes the coarse logits of pictures of one size, each with a batch of one."""
        if tile is None:
            coarse = self._engine.coarse_logits(np.stack([self._normalize(values) for values in pixels]))
            return [jax.tree.map(lambda x, i=i: x[i : i + 1], coarse) for i in range(len(pixels))]
        probe = self._planner.probe
        assert probe is not None, "the planner tiles only models with a probe"
        shape = self._engine.shape(1, size)
        return [
            self._engine.place(
                tiled(
                    self._engine.coarse_logits,
                    lambda rows, columns, values=values: self._normalize(values[rows, columns]),
                    size,
                    shape,
                    tile,
                    probe.field,
                    halo=self._planner.halo,
                    on_progress=self._on_progress,
                )
            )
            for values in pixels
        ]
