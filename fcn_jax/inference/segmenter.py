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
from fcn_jax.inference.engine import Device, Engine, Slot
from fcn_jax.inference.foreign import ForeignModel, as_segmentation_model
from fcn_jax.inference.labels import View, check_num_classes, find_labels
from fcn_jax.inference.plan import Planner, Transforms
from fcn_jax.inference.reading import READERS, Loaded, load, read_ahead
from fcn_jax.inference.receptive_field import Probe
from fcn_jax.inference.result import Segmentation
from fcn_jax.inference.views import OnProgress, Viewer, ignore_progress
from fcn_jax.meta import Window
from fcn_jax.multiband import Multiband, multiband_like
from fcn_jax.transforms import Preset, SemanticSegmentation

OnError = Callable[[Any, FCNError], None]


@dataclasses.dataclass
class _Job:
    """A picture on its way: read, admitted (it has slots), started (it has views), finished; or failed."""

    source: Any
    loaded: Loaded | None = None
    slots: tuple[Slot | None, ...] = ()
    views: tuple[View, ...] | None = None
    error: FCNError | None = None

    @property
    def is_new(self) -> bool:
        """Whether it still has to be started."""
        return self.views is None and self.error is None

    @property
    def batch(self) -> int:
        """Length of the batch that it is computed in."""
        return next((slot.places for slot in self.slots if slot is not None), 1)


def _check_channels(transforms: Transforms, channels: int) -> None:
    """Raises SettingError if a preset prepares pictures with other channels than the model's."""
    prepared = transforms.channels if isinstance(transforms, Multiband) else 3
    if isinstance(transforms, Preset) and prepared != channels:
        raise SettingError(
            subject="transforms",
            expected=f"a preset for the model's {channels} channels",
            got=f"{type(transforms).__name__} for {prepared}",
            hint="use fcn_jax.multiband.Multiband" if prepared == 3 else None,
        )


