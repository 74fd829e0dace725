"""A model compiled for inference, on one device or several."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fcn_jax.algorithms.transposition import transpose_kernel
from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.inference.buffers import Buffers
from fcn_jax.inference.frames import Frames, structure_of
from fcn_jax.inference.memory import check_memory
from fcn_jax.inference.plan import MAX_MODEL_PIXELS
from fcn_jax.inference.prepare import prepare
from fcn_jax.models.arrays import Arrays
from fcn_jax.models.upsampling import Upsampler


class Device(Protocol):
    """The part of `jax.Device` that is used here; type checkers do not accept `jax.Device` as a type."""

    platform: str
    id: int

    def memory_stats(self) -> dict[str, int] | None:
        """Returns, among others, "bytes_limit"; None where it is unknown."""
        ...


MOST_PROGRAMS = 12
"""Programs that are kept; the one that was not used for the longest time goes first."""
MEMORY_SHARE = 0.25
"""Share of an accelerator's memory that a batch may take."""
BYTES_PER_PIXEL = 512
"""Memory that a pixel of an image takes, as in `plan.MAX_MODEL_PIXELS`; not measured on an accelerator."""
MOST_IMAGES = 32
"""On a device at once; not measured either."""
COARSE_SIDES = (16, 32, 64)
"""Sides of the buffers of coarse logits, then the multiples of 128: few shapes, so few programs read them."""


class _Weights(NamedTuple):
    """The arrays of the model, and what upsamples its coarse logits, on their devices."""

    arrays: Arrays
    upsampler: Upsampler


class Slot(NamedTuple):
    """Where an image is computed. Images of a batch have the same slot.

    Attributes:
      places: length of the batch.
      buffer: (H, W) of the buffer.
      transposed: whether rows and columns are swapped. The kernels are swapped too, so a portrait picture and
        a landscape picture share a program.
    """

    places: int
    buffer: tuple[int, int]
    transposed: bool


