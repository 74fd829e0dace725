"""The maps of black pictures that VGG16 lays its regions into, computed once for each remainder of a size."""

from collections.abc import Mapping

import jax
import numpy as np

from fcn_jax.algorithms.region import BLACK, black_maps, remainders, take_black_maps
from fcn_jax.models.arrays import Arrays, Structure
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.vgg import VGG16

MOST_KEPT = 64
"""Maps that are kept, of 0.2 MB each; there are 256, and as many for transposed pictures."""


def structure_of(prepared: SegmentationModel) -> Structure[SegmentationModel]:
    """Returns the structure of a prepared model; a VGG16 takes the maps of black pictures from outside."""
    if isinstance(prepared.backbone, VGG16):
        take_black_maps(prepared.backbone)
    return Structure(prepared)


class Frames:
    """Adds the maps of black pictures to a model's arrays, if it needs them; see `algorithms.region`.

    Args:
      structure: of the model, from `structure_of`.
    """

    def __init__(self, structure: Structure[SegmentationModel]):
        self._needed = BLACK in structure.paths
        self._compute = jax.jit(lambda arrays, sizes: black_maps(structure.merge(arrays).backbone, sizes))
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
        if not self._needed:
            return arrays
        maps = []
        for size, (row, column) in zip(sizes, remainders(sizes).tolist(), strict=True):
            key = transposed, row, column
            if key not in self._kept:
                while len(self._kept) >= MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = np.asarray(self._compute(arrays, size[None]))
            maps.append(self._kept[key])
        return arrays | {BLACK: np.concatenate(maps)}
