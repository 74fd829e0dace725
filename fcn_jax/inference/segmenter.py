"""Segments pictures: applies transforms and model, resizes logits to the picture, and takes the argmax.

The result equals that of torchvision's pipeline: preset, model, bilinear `interpolate` of the logits to the
size of the picture, argmax.
"""

import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import jax
import numpy as np
from flax import nnx

from fcn_jax.errors import ArrayError, FCNError, OutOfMemoryError, SettingError
from fcn_jax.images import Picture
from fcn_jax.inference.engine import Device, Engine
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.labels import View, check_num_classes, find_labels
from fcn_jax.inference.plan import Planner, Transforms
from fcn_jax.inference.reading import READERS, Loaded, load, normalize, read_ahead
from fcn_jax.inference.receptive_field import Probe
from fcn_jax.inference.result import Segmentation
from fcn_jax.inference.tiling import tiled
from fcn_jax.transforms import SemanticSegmentation

OnProgress = Callable[[int, int], None]
OnError = Callable[[Any, FCNError], None]


def ignore_progress(done: int, total: int) -> None:
    """Does nothing."""


@dataclasses.dataclass
class _Job:
    """A picture on its way: read, then started (it has views), then finished; or failed."""

    source: Any
    loaded: Loaded | None = None
    views: tuple[View, ...] | None = None
    error: FCNError | None = None

    @property
    def is_new(self) -> bool:
        """Whether it still has to be started."""
        return self.views is None and self.error is None


