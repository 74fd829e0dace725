"""A model compiled for inference, on one device or several."""

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
    """The part of `jax.Device` that is used here; type checkers do not accept `jax.Device` as a type."""

    platform: str
    id: int


class Engine:
    """Computes coarse logits of images. It compiles once for each size of images, and can be pickled.

    Args:
      model: its arrays are copied now.
      devices: to compute on; by default JAX's default device. A batch is split over the devices if they
        divide it. Otherwise images are split by rows, and devices exchange the rows at the seams.

    Attributes:
      devices: number of devices.
      upsampler: computes logits from coarse logits, see `fcn_jax.models.upsampling.Upsampler`.
      compilations: number of programs compiled so far.
    """

    def __init__(self, model: nnx.Module, devices: Sequence[Device] | None = None):
        self._devices = tuple(devices or ())
        prepared = prepare(model, platform=self._platform)
        self._structure = Structure(prepared)
        self._in_channels = prepared.spec.in_channels
        self._set_up_process()
        params, rest = self._structure.split(prepared)
        self._set_arrays(params | rest)

    def update(self, model: nnx.Module) -> None:
        """Replaces the weights by those of a model of the same structure. Earlier results do not change.

        Raises:
          ArrayError: the arrays have other names or shapes.
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
                hint="make a new Segmenter for another model",
            )
        self._set_arrays(arrays)

    def coarse_logits(self, images: np.ndarray) -> Any:
        """Computes coarse logits, a pytree of one array, from images (N, H, W, C_in) float32."""
        return self._compute(self._arrays, images)

    def place(self, coarse: Any) -> Any:
        """Puts coarse logits, such as those assembled from tiles, on the devices of `upsampler`."""
        return jax.device_put(coarse, self._placement)

    def shape(self, batch: int, size: tuple[int, int]) -> Any:
        """Returns the shapes of the coarse logits of images of size (H, W), without computing."""
        return jax.eval_shape(self._coarse, self._arrays, self._images(batch, size))

    def lowered(self, batch: int, size: tuple[int, int]) -> jax.stages.Lowered:
        """Returns the lowered program for images of size (H, W)."""
        return jax.jit(self._coarse).lower(self._arrays, self._images(batch, size))

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

        def compute(arrays: Arrays, images: jax.Array) -> Any:
            self.compilations += 1  # runs only during tracing, once for each compilation
            return self._coarse(arrays, images)

        self._compute = jax.jit(compute)

    def _coarse(self, arrays: Arrays, images: jax.Array) -> Any:
        if self._mesh is not None:
            divides = images.shape[0] % self.devices == 0
            split = PartitionSpec("data") if divides else PartitionSpec(None, "data")
            images = jax.lax.with_sharding_constraint(images, NamedSharding(self._mesh, split))
        coarse = self._structure.merge(arrays).coarse_logits(images)["out"]
        if self._mesh is not None:  # coarse logits are small; every device gets all of them
            coarse = jax.lax.with_sharding_constraint(coarse, self._placement)
        return coarse

    def _set_arrays(self, arrays: Arrays) -> None:
        self._arrays = jax.device_put(arrays, self._placement)
        upsampler = self._structure.merge(self._arrays).upsampler()
        self.upsampler = jax.device_put(upsampler, self._placement)

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
        self._set_up_process()
        self._set_arrays(state["arrays"])


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
