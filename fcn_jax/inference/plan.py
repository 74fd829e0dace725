"""How a picture goes through a model: at which sizes, whole or in tiles; and what is too large for it."""

import dataclasses
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from fcn_jax.errors import SettingError, WrongTypeError
from fcn_jax.images import ImageError
from fcn_jax.inference.receptive_field import Probe
from fcn_jax.inference.tiling import pixels_seen
from fcn_jax.transforms import Preset

MAX_MODEL_PIXELS = 8_000_000
"""The largest picture given to a model at once, with its border; some 4 GiB in fcn_resnet50."""
AUTO_TILE = 1024
"""Side of the tiles of what is larger."""
SMALLEST_TILE = 32
"""Smaller ones are not worth advising."""


@runtime_checkable
class Transforms(Protocol):
    """What makes the image that a model reads of a picture; every preset does."""

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tells (H, W) of the image that a picture of (H, W) becomes."""
        ...

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Gives (H, W, 3) float32."""
        ...


class Plan(NamedTuple):
    """One way of a picture through the model: the size (h, w) that it sees, and the side of tiles, if any."""

    size: tuple[int, int]
    tile: int | None


@dataclasses.dataclass(frozen=True)
class Planner:
    """Plans the way of pictures through a model.

    Attributes:
      transforms: what pictures go through before.
      model: what the model is called in messages.
      border: see `SegmentationModel`.
      probe: measures what the model's coarse logits depend on; None if it cannot be tiled.
      tile, halo, scales: see `Segmenter`.
      devices: how many compute together.

    Raises:
      WrongTypeError: the transforms cannot tell their output size.
      SettingError: a number out of its range, or a setting that the transforms or the model do not bear.
    """

    transforms: Transforms
    model: str
    border: int
    probe: Probe | None
    tile: int | Literal["auto"] | None = "auto"
    halo: int | None = None
    scales: Sequence[float] = (1.0,)
    devices: int = 1

    def __post_init__(self):
        if not isinstance(self.transforms, Transforms):
            raise WrongTypeError(
                expected="transforms with a method output_size((H, W))",
                got=repr(self.transforms),
                hint="try fcn_jax.transforms.SemanticSegmentation",
            )
        if not self.scales or not all(scale > 0 for scale in self.scales):
            raise SettingError(subject="scales", expected="numbers above 0", got=str(tuple(self.scales)))
        if tuple(self.scales) != (1.0,) and not isinstance(self.transforms, Preset):
            raise SettingError(
                subject="scales",
                expected="a preset of fcn_jax.transforms with them",
                got=repr(self.transforms),
            )
        tile = self.tile
        if tile not in (None, "auto") and not (isinstance(tile, Integral) and tile > 0):
            raise SettingError(subject="tile", expected='a number of pixels, "auto" or None', got=repr(tile))
        if self.halo is not None and self.halo < 0:
            raise SettingError(
                subject="halo", expected="a number of pixels of at least 0", got=str(self.halo)
            )
        if self.probe is None and (isinstance(tile, Integral) or self.halo is not None):
            raise SettingError(
                subject="tile, halo",
                expected="a model of fcn_jax, whose receptive field can be measured",
                got=self.model,
                hint="leave them out",
            )

    def plans(self, size: tuple[int, int], count: int, path: Path | None = None) -> list[Plan]:
        """Decides how so many pictures of a size (H, W) go through the model together, at each scale.

        Raises:
          ImageError: they are too large for it, `path` among them.
        """
        transformed = self.transforms.output_size(size)
        plans = []
        for scale in self.scales:
            height, width = (max(1, round(scale * edge)) for edge in transformed)
            tile = self._tile_for((height, width), transformed, size, count, path)
            plans.append(Plan((height, width), tile))
        return plans

    def _tile_for(
        self,
        size: tuple[int, int],
        transformed: tuple[int, int],
        original: tuple[int, int],
        count: int,
        path: Path | None,
    ) -> int | None:
        """Decides whether pictures, of `size` as the model sees them, are tiled: the side of a tile."""
        limit = MAX_MODEL_PIXELS * self.devices
        height, width = (edge + 2 * self.border for edge in size)
        whole = count * height * width <= limit
        # A strip blown up by the transforms is refused rather than computed for an hour, unless asked for.
        enlarged = transformed[0] * transformed[1] > original[0] * original[1]
        if self.tile == "auto" and not whole and (enlarged or self.probe is None):
            raise ImageError(
                path=path,
                expected=f"a picture of at most {MAX_MODEL_PIXELS:,} pixels once transformed",
                got=f"{original[1]} x {original[0]}, which becomes {width} x {height} = {width * height:,}",
                hint=self._advice(),
            )
        if self.tile is None or (self.tile == "auto" and whole):
            return None
        assert self.probe is not None, "checked above, and by __post_init__"
        tile = AUTO_TILE if self.tile == "auto" else int(self.tile)
        seen = pixels_seen(tile, self.probe.field, self.halo)
        height, width = (min(seen, edge) + 2 * self.border for edge in size)
        if height * width > limit and not whole:
            raise ImageError(
                path=path,
                expected=f"tiles with which the model sees at most {MAX_MODEL_PIXELS:,} pixels at once",
                got=f"tiles of {tile}, with which it sees {width} x {height} = {width * height:,}",
                hint="choose a smaller {tile}",
            )
        return tile

    def _advice(self) -> str:
        if not (isinstance(self.transforms, Preset) and self.transforms.resizes):
            return "crop or shrink it"
        return "crop it, or have it resized with a smaller {resize_size}"

    def advice_on_memory(self, plans: Sequence[Plan]) -> str:
        """Says what would help where the memory was too small for these plans."""
        tiles = [plan.tile for plan in plans if plan.tile]
        smaller = min(tiles) // 2 if tiles else AUTO_TILE
        if self.probe is None or smaller < SMALLEST_TILE:
            return "crop or shrink it"
        return f"try {{tile}}={smaller}"
