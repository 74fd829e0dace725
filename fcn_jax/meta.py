"""The record that travels with weights: transforms, categories and palette of their training data."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fcn_jax.categories import VOC_CATEGORIES, voc_palette
from fcn_jax.errors import SettingError
from fcn_jax.transforms import ImageClassification, Preset

Colour = tuple[int, int, int]
KINDS = {"transforms": dict, "categories": list, "palette": list, "window": dict}
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
      categories: names of the C classes by index; None if unknown.
      palette: C colours (red, green, blue) of the classes, from 0 to 255; None for PASCAL VOC's.
      window: the sliding window that the weights were tested with; None if they saw whole pictures.

    Raises:
      SettingError: a name is not text, or a colour is not three numbers from 0 to 255.
    """

    transforms: Preset | None = None
    categories: tuple[str, ...] | None = None
    palette: tuple[Colour, ...] | None = None
    window: Window | None = None

    def __post_init__(self):
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
        """Raises SettingError unless there is one name and one colour for each class."""
        for field, values in (("categories", self.categories), ("palette", self.palette)):
            if values is not None and len(values) != num_classes:
                raise SettingError(
                    subject=field, expected=f"{num_classes}, one for each class", got=f"{len(values)}"
                )

    def names(self, num_classes: int) -> tuple[str, ...]:
        """Returns the names of the classes; without any, PASCAL VOC's for 21 classes, else "class 0", ..."""
        if self.categories is not None:
            return self.categories
        if num_classes == len(VOC_CATEGORIES):
            return VOC_CATEGORIES
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
        what = f"an object with the settings of a {SETTINGS[name]}" if kind is dict else "a list"
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
