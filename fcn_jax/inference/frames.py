"""The maps of black pictures that regions are laid into, computed once for each remainder of a size."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.algorithms.black import BLACK, RegionBlocks
from fcn_jax.models.arrays import Arrays, Structure
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.skip_fcn import SkipFCN

MOST_KEPT = 64
"""Maps that are kept, of 0.2 MB each; VGG16 has 256, and as many for transposed pictures, AlexNet four."""


def structure_of(prepared: SegmentationModel) -> Structure[SegmentationModel]:
    """Returns the structure of a prepared model; it takes the maps of black pictures from outside."""
    if isinstance(prepared, SkipFCN) and isinstance(prepared.backbone.first_blocks, RegionBlocks):
        prepared.backbone.first_blocks.take_black_maps(prepared.backbone)
    return Structure(prepared)


class Frames:
    """Adds the maps of black pictures to a model's arrays, if it needs them; see `algorithms.black`.

    Args:
      structure: of the model, from `structure_of`.
    """

    def __init__(self, structure: Structure[SegmentationModel]):
        self._blocks: RegionBlocks | None = None
        if BLACK in structure.paths:
            nothing: Any = dict.fromkeys(structure.paths, jax.ShapeDtypeStruct((), jnp.float32))
            self._blocks = structure.merge(nothing).backbone.first_blocks

        def compute(arrays: Arrays, sizes: jax.Array) -> jax.Array:
            backbone = structure.merge(arrays).backbone
            return backbone.first_blocks.black_maps(backbone, sizes)

        self._compute = jax.jit(compute)
        self._kept: dict[tuple[bool, int, int], np.ndarray] = {}

    def clear(self) -> None:
        """Forgets all maps; to call after the weights have changed."""
        self._kept.clear()

    def added(
        self, arrays: Arrays, sizes: np.ndarray, transposed: bool
    ) -> Mapping[str, jax.Array | np.ndarray]:
        """Returns the arrays with the maps for images of some sizes.

        Args:
          arrays: the weights.
          sizes: (N, 2) int32.
          transposed: whether the weights are those of transposed images.
        """
        if self._blocks is None:
            return arrays
        maps = []
        for size, (row, column) in zip(sizes, self._blocks.remainders(sizes).tolist(), strict=True):
            key = transposed, row, column
            if key not in self._kept:
                while len(self._kept) >= MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = np.asarray(self._compute(arrays, size[None]))
            maps.append(self._kept[key])
        return arrays | {BLACK: np.concatenate(maps)}
