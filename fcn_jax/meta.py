"""The record that travels with weights: transforms, categories and palette of their training data."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcn_jax.categories import BINARY_CATEGORIES, VOC_CATEGORIES, voc_palette
from fcn_jax.errors import SettingError
from fcn_jax.transforms import ImageClassification, Preset

Colour = tuple[int, int, int]
KINDS = {"transforms": dict, "categories": list, "palette": list, "window": dict, "threshold": float}
"""{entry of a file's metadata: what its JSON holds}."""
SETTINGS = {"transforms": "preset", "window": "window"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """A window that slides over a picture; the logits of windows that overlap are averaged.

    Attributes:
      crop: (height, width) of the window in pixels.
      stride: (down, right) from one window to the next, at most the crop, so that no pixel is left out.

    Raises:
      SettingError: a number is below 1, or a stride exceeds its crop.
    """

    crop: tuple[int, int]
    stride: tuple[int, int]

    def __post_init__(self):
        for name in ("crop", "stride"):
            pair = getattr(self, name)
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(_is_length, pair)):
                raise SettingError(
                    subject=name, expected="two numbers of pixels of at least 1", got=repr(pair)[:80]
                )
            object.__setattr__(self, name, tuple(pair))
        if any(step > side for step, side in zip(self.stride, self.crop, strict=True)):
            raise SettingError(
                subject="stride", expected=f"at most the window, {self.crop}", got=str(self.stride)
            )

    @staticmethod
    def from_dict(settings: Mapping[str, Any]) -> "Window":
        """Makes a window from {"crop": [769, 769], "stride": [513, 513]}.

        Raises:
          SettingError: the settings are others, or make no sense.
        """
        if sorted(settings) != ["crop", "stride"]:
            raise SettingError(subject="window", expected="crop and stride", got=str(list(settings))[:80])
        return Window(**settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsMeta:
    """What a model and a checkpoint hold beside the numbers.

    Attributes:
      transforms: the preset that prepares a picture for the model; None if unknown.
      categories: names of the C classes by index; None if unknown. Those of one logit are the names of
        background and foreground.
      palette: C colours (red, green, blue) of the classes, from 0 to 255; None for PASCAL VOC's.
      window: the sliding window that the weights were tested with; None if they saw whole pictures.
      threshold: the probability from which a pixel is foreground, for one logit; None for 0.5.

    Raises:
      SettingError: a name is not text, a colour is not three numbers from 0 to 255, or the threshold is not
        between 0 and 1.
    """

    transforms: Preset | None = None
    categories: tuple[str, ...] | None = None
    palette: tuple[Colour, ...] | None = None
    window: Window | None = None
    threshold: float | None = None

    def __post_init__(self):
        if self.threshold is not None and not (
            isinstance(self.threshold, int | float) and 0 < self.threshold < 1
        ):
            raise SettingError(
                subject="threshold", expected="a probability between 0 and 1", got=repr(self.threshold)[:80]
            )
        if self.categories is not None:
            if isinstance(self.categories, str) or not all(isinstance(name, str) for name in self.categories):
                raise SettingError(
                    subject="categories", expected="a list of names", got=repr(self.categories)[:80]
                )
            object.__setattr__(self, "categories", tuple(self.categories))
        if self.palette is not None:
            if not all(map(_is_colour, self.palette)):
                raise SettingError(
                    subject="palette",
                    expected="a list of colours [r, g, b] from 0 to 255",
                    got=repr(self.palette)[:80],
                )
            object.__setattr__(self, "palette", tuple(map(tuple, self.palette)))

    def check(self, num_classes: int) -> None:
        """Checks that the record fits a model.

        Args:
          num_classes: of the model; 1 for one logit, whose labels have two names: background and foreground.

        Raises:
          SettingError: there is not one name and one colour for each class, or a threshold for several
          logits.
        """
        count = 2 if num_classes == 1 else num_classes
        which = "for background and foreground" if num_classes == 1 else "one for each class"
        for field, values in (("categories", self.categories), ("palette", self.palette)):
            if values is not None and len(values) != count:
                raise SettingError(subject=field, expected=f"{count}, {which}", got=f"{len(values)}")
        if self.threshold is not None and num_classes != 1:
            raise SettingError(
                subject="threshold",
                expected=f"none for {num_classes} classes, only for one logit",
                got=str(self.threshold),
            )

    def names(self, num_classes: int) -> tuple[str, ...]:
        """Returns the names of the labels.

        Without any, they are PASCAL VOC's for 21 classes, "background" and "foreground" for one logit, else
        "class 0", "class 1", ...
        """
        if self.categories is not None:
            return self.categories
        if num_classes == len(VOC_CATEGORIES):
            return VOC_CATEGORIES
        if num_classes == 1:
            return BINARY_CATEGORIES
        return tuple(f"class {index}" for index in range(num_classes))

    def colours(self) -> np.ndarray:
        """Returns (256, 3) uint8 colours by label; PASCAL VOC's for labels without a colour."""
        colours = voc_palette(256)
        if self.palette is not None:
            colours[: len(self.palette)] = self.palette
        return colours

    def to_metadata(self) -> dict[str, str]:
        """Returns the record as {name: text}, for the metadata of a file."""
        metadata = {}
        if self.transforms is not None:
            metadata["transforms"] = json.dumps(self.transforms.to_dict())
        if self.categories is not None:
            metadata["categories"] = json.dumps(list(self.categories))
        if self.palette is not None:
            metadata["palette"] = json.dumps([list(colour) for colour in self.palette])
        if self.window is not None:
            metadata["window"] = json.dumps(dataclasses.asdict(self.window))
        if self.threshold is not None:
            metadata["threshold"] = json.dumps(self.threshold)
        return metadata

    @staticmethod
    def from_metadata(metadata: Mapping[str, str], num_classes: int) -> "WeightsMeta":
        """Reads what `to_metadata` wrote.

        Raises:
          SettingError: the text makes no sense, or is for another number of classes.
        """
        found = {
            name: _parsed(name, metadata[name], kind) for name, kind in KINDS.items() if name in metadata
        }
        if num_classes == 1:  # files from before one logit had two labels
            if len(found.get("categories", ())) == 1:
                found["categories"] = [BINARY_CATEGORIES[0], *found["categories"]]
            if len(found.get("palette", ())) == 1:
                found["palette"] = [[0, 0, 0], *found["palette"]]
        if "transforms" in found:
            found["transforms"] = _preset(found["transforms"])
        if "window" in found:
            found["window"] = Window.from_dict(found["window"])
        meta = WeightsMeta(**found)
        meta.check(num_classes)
        return meta


def palette_of(colours: np.ndarray, num_classes: int) -> tuple[Colour, ...]:
    """Returns the colours of the classes from a dataset's (256, 3) colours by label."""
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colours[:num_classes])


def _parsed(name: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingError(subject=name, expected="JSON", got=repr(text[:80])) from error
    if not isinstance(value, kind):
        settings = f"an object with the settings of a {SETTINGS.get(name)}"
        what = {dict: settings, list: "a list", float: "a number"}[kind]
        raise SettingError(subject=name, expected=what, got=repr(value)[:80])
    return value


def _preset(settings: dict[str, Any]) -> Preset:
    try:
        transforms = Preset.from_dict(settings)
    except SettingError as error:
        raise SettingError(f"transforms: {error}") from error
    if isinstance(transforms, ImageClassification):
        raise SettingError(
            subject="transforms", expected="a preset that keeps the whole picture", got="ImageClassification"
        )
    return transforms


def _is_length(value: object) -> bool:
    return type(value) is int and value > 0


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    )