class Segmenter:
    """Segments pictures with a model.

    The model is copied, so later changes to it have no effect (see `update`). It runs in its compiled
    inference form, in evaluation mode and without "aux" (see `inference.prepare`). Few programs are compiled
    for pictures of all sizes (see `inference.buffers`); each gets the result that a program of its own size
    would give. Foreign models are compiled for each size.

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
      devices: JAX devices to compute on. A batch is split over the devices; a single picture is split by
        rows.
      batch_size: number of pictures that are computed at once, of different sizes too. The default on a CPU
        is one for each device; elsewhere as many as fit into a quarter of the memory.
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
        batch_size: int | None = None,
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
        if batch_size is not None and batch_size < 1:
            raise SettingError(subject="batch_size", expected="at least 1, or None", got=str(batch_size))
        self._flip, self._on_progress, self._batch_size = flip, on_progress, batch_size
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
        """Number of programs compiled for the model so far; at most `engine.MOST_PROGRAMS` are kept."""
        return self._engine.compilations

    def lowered(self, size: tuple[int, int], count: int = 1) -> jax.stages.Lowered:
        """Returns the model's lowered program for a buffer of `count` x (H, W) pixels; see `jax.stages`."""
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
        job = _Job(source, load(source, self._planner))
        self._start([job], count=1)
        return self._finish(job)

    def stream(self, sources: Iterable, *, on_error: OnError | None = None) -> Generator[Segmentation]:
        """Segments pictures lazily, in order. Threads read pictures ahead; memory is bounded.

        Args:
          sources: any number of pictures, see `__call__`; asked for when there is room for the next.
          on_error: called as on_error(source, error) when the turn of a picture comes that fails; it is then
            left out. Without it the first failure ends the stream, after the results before it.

        Raises:
          ImageError, ArrayError, OutOfMemoryError: see `__call__`; only without `on_error`.
        """
        waiting: collections.deque[_Job] = collections.deque()
        for read in read_ahead(self._read, sources, most=READERS):
            waiting.append(read.result())
            if len(waiting) >= 2 * self._batch_for(waiting[0]):
                yield from self._first(waiting, on_error)
        while waiting:
            yield from self._first(waiting, on_error)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_on_progress": ignore_progress}

    def _read(self, source: Picture) -> _Job:
        """Reads a picture; an error waits until it is the picture's turn."""
        try:
            return _Job(source, load(source, self._planner))
        except FCNError as error:
            return _Job(source, error=error)

    def _first(self, waiting: collections.deque[_Job], on_error: OnError | None) -> Iterator[Segmentation]:
        """Removes the first job and yields its result, after starting others that share its batch.

        On an accelerator the next batch starts before the results of the last of this one are fetched.
        """
        new = [job for job in waiting if job.is_new]
        started = len(waiting) - len(new)
        if new and (waiting[0].is_new or (self._engine.asynchronous and started == 1)):
            self._start(self._alike(new), self._batch_for(new[0]))
        job = waiting.popleft()
        try:
            yield self._finish(job)
        except FCNError as error:
            if on_error is None:
                raise
            on_error(job.source, error)

    def _batch_for(self, job: _Job) -> int:
        """Returns the length of the batch that a job belongs to; tiles go one by one."""
        if job.loaded is None or any(plan.tile for plan in job.loaded.plans):
            return 1
        return self._batch_size or self._engine.batch_for(job.loaded.plans[0].size)

    def _alike(self, jobs: list[_Job]) -> list[_Job]:
        """Returns the first job and those that can share its batch."""
        batch = self._batch_for(jobs[0])
        if batch == 1:
            return jobs[:1]

        def kind(job: _Job) -> Any:
            return job.loaded and (self._batch_for(job), self._engine.kind(job.loaded.plans[0].size))

        return [job for job in jobs if kind(job) == kind(jobs[0])][:batch]

    def _start(self, jobs: list[_Job], count: int) -> None:
        """Starts to compute the views of jobs that share batches, one for each scale and mirror image."""
        if jobs[0].loaded is None:
            return
        loaded = [job.loaded for job in jobs if job.loaded is not None]
        count = 1 if len(loaded) == 1 else count
        try:
            views = self._views(loaded, count)
        except jax.errors.JaxRuntimeError as error:
            failure = self._out_of_memory(error, loaded[0], count)
            for job in jobs:
                job.error = failure
            return
        for job, each in zip(jobs, views, strict=True):
            job.views = each

    def _finish(self, job: _Job) -> Segmentation:
        """Computes the labels of a job that was started."""
        if job.error is not None:
            raise job.error
        assert job.loaded is not None, "without an error it was read"
        assert job.views is not None, "without an error it was started"
        image = job.loaded.image
        try:
            labels, confidence = find_labels(job.views, (image.height, image.width))
        except jax.errors.JaxRuntimeError as error:
            raise self._out_of_memory(error, job.loaded, self._batch_for(job)) from error
        if not np.isfinite(confidence).all():
            raise ArrayError(
                path=job.loaded.path,
                expected="finite logits",
                got="NaN or infinity from the model",
                hint="check its weights",
            )
        return Segmentation(
            source=job.loaded.path,
            categories=self.categories,
            image=image,
            labels=labels,
            confidence=confidence,
            views=job.views,
            palette=self.palette,
        )

    def _out_of_memory(self, error: Exception, loaded: Loaded, count: int) -> OutOfMemoryError:
        """Returns the error for a JAX that ran out of memory; raises its other errors as they are."""
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        image, what = loaded.image, "a picture" if count == 1 else f"{count} pictures at once, the first"
        advice = self._planner.advice_on_memory(loaded.plans)
        return OutOfMemoryError(
            f"out of memory with {what} of {image.width} x {image.height} ({str(error).splitlines()[0]})",
            loaded.path,
            hint=advice if count == 1 else f"try {{batch_size}}={count // 2}",
        )

    def _views(self, loaded: list[Loaded], count: int) -> list[tuple[View, ...]]:
        """Computes the views of pictures: one for each picture, scale and mirror image."""
        views: list[tuple[View, ...]] = [() for _ in loaded]
        for scale, (_, tile) in enumerate(loaded[0].plans):
            for mirrored in (False, True) if self._flip else (False,):
                inputs = [each.inputs[scale] for each in loaded]
                if mirrored:
                    inputs = [values[:, ::-1] for values in inputs]
                if tile is None:
                    found = self._whole(inputs, count, mirrored)
                else:
                    found = [self._tiled(values, tile, mirrored) for values in inputs]
                views = [(*before, view) for before, view in zip(views, found, strict=True)]
        return views

    def _whole(self, inputs: list[np.ndarray], count: int, mirrored: bool) -> list[View]:
        """Computes one view of whole pictures."""
        sizes = [(values.shape[0], values.shape[1]) for values in inputs]
        transposed = self._engine.is_portrait(sizes[0])
        if transposed:
            inputs = [values.swapaxes(0, 1) for values in inputs]
        coarse = self._engine.coarse_logits(inputs, count, transposed=transposed)
        upsampler = self._engine.upsampler(transposed=transposed)
        return [
            View(values, upsampler, upsampler.size(values, size), mirrored, transposed)
            for values, size in zip(coarse, sizes, strict=True)
        ]

    def _tiled(self, pixels: np.ndarray, tile: int, mirrored: bool) -> View:
        """Computes one view of a picture in tiles."""
        probe = self._planner.probe
        assert probe is not None, "the planner tiles only models with a probe"
        size = pixels.shape[0], pixels.shape[1]

        def compute(image: np.ndarray) -> jax.Array:
            (coarse,) = self._engine.coarse_logits([normalize(image, self.transforms)], 1)
            return jax.tree.leaves(coarse)[0]

        def fill(result: np.ndarray, shape: tuple[int, int]) -> None:
            tiled(
                compute,
                lambda rows, columns: pixels[rows, columns],
                size,
                result,
                shape,
                tile,
                probe.field,
                halo=self._planner.halo,
                on_progress=self._on_progress,
            )

        return View(self._engine.assemble(size, fill), self._engine.upsampler(), size, mirrored)
