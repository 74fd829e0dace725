"""A model compiled for inference, on one device or over several."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.inference.prepare import prepare
from fcn_jax.models.arrays import Arrays, Structure


class Device(Protocol):
    """What is asked of a `jax.Device`, which type checkers do not know as a type."""

    platform: str
    id: int


class Engine:
    """Computes coarse logits of images; each size of images is compiled once. It can be pickled.

    Args:
      model: as it is now; nothing of it is kept but numbers.
      devices: to compute on; JAX's default one if not given. A batch that they divide is split over them;
        anything else is split by rows, and each device fetches from its neighbours what it must see.

    Attributes:
      devices: how many compute.
      upsampler: makes logits of the coarse logits, see `fcn_jax.models.upsampling.Upsampler`.
      compilations: how many programs were compiled.
    """

    def __init__(self, model: nnx.Module, devices: Sequence[Device] | None = None):
        self._devices = tuple(devices or ())
        prepared = prepare(model, platform=self._platform)
        self._structure = Structure(prepared)
        self._in_channels = prepared.spec.in_channels
        self._start()
        params, rest = self._structure.split(prepared)
        self._take(params | rest)

    def update(self, model: nnx.Module) -> None:
        """Takes the weights that a model of the same structure has now; what was computed stays as it is.

        Raises:
          ArrayError: its arrays are others.
        """
        prepared = prepare(model, platform=self._platform)
        params, rest = Structure(prepared).split(prepared)
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
                hint="make another Segmenter for another model",
            )
        self._take(arrays)

    def coarse_logits(self, images: np.ndarray) -> Any:
        """Computes the coarse logits of (N, H, W, C_in) float32 images: a pytree of one array."""
        return self._compute(self._arrays, images)

    def place(self, coarse: Any) -> Any:
        """Lays coarse logits that were put together elsewhere where `upsampler` has its arrays."""
        return jax.device_put(coarse, self._everywhere)

    def shape(self, batch: int, size: tuple[int, int]) -> Any:
        """Tells the shape of the coarse logits of images of size (H, W), without computing."""
        return jax.eval_shape(self._coarse, self._arrays, self._images(batch, size))

    def lowered(self, batch: int, size: tuple[int, int]) -> jax.stages.Lowered:
        """Gives the program for images of size (H, W), to look at."""
        return jax.jit(self._coarse).lower(self._arrays, self._images(batch, size))

    @property
    def _platform(self) -> str | None:
        return self._devices[0].platform if self._devices else None

    def _images(self, batch: int, size: tuple[int, int]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *size, self._in_channels), jnp.float32)

    def _start(self) -> None:
        """Makes what belongs to this process: places on devices, and compiled functions."""
        self.devices = len(self._devices) or 1
        self.compilations = 0
        self._mesh = Mesh(np.array(self._devices), ("data",)) if self.devices > 1 else None
        if self._mesh is not None:
            self._everywhere = NamedSharding(self._mesh, PartitionSpec())
        else:
            self._everywhere = self._devices[0] if self._devices else None

        def compute(arrays: Arrays, images: jax.Array) -> Any:
            self.compilations += 1  # reached only where a program is traced, to be compiled
            return self._coarse(arrays, images)

        self._compute = jax.jit(compute)

    def _coarse(self, arrays: Arrays, images: jax.Array) -> Any:
        if self._mesh is not None:
            divides = images.shape[0] % self.devices == 0
            split = PartitionSpec("data") if divides else PartitionSpec(None, "data")
            images = jax.lax.with_sharding_constraint(images, NamedSharding(self._mesh, split))
        coarse = self._structure.merge(arrays).coarse_logits(images)["out"]
        if self._mesh is not None:  # small, and on every device for what comes after
            coarse = jax.lax.with_sharding_constraint(coarse, self._everywhere)
        return coarse

    def _take(self, arrays: Arrays) -> None:
        self._arrays = jax.device_put(arrays, self._everywhere)
        upsampler = self._structure.merge(self._arrays).upsampler()
        self.upsampler = jax.device_put(upsampler, self._everywhere)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "devices": [(device.platform, device.id) for device in self._devices],
            "structure": self._structure,
            "in_channels": self._in_channels,
            "arrays": jax.device_get(self._arrays),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._devices = tuple(_find_device(*device) for device in state["devices"])
        self._structure = state["structure"]
        self._in_channels = state["in_channels"]
        self._start()
        self._take(state["arrays"])


def _find_device(platform: str, number: int) -> Device:
    there = jax.devices(platform)
    for device in there:
        if device.id == number:
            return device
    raise SettingError(
        subject="devices",
        expected=f"device {number} of {platform}, as where the segmenter was pickled",
        got=", ".join(map(str, there)),
    )
