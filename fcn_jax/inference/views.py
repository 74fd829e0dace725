"""Computes what a model sees of pictures: a view for each scale and mirror image, whole or in tiles."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from fcn_jax.inference.engine import Engine, Slot, coarse_side
from fcn_jax.inference.foreign import WholeLogits
from fcn_jax.inference.labels import View
from fcn_jax.inference.plan import Plan, Planner
from fcn_jax.inference.reading import Loaded, normalize
from fcn_jax.inference.tiling import pixels_seen, tiled
from fcn_jax.inference.windows import average_windows

OnProgress = Callable[[int, int], None]


def ignore_progress(done: int, total: int) -> None:
    """Does nothing."""


@dataclasses.dataclass(frozen=True)
class Viewer:
    """Computes views of pictures, those of a batch at once. A pickle leaves out `on_progress`.

    Attributes:
      engine: computes coarse logits.
      planner: chooses sizes and tiles.
      flip: compute a view of the mirror image for each scale too.
      on_progress: called after each tile or window of a picture as on_progress(tiles done, tiles in total).
    """

    engine: Engine
    planner: Planner
    flip: bool
    on_progress: OnProgress

    def slots(
        self, plans: Sequence[Plan], batch_size: int | None, most: int | None = None
    ) -> tuple[Slot | None, ...]:
        """Chooses where each scale of a picture is computed, and starts to compile what is new.

        Args:
          plans: of the picture.
          batch_size: see `Segmenter`.
          most: number of pictures that there are, if it is known.

        Returns:
          A slot for each plan, of a window if there are windows; None for tiles, computed one by one.
        """
        count = batch_size or self.engine.batch_for(plans[0].size)
        if batch_size is None and most is not None:
            count = min(count, 2 ** (most - 1).bit_length())
        window = self.planner.window
        if window is not None:
            parts = [tuple(map(min, plan.size, window.crop)) for plan in plans]
            return tuple(self.engine.slot((height, width), 1) for height, width in parts)
        if any(plan.tile for plan in plans):
            count = 1
        return tuple(None if plan.tile else self.engine.slot(plan.size, count) for plan in plans)

    def views(self, loaded: Sequence[Loaded], slots: Sequence[Slot | None]) -> list[tuple[View, ...]]:
        """Computes the views of pictures that share their slots.

        Returns:
          For each picture a view for each scale and mirror image, in this order.
        """
        views: list[tuple[View, ...]] = [() for _ in loaded]
        for scale, slot in enumerate(slots):
            for mirrored in (False, True) if self.flip else (False,):
                inputs = [each.inputs[scale] for each in loaded]
                if mirrored:
                    inputs = [values[:, ::-1] for values in inputs]
                if slot is not None and self.planner.window is not None:
                    found = [self._averaged(values, slot, mirrored) for values in inputs]
                elif slot is None:
                    tiles = [each.plans[scale].tile for each in loaded]
                    found = [
                        self._tiled(values, tile, mirrored)
                        for values, tile in zip(inputs, tiles, strict=True)
                        if tile is not None
                    ]
                else:
                    found = self._whole(inputs, slot, mirrored)
                views = [(*before, view) for before, view in zip(views, found, strict=True)]
        return views

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"on_progress": ignore_progress}

    def _whole(self, inputs: Sequence[np.ndarray], slot: Slot, mirrored: bool) -> list[View]:
        """Computes one view of whole pictures."""
        upsampler = self.engine.upsampler(transposed=slot.transposed)
        views = []
        for values, coarse in zip(inputs, self.engine.coarse_logits(inputs, slot), strict=True):
            size = upsampler.size(coarse, (values.shape[0], values.shape[1]))
            views.append(View(coarse, upsampler, size, mirrored, slot.transposed))
        return views

    def _averaged(self, values: np.ndarray, slot: Slot, mirrored: bool) -> View:
        """Computes one view of a picture as the average of windows."""
        window = self.planner.window
        assert window is not None, "the caller saw it"
        upsampler = self.engine.upsampler(transposed=slot.transposed)

        def compute(part: np.ndarray) -> np.ndarray:
            (coarse,) = self.engine.coarse_logits([part], slot)
            size = upsampler.size(coarse, (part.shape[0], part.shape[1]))
            return View(coarse, upsampler, size, transposed=slot.transposed).logits()

        height, width, _ = values.shape
        sides = coarse_side(height), coarse_side(width)  # few shapes, so few programs read them
        result = average_windows(compute, values, window, sides, on_progress=self.on_progress)
        whole = WholeLogits(align_corners=getattr(upsampler, "align_corners", False))
        return View(jax.device_put(result[None]), whole, (height, width), mirrored)

    def _tiled(self, pixels: np.ndarray, tile: int, mirrored: bool) -> View:
        """Computes one view of a picture in tiles."""
        probe, transforms = self.planner.probe, self.planner.transforms
        assert probe is not None, "the planner tiles only models with a probe"
        size = pixels.shape[0], pixels.shape[1]
        side = pixels_seen(tile, probe.field, self.planner.halo)
        slot = self.engine.slot((min(side, size[0]), min(side, size[1])), 1, upright=True)

        def compute(image: np.ndarray) -> jax.Array:
            (coarse,) = self.engine.coarse_logits([normalize(image, transforms)], slot)
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
                halo=self.planner.halo,
                on_progress=self.on_progress,
            )

        return View(self.engine.assemble(size, fill), self.engine.upsampler(), size, mirrored)