class Engine:
    """Computes coarse logits of images of any sizes, in buffers (see `inference.buffers`); can be pickled.

    Args:
      model: its arrays are copied now.
      devices: to compute on; by default JAX's default device. A batch is split over the devices if they
        divide it. Otherwise images are split by rows, and devices exchange the rows at the seams.

    Attributes:
      devices: number of devices.
      asynchronous: whether computing goes on beside Python.
      takes_any_size: whether images may lie in larger buffers; False for foreign models.
      compilations: number of programs compiled so far.
    """

    def __init__(self, model: nnx.Module, devices: Sequence[Device] | None = None):
        self._devices = tuple(devices or ())
        prepared = prepare(model, platform=self._platform)
        self._in_channels = prepared.spec.in_channels
        self.takes_any_size, self._border = prepared.tileable, prepared.border
        self._structure = structure_of(prepared)
        self._set_up_process()
        params, rest = self._structure.split(prepared)
        self._set_arrays(params | rest)

    def update(self, model: nnx.Module) -> None:
        """Replaces the weights by those of a model of the same structure. Earlier results do not change.

        Raises:
          ArrayError: the arrays have other names or shapes.
        """
        prepared = prepare(model, platform=self._platform)
        params, rest = structure_of(prepared).split(prepared)
        arrays = params | rest
        before, after = (
            {name: array.shape for name, array in each.items()} for each in (self._arrays, arrays)
        )
        if before != after:
            name = next(name for name in before | after if before.get(name) != after.get(name))
            raise ArrayError(
                subject=name,
                expected=f"an array of shape {before.get(name)}, as before",
                got=str(after.get(name)),
                hint="make a new Segmenter for another model",
            )
        self._set_arrays(arrays)

    def batch_for(self, size: tuple[int, int]) -> int:
        """Returns how many images of size (H, W) to compute at once: one a device, or by its memory."""
        device = self._devices[0] if self._devices else jax.local_devices()[0]
        memory = (device.memory_stats() or {}).get("bytes_limit") if self.asynchronous else None
        pixels = self._buffers.work(self._buffers.round_up(size))
        if pixels > MAX_MODEL_PIXELS:
            return 1  # split by rows
        if memory is None:
            return self.devices
        fitting = max(1, int(memory * MEMORY_SHARE) // (BYTES_PER_PIXEL * pixels))
        return self.devices * min(MOST_IMAGES, 2 ** int(math.log2(fitting)))

    def slot(self, size: tuple[int, int], count: int, *, upright: bool = False) -> Slot:
        """Chooses where an image of size (H, W) is computed, and starts to compile if that is new.

        Args:
          size: of the image.
          count: length of the batch that it will be in, see `coarse_logits`.
          upright: never transpose.
        """
        if not self.takes_any_size:
            slot = Slot(count, size, transposed=False)
        else:
            height, width = size
            transposed = height > width and not upright
            existing = [buffer for batch, buffer in self._programs if batch == count]
            buffer = self._buffers.choose((width, height) if transposed else size, existing)
            slot = Slot(count, buffer, transposed)
        self._program(slot)
        return slot

    def coarse_logits(self, images: Sequence[np.ndarray], slot: Slot) -> list[Any]:
        """Computes coarse logits of images, each a pytree for `View.coarse`.

        Args:
          images: (h, w, C_in) float32, all with this slot, at most as many as it has places. A place without
            an image costs as much as one with an image.

        Raises:
          jax.errors.JaxRuntimeError: there is too little memory.
        """
        sizes = np.ones((slot.places, 2), np.int32)
        batch = np.zeros((slot.places, *slot.buffer, self._in_channels), np.float32)
        for place, image in enumerate(images):
            image = image.swapaxes(0, 1) if slot.transposed else image
            height, width = sizes[place] = image.shape[:2]
            batch[place, :height, :width] = image
        try:
            compute = self._program(slot).result()
        except Exception:  # the next image tries again
            self._programs.pop((slot.places, slot.buffer), None)
            raise
        if not self.asynchronous:
            check_memory(compute)
        weights = self._oriented(slot.transposed)
        arrays = self._frames.added(weights.arrays, sizes, slot.transposed)
        return compute(arrays, batch, sizes)[: len(images)]

    def upsampler(self, *, transposed: bool = False) -> Upsampler:
        """Returns what computes logits from coarse logits; `transposed` as in `Slot`."""
        return self._oriented(transposed).upsampler

    def _program(self, slot: Slot) -> Future[jax.stages.Compiled]:
        """Returns a slot's program, which may still be compiling in a thread."""
        key = slot.places, slot.buffer
        program = self._programs.pop(key, None)
        if program is None:
            program = self._compiler.submit(self.lowered(*key).compile)
            self.compilations += 1
            while len(self._programs) >= MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
        self._programs[key] = program  # the last is the one used last
        return program

    def assemble(self, size: tuple[int, int], fill: Callable[[np.ndarray, tuple[int, int]], None]) -> Any:
        """Returns coarse logits, for `View.coarse`, of an image of size (H, W) that is computed in tiles.

        Args:
          size: of the image.
          fill: gets an array (1, ...) of zeros to write the coarse logits to, and their size (h, w).
        """
        images = self._images(1, size)
        (shape,), structure = jax.tree.flatten(jax.eval_shape(self._coarse, self._arrays, images))
        _, height, width, classes = shape.shape
        result = np.zeros((1, coarse_side(height), coarse_side(width), classes), shape.dtype)
        fill(result, (height, width))
        return jax.device_put(jax.tree.unflatten(structure, [result]), self._placement)

    def lowered(self, batch: int, buffer: tuple[int, int]) -> jax.stages.Lowered:
        """Returns the lowered program for images in a buffer (H, W)."""
        sizes = jax.ShapeDtypeStruct((batch, 2), jnp.int32)

        def compute(arrays: Arrays, images: jax.Array, sizes: jax.Array) -> list[Any]:
            if self.takes_any_size:
                coarse = _in_buffer(self._coarse(arrays, images, sizes))
            else:
                coarse = self._coarse(arrays, images)
            return [_image_of(coarse, place) for place in range(batch)]

        arrays = self._frames.added(self._arrays, np.ones((batch, 2), np.int32), transposed=False)
        return jax.jit(compute).lower(arrays, self._images(batch, buffer), sizes)

    @property
    def _platform(self) -> str | None:
        return self._devices[0].platform if self._devices else None

    def _images(self, batch: int, size: tuple[int, int]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *size, self._in_channels), jnp.float32)

    def _set_up_process(self) -> None:
        """Sets up what a pickle leaves out: device placements and compiled functions."""
        self.devices = len(self._devices) or 1
        self.compilations = 0
        self._mesh = Mesh(np.array(self._devices), ("data",)) if self.devices > 1 else None
        if self._mesh is not None:
            self._placement = NamedSharding(self._mesh, PartitionSpec())
        else:
            self._placement = self._devices[0] if self._devices else None
        platform = self._platform or jax.default_backend()
        self.asynchronous = platform != "cpu"
        self._buffers = Buffers(platform, self._border)
        self._frames = Frames(self._structure)
        self._programs: dict[tuple[int, tuple[int, int]], Future[jax.stages.Compiled]] = {}
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="fcn_jax compiler")

    def _coarse(self, arrays: Arrays, images: jax.Array, sizes: jax.Array | None = None) -> Any:
        if self._mesh is not None:
            images = self._spread(images, self._mesh)
        coarse = self._structure.merge(arrays).coarse_logits(images, sizes)["out"]
        if self._mesh is not None:  # coarse logits are small; every device gets all of them
            coarse = jax.lax.with_sharding_constraint(coarse, self._placement)
        return coarse

    def _spread(self, images: jax.Array, mesh: Mesh) -> jax.Array:
        """Splits a batch over the devices if they divide it, otherwise the rows of its images."""
        if images.shape[0] % self.devices == 0:
            return jax.lax.with_sharding_constraint(images, NamedSharding(mesh, PartitionSpec("data")))
        height = images.shape[1]
        more = -height % self.devices  # the devices get equally many rows
        images = jnp.pad(images, [(0, 0), (0, more), (0, 0), (0, 0)]) if more else images
        rows = NamedSharding(mesh, PartitionSpec(None, "data"))
        images = jax.lax.with_sharding_constraint(images, rows)
        return images[:, :height] if more else images

    def _set_arrays(self, arrays: Arrays) -> None:
        self._weights = {False: self._place(arrays)}
        self._frames.clear()

    @property
    def _arrays(self) -> Arrays:
        return self._weights[False].arrays

    def _place(self, arrays: Mapping[str, jax.Array | np.ndarray]) -> "_Weights":
        placed = jax.device_put(arrays, self._placement)
        upsampler = self._structure.merge(placed).upsampler()
        return _Weights(placed, jax.device_put(upsampler, self._placement))

    def _oriented(self, transposed: bool) -> "_Weights":
        """Returns the weights; those of transposed images are made when the first one comes."""
        if transposed not in self._weights:
            swapped = {name: transpose_kernel(array) for name, array in self._arrays.items()}
            self._weights[transposed] = self._place(swapped)
        return self._weights[transposed]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "devices": [(device.platform, device.id) for device in self._devices],
            "structure": self._structure,
            "in_channels": self._in_channels,
            "tileable": self.takes_any_size,
            "border": self._border,
            "arrays": jax.device_get(self._arrays),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._devices = tuple(_find_device(*device) for device in state["devices"])
        self._structure = state["structure"]
        self._in_channels = state["in_channels"]
        self.takes_any_size, self._border = state["tileable"], state["border"]
        self._set_up_process()
        self._set_arrays(state["arrays"])


def coarse_side(length: int) -> int:
    """Rounds a side of coarse logits up to one of `COARSE_SIDES`, or a multiple of 128."""
    return next((side for side in COARSE_SIDES if side >= length), -(-length // 128) * 128)


def _image_of(coarse: Any, place: int) -> Any:
    """Returns the coarse logits of one image of a batch."""
    return jax.tree.map(lambda x: x[place : place + 1], coarse)


def _in_buffer(coarse: Any) -> Any:
    """Puts coarse logits into a buffer with sides from `coarse_side`."""
    (values, *rest), structure = jax.tree.flatten(coarse)
    _, height, width, _ = values.shape
    below, right = coarse_side(height) - height, coarse_side(width) - width
    values = jnp.pad(values, [(0, 0), (0, below), (0, right), (0, 0)])
    return jax.tree.unflatten(structure, [values, *rest])


def _find_device(platform: str, number: int) -> Device:
    devices = jax.devices(platform)
    for device in devices:
        if device.id == number:
            return device
    raise SettingError(
        subject="devices",
        expected=f"device {number} of {platform}, which the pickled segmenter uses",
        got=", ".join(map(str, devices)),
    )
