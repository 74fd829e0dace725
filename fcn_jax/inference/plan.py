"""Decides how a picture goes through a model: at which sizes, whole or in tiles, or not at all."""

import dataclasses
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from fcn_jax.errors import SettingError, WrongTypeError
from fcn_jax.images import ImageError, check_bands
from fcn_jax.inference.receptive_field import Probe
from fcn_jax.inference.tiling import pixels_seen
from fcn_jax.meta import Window
from fcn_jax.transforms import Preset

MAX_MODEL_PIXELS = 8_000_000
"""Largest picture, with its border, that a model sees at once: about 4 GiB in fcn_resnet50."""
AUTO_TILE = 1024
"""Side of the tiles of larger pictures."""
SMALLEST_TILE = 32
"""Error messages suggest no smaller tile."""


@runtime_checkable
class Transforms(Protocol):
    """Turns a picture into the image that a model reads. Every preset does this."""

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns (H, W) of the image made from a picture of (H, W)."""
        ...

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Returns (H, W, 3) float32."""
        ...


class Plan(NamedTuple):
    """The size (h, w) at which the model sees a picture, and the side of its tiles, or None for no tiles."""

    size: tuple[int, int]
    tile: int | None


@dataclasses.dataclass(frozen=True)
class Planner:
    """Plans how pictures go through a model.

    Attributes:
      transforms: applied to pictures first.
      model: name of the model in messages; or why it cannot be tiled.
      border: see `SegmentationModel`.
      probe: measures the model's receptive field; None if the model cannot be tiled.
      tile, halo, scales: see `Segmenter`.
      devices: number of devices.
      window: see `Segmenter`.
      bands: of a picture that the model sees, see `fcn_jax.images.open_image`.

    Raises:
      WrongTypeError: the transforms have no method `output_size`.
      SettingError: a number is out of range, or the transforms or the model do not support a setting.
    """

    transforms: Transforms
    model: str
    border: int
    probe: Probe | None
    tile: int | Literal["auto"] | None = "auto"
    halo: int | None = None
    scales: Sequence[float] = (1.0,)
    devices: int = 1
    window: Window | None = None
    bands: Sequence[int] | None = None

    def __post_init__(self):
        check_bands(self.bands)
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
                f"other scales than 1 need a preset of fcn_jax.transforms, got {self.transforms!r}",
                subject="scales",
            )
        tile = self.tile
        if tile not in (None, "auto") and not (isinstance(tile, Integral) and tile > 0):
            raise SettingError(subject="tile", expected='a number of pixels, "auto" or None', got=repr(tile))
        if self.halo is not None and self.halo < 0:
            raise SettingError(
                subject="halo", expected="a number of pixels of at least 0", got=str(self.halo)
            )
        if self.window is not None and (isinstance(tile, Integral) or self.halo is not None):
            raise SettingError(
                subject="window",
                expected="either windows, which change the result, or tiles, which do not",
                got="both",
                hint="leave {tile} and {halo} out",
            )
        if self.probe is None and (isinstance(tile, Integral) or self.halo is not None):
            raise SettingError(
                subject="tile, halo",
                expected="a model whose receptive field can be measured",
                got=f"one without: {self.model}",
                hint="leave them out",
            )

    def plans(self, size: tuple[int, int], path: Path | None = None) -> list[Plan]:
        """Returns a plan for each scale, for a picture of size (H, W).

        Raises:
          ImageError: the picture is too large for the model; the message names `path`.
        """
        transformed = self.transforms.output_size(size)
        plans = []
        for scale in self.scales:
            height, width = (max(1, round(scale * edge)) for edge in transformed)
            tile = self._tile_for((height, width), transformed, size, path)
            plans.append(Plan((height, width), tile))
        return plans

    def _tile_for(
        self,
        size: tuple[int, int],
        transformed: tuple[int, int],
        original: tuple[int, int],
        path: Path | None,
    ) -> int | None:
        """Returns the side of the tiles, or None, for pictures that the model sees at `size`."""
        if self.window is not None:
            return None
        limit = MAX_MODEL_PIXELS * self.devices
        height, width = (edge + 2 * self.border for edge in size)
        whole = height * width <= limit
        # Transforms can enlarge a narrow strip until tiles take an hour; only an explicit tile allows that.
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
                expected=f"tiles of at most {MAX_MODEL_PIXELS:,} pixels with their surroundings",
                got=f"tiles of {tile}, with surroundings {width} x {height} = {width * height:,}",
                hint="choose a smaller {tile}",
            )
        return tile

    def _advice(self) -> str:
        why = f" (it is not cut into tiles, because {self.model})" if self.probe is None else ""
        if not (isinstance(self.transforms, Preset) and self.transforms.resizes):
            return f"crop or shrink it{why}"
        return f"crop it, or choose a smaller {{resize_size}}{why}"

    def advice_on_memory(self, plans: Sequence[Plan]) -> str:
        """Returns the hint of an error after memory was too small for these plans."""
        tiles = [plan.tile for plan in plans if plan.tile]
        smaller = min(tiles) // 2 if tiles else AUTO_TILE
        if self.probe is None or smaller < SMALLEST_TILE:
            return "crop or shrink it"
        return f"try {{tile}}={smaller}"
