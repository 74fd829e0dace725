"""A model compiled for inference, on one device or over several."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fcn_jax.inference.prepare import prepare
from fcn_jax.inference.rows import Scores, compute_scores, upsample_rows
from fcn_jax.models.arrays import Arrays, Structure


class Engine:
    """Computes scores of images, and rows of logits from scores; each size of images is compiled once.

    Args:
      model: as it is now.
      devices: to compute on; JAX's default one if not given. A batch that they divide is split over them;
        anything else is split by rows, and each device fetches from its neighbours what it must see.
    """

    def __init__(self, model: nnx.Module, devices: Sequence[jax.Device] | None = None):
        self._platform = devices[0].platform if devices else None
        model = prepare(model, platform=self._platform)
        self._structure = structure = Structure(model)
        self.devices = len(devices) if devices else 1
        mesh = Mesh(np.array(devices), ("data",)) if self.devices > 1 else None
        everywhere = NamedSharding(mesh, PartitionSpec()) if mesh else devices[0] if devices else None
        self._everywhere = everywhere  # where every device that computes has them
        self._arrays = self._taken_from(model)

        def scores(arrays, images):
            if mesh:
                divides = images.shape[0] % self.devices == 0
                split = PartitionSpec("data") if divides else PartitionSpec(None, "data")
                images = jax.lax.with_sharding_constraint(images, NamedSharding(mesh, split))
            values = compute_scores(structure.merge(arrays), images)
            # Small, and on every device for what comes after.
            return jax.lax.with_sharding_constraint(values, everywhere) if mesh else values

        def rows(arrays, values, start, size, count):
            logits = upsample_rows(structure.merge(arrays), values, size, start, count)
            return logits[0].astype(jnp.float32)

        self._compute = jax.jit(scores)
        self._shape = partial(jax.eval_shape, scores, self._arrays)
        self._rows = jax.jit(rows, static_argnums=(3, 4))

    def update(self, model: nnx.Module) -> None:
        """Takes the weights that a model of the same structure has now."""
        self._arrays = self._taken_from(prepare(model, platform=self._platform))

    def _taken_from(self, prepared: nnx.Module) -> Arrays:
        params, rest = self._structure.split(prepared)
        return jax.device_put(params | rest, self._everywhere)

    def scores(self, images: np.ndarray) -> Scores:
        """Computes (N, H, W, 3) images' scores."""
        return self._compute(self._arrays, images)

    def place(self, scores: Scores) -> Scores:
        """Lays scores from elsewhere where `rows` reads them."""
        return jax.device_put(scores, self._everywhere)

    def shape(self, batch: int, size: tuple[int, int]) -> Scores:
        """Tells the shape of the scores of images of a size, without computing."""
        return self._shape(jax.ShapeDtypeStruct((batch, *size, 3), jnp.float32))

    def rows(self, scores: Scores, size: tuple[int, int], start: int, count: int) -> jax.Array:
        """Computes rows of the logits of one image of size (H, W): (count, W, C) float32."""
        return self._rows(self._arrays, scores, np.int32(start), size, count)