class Segmenter:
    """Segments pictures with a model.

    The model is copied, so later changes to it have no effect (see `update`). It runs in its compiled
    inference form, in evaluation mode and without "aux" (see `inference.prepare`). Few programs are compiled
    for pictures of all sizes (see `inference.buffers`); each gets the result that a program of its own size
    would give. Foreign models are compiled for each size.

    A segmenter can be pickled with its weights, for another process with the same devices. The pickle leaves
    out `on_progress` and compiled programs.

    Args:
      model: takes (N, H, W, in_channels) float32 and returns {"out": (N, H, W, C)} logits, C at most 256. One
        logit tells foreground from background.
      transforms: a preset of `fcn_jax.transforms`, or any callable from a Pillow image to (H, W, 3) float32
        with a method `output_size((H, W)) -> (H, W)`. It must keep the whole picture, so
        `ImageClassification` is refused. Default: the model's `transforms`, or else `SemanticSegmentation()`.
      categories: C names by index. Default: the model's `categories`, or else PASCAL VOC's for 21 classes,
        or else "background" and "foreground" for one logit, else "class 0", "class 1", ...
      tile: side of tiles in pixels. Tiles give the same result as the whole picture. "auto" tiles pictures
        above `plan.MAX_MODEL_PIXELS`; None never tiles.
      halo: how many pixels around a tile the model sees. The default is all that its logits depend on; fewer
        are faster, but the result is then approximate and has seams.
      scales: sizes at which the model sees a picture, relative to the output of the transforms; softmax
        probabilities are averaged over them, as in published protocols.
      flip: average over the mirror image too.
      window: computes the picture in windows that overlap, and averages their logits: the "slide" test of
        mmsegmentation, at every scale. The result is not that of the whole picture. The weights' own window,
        if they were tested so, is `model.meta.window`.
      devices: JAX devices to compute on. A batch is split over the devices; a single picture is split by
        rows.
      batch_size: number of pictures that are computed at once, of different sizes too. The default on a CPU
        is one for each device; elsewhere as many as fit into a quarter of the memory.
      bands: which three bands of a picture with many are red, green and blue, or which one is grey, counted
        from 1; see `fcn_jax.images.open_image`.
      on_progress: called after each tile of a picture as on_progress(tiles done, tiles in total).

    Attributes:
      transforms: as given, or the default.
      categories: as given, or the default; a tuple.
      palette: C colours (red, green, blue) of the model's classes; None for PASCAL VOC's.
      threshold: of one logit's sigmoid, from which a pixel is foreground: the model's own, or else 0.5; None
        for several classes.

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
        window: Window | None = None,
        devices: Sequence[Device] | None = None,
        batch_size: int | None = None,
        bands: Sequence[int] | None = None,
        on_progress: OnProgress = ignore_progress,
    ):
        network = as_segmentation_model(model)
        check_num_classes(network.spec.num_classes)
        if transforms is None:
            transforms = network.transforms
        channels = network.spec.in_channels
        if transforms is None:
            transforms = SemanticSegmentation()
            transforms = transforms if channels == 3 else multiband_like(transforms, channels)
        _check_channels(transforms, channels)
        self.transforms = transforms
        meta = network.meta
        if categories is not None:
            meta = dataclasses.replace(meta, categories=tuple(categories))
        meta.check(network.spec.num_classes)
        self.categories = meta.names(network.spec.num_classes)
        self.palette = meta.palette
        self.threshold = network.threshold
        self._planner = Planner(
            self.transforms,
            model=network.reason if isinstance(network, ForeignModel) else type(model).__name__,
            border=network.border,
            probe=Probe(network) if network.tileable else None,
            tile=tile,
            halo=halo,
            scales=tuple(scales),
            devices=len(devices or ()) or 1,
            window=window,
            bands=bands,
        )
        if batch_size is not None and batch_size < 1:
            raise SettingError(subject="batch_size", expected="at least 1, or None", got=str(batch_size))
        self._batch_size = batch_size
        self._engine = Engine(network, devices)
        self._viewer = Viewer(self._engine, self._planner, flip, on_progress)

    def update(self, model: nnx.Module) -> None:
        """Replaces the weights by those of a model of the same structure, without compiling again.

        Earlier results do not change.

        Raises:
          ArrayError: the arrays have other names or shapes.
        """
        self._engine.update(model)
        self.threshold = as_segmentation_model(model).threshold

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
            tuple of these, of any sizes. With a preset `Multiband`, see `fcn_jax.bands.open_bands`.

        Returns:
          One result, or a list of results in the order of `source`.

        Raises:
          ImageError: a picture cannot be read, or would exceed `plan.MAX_MODEL_PIXELS` once transformed and
            cannot be tiled.
          ArrayError: the model's logits are not finite.
          OutOfMemoryError: a picture needs too much memory; the message says what would help.
        """
        if isinstance(source, (list, tuple)) and len(source) != 1:
            return list(self._stream(source, None, most=len(source)))
        (only,) = source if isinstance(source, (list, tuple)) else (source,)
        job = _Job(only, load(only, self._planner))
        self._admit(job, most=1)
        self._start([job])
        result = self._finish(job)
        return [result] if isinstance(source, (list, tuple)) else result

    def stream(self, sources: Iterable, *, on_error: OnError | None = None) -> Generator[Segmentation]:
        """Segments pictures lazily, in order. Threads read pictures ahead; memory is bounded.

        Args:
          sources: any number of pictures, see `__call__`; asked for when there is room for the next.
          on_error: called as on_error(source, error) when the turn of a picture comes that fails; it is then
            left out. Without it the first failure ends the stream, after the results before it.

        Raises:
          ImageError, ArrayError, OutOfMemoryError: see `__call__`; only without `on_error`.
        """
        return self._stream(sources, on_error)

    def _stream(
        self, sources: Iterable, on_error: OnError | None, most: int | None = None
    ) -> Generator[Segmentation]:
        """Does what `stream` says; `most` is the number of pictures, if it is known."""
        waiting: collections.deque[_Job] = collections.deque()
        for read in read_ahead(self._read, sources, most=READERS):
            waiting.append(read.result())
            self._admit(waiting[-1], most)
            if len(waiting) >= 2 * waiting[0].batch:
                yield from self._first(waiting, on_error)
        while waiting:
            yield from self._first(waiting, on_error)

    def _read(self, source: Picture) -> _Job:
        """Reads a picture; an error waits until it is the picture's turn."""
        try:
            return _Job(source, load(source, self._planner))
        except FCNError as error:
            return _Job(source, error=error)

    def _admit(self, job: _Job, most: int | None) -> None:
        """Chooses where a job is computed, so that compiling starts before its turn comes."""
        if job.loaded is not None:
            try:
                job.slots = self._viewer.slots(job.loaded.plans, self._batch_size, most)
            except jax.errors.JaxRuntimeError as error:
                job.error = self._out_of_memory(error, job)

    def _first(self, waiting: collections.deque[_Job], on_error: OnError | None) -> Iterator[Segmentation]:
        """Removes the first job and yields its result, after starting others that share its batch.

        On an accelerator the next batch starts before the results of the last of this one are fetched.
        """
        new = [job for job in waiting if job.is_new]
        started = len(waiting) - len(new)
        if new and (waiting[0].is_new or (self._engine.asynchronous and started == 1)):
            self._start([job for job in new if job.slots == new[0].slots][: new[0].batch])
        job = waiting.popleft()
        try:
            yield self._finish(job)
        except FCNError as error:
            if on_error is None:
                raise
            on_error(job.source, error)

    def _start(self, jobs: list[_Job]) -> None:
        """Starts to compute the views of new jobs that share their slots."""
        try:
            views = self._viewer.views([job.loaded for job in jobs if job.loaded is not None], jobs[0].slots)
        except jax.errors.JaxRuntimeError as error:
            failure = self._out_of_memory(error, jobs[0])
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
            labels, confidence = find_labels(job.views, (image.height, image.width), self.threshold or 0.5)
        except jax.errors.JaxRuntimeError as error:
            raise self._out_of_memory(error, job) from error
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

    def _out_of_memory(self, error: Exception, job: _Job) -> OutOfMemoryError:
        """Returns the error for a JAX that ran out of memory; raises its other errors as they are."""
        if "RESOURCE_EXHAUSTED" not in str(error) or job.loaded is None:
            raise error
        image, count = job.loaded.image, job.batch
        what = "a picture" if count == 1 else f"{count} pictures at once, the first"
        advice = self._planner.advice_on_memory(job.loaded.plans)
        return OutOfMemoryError(
            f"out of memory with {what} of {image.width} x {image.height} ({str(error).splitlines()[0]})",
            job.loaded.path,
            hint=advice if count == 1 else f"try {{batch_size}}={count // 2}",
        )
