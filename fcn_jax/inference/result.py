"""The result of segmenting a picture: labels, classes found, drawings and files."""

import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_jax import visualization
from fcn_jax.errors import SettingError
from fcn_jax.inference.labels import View, find_probability
from fcn_jax.inference.outputs import Output, class_index, fitting, planned_outputs
from fcn_jax.meta import Colour, WeightsMeta
from weights_converter.files import replacing

BACKGROUND = ("__background__", "background")
"""Names of class 0 that mean "no object"."""


@dataclasses.dataclass(frozen=True)
class ClassShare:
    """A class found in a picture.

    Attributes:
      index: index of the class.
      name: name of the class.
      pixels: number of pixels with this label.
      share: share of all pixels, in (0, 1].
      confidence: mean probability of the class over those pixels, in (0, 1].
    """

    index: int
    name: str
    pixels: int
    share: float
    confidence: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """One segmented picture, at its own size (H, W). Immutable; it can be pickled.

    Attributes:
      source: path of the picture, or None.
      categories: names of the C classes by index; for one logit of background and foreground.
      image: the picture before the transforms: RGB, upright.
      labels: (H, W) uint8, the most probable class.
      confidence: (H, W) float32 in (0, 1], softmax probability of that class; for one logit its sigmoid, or 1
        minus it.
      views: coarse logits of the picture, one view for each scale and mirror image.
      palette: C colours (red, green, blue) of the classes; None for PASCAL VOC's.
    """

    source: Path | None
    categories: tuple[str, ...]
    image: Image.Image
    labels: np.ndarray
    confidence: np.ndarray
    views: tuple[View, ...]
    palette: tuple[Colour, ...] | None = None

    def __repr__(self) -> str:
        found = ", ".join(f"{found.name} {found.share:.1%}" for found in self.classes)
        return f"Segmentation({self.source}, {self.image.width} x {self.image.height}: {found})"

    @property
    def logits(self) -> np.ndarray:
        """Logits of the first view, (h, w, C) float32 at the model's size, computed at each access."""
        return self.views[0].logits()

    @functools.cached_property
    def classes(self) -> tuple[ClassShare, ...]:
        """The classes found, largest share first."""
        pixels = np.zeros(len(self.categories), np.int64)
        confidence = np.zeros(len(self.categories))
        for labels, weights in zip(self.labels, self.confidence, strict=True):  # bincount makes 64-bit copies
            pixels += np.bincount(labels, minlength=len(pixels))
            confidence += np.bincount(labels, weights, minlength=len(pixels))
        found = sorted(np.flatnonzero(pixels).tolist(), key=lambda index: -pixels[index])
        return tuple(
            ClassShare(
                index=index,
                name=self.categories[index],
                pixels=int(pixels[index]),
                share=float(pixels[index] / self.labels.size),
                confidence=float(confidence[index] / pixels[index]),
            )
            for index in found
        )

    @property
    def colours(self) -> np.ndarray:
        """The colours of the classes, (256, 3) uint8 by label."""
        return WeightsMeta(palette=self.palette).colours()

    @property
    def background(self) -> int | None:
        """Index of the background class: 0 if its name is one of `BACKGROUND`, else None."""
        return 0 if self.categories[0] in BACKGROUND else None

    def probability(self, category: str | int) -> np.ndarray:
        """Computes one class's probability, (H, W) float32 in [0, 1].

        Raises:
          SettingError: the class does not exist; the message lists the classes.
        """
        height, width = self.labels.shape
        return find_probability(self.views, class_index(category, self.categories), (height, width))

    def label_image(self) -> Image.Image:
        """Draws the labels as a palette image: pixel values are class indices."""
        return visualization.label_image(self.labels, colours=self.colours)

    def overlay(self) -> Image.Image:
        """Draws the classes over the picture, with a legend."""
        return visualization.overlay(
            self.image, self.labels, self.categories, background=self.background, colours=self.colours
        )

    def heatmap(self, category: str | int) -> Image.Image:
        """Draws one class's probability over the picture.

        Raises:
          SettingError: the class does not exist; the message lists the classes.
        """
        index = class_index(category, self.categories)
        return visualization.heatmap(self.image, self.probability(index), self.categories[index])

    def figure(self, category: str | int | None = None) -> Image.Image:
        """Draws the picture, the overlay and the heat map of one class side by side.

        Args:
          category: name or index; by default the largest class except the background. Without such a
            class there is no heat map.

        Raises:
          SettingError: the class does not exist; the message lists the classes.
        """
        if category is None:
            category = next((found.index for found in self.classes if found.index != self.background), None)
        index = None if category is None else class_index(category, self.categories)
        return visualization.figure(
            self.image,
            self.labels,
            self.categories,
            background=self.background,
            heat=None if index is None else self.probability(index),
            heat_name=None if index is None else self.categories[index],
            colours=self.colours,
            title=None if self.source is None else self.source.name,
        )

    def save(
        self,
        folder: str | os.PathLike,
        *,
        classes: str | Iterable[str | int] = (),
        stem: str | None = None,
        write: str | Iterable[str] | None = None,
    ) -> list[Path]:
        """Writes drawings as PNG files. An interrupted write leaves no partial file.

        Args:
          folder: created if necessary. Existing files with the same names are replaced.
          classes: names or indices of classes that get a heat map. The figure shows the first.
          stem: start of the file names; by default the stem of `source`, or "image".
          write: what to draw and write, some of "labels", "overlay", "figure" and "heatmap". By default all
            of them, heat maps only if there are `classes`.

        Returns:
          The paths written, of these: <stem>_labels.png, <stem>_overlay.png, <stem>_<class>.png for each of
          `classes`, <stem>_figure.png.

        Raises:
          SettingError: a class or something to write does not exist, there is no class for a heat map, or
            the stem is not a plain file name. Nothing is written.
          OSError: the folder or a file cannot be written.
        """
        outputs = planned_outputs(self.categories, classes, write)
        if stem is None:
            stem = "image" if self.source is None else fitting(self.source.stem)
        elif Path(stem).name != stem:
            raise SettingError(
                subject="stem",
                expected="the start of a file name, without folders",
                got=repr(stem),
                hint="pass the folder as the first argument",
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for part, output in outputs.items():
            paths.append(folder / f"{stem}_{part}.png")
            with replacing(paths[-1]) as temporary:
                self._draw(output).save(temporary)
        return paths

    def _draw(self, output: Output) -> Image.Image:
        if output.kind == "labels":
            return self.label_image()
        if output.kind == "overlay":
            return self.overlay()
        if output.kind == "figure":
            return self.figure(output.category)
        assert output.category is not None, "planned_outputs names the class of a heat map"
        return self.heatmap(output.category)

    def to_dict(self, files: Iterable[str | os.PathLike] = ()) -> dict:
        """Returns a summary for JSON.

        Args:
          files: paths returned by `save`.

        Returns:
          {"source": str or None, "width", "height", "classes": [{"index", "name", "pixels", "share",
          "confidence"}, ...], "files": [str, ...]}
        """
        return {
            "source": None if self.source is None else str(self.source),
            "width": self.image.width,
            "height": self.image.height,
            "classes": [dataclasses.asdict(found) for found in self.classes],
            "files": [os.fspath(file) for file in files],
        }
