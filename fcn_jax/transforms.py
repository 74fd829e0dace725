"""Presets that turn a picture into the model's input: torchvision's two, equal to the last bit, Caffe's, and
mmsegmentation's.

Pillow resizes, in 8 bits and antialiased, as in torchvision for Pillow images. (For tensors torchvision has
its own interpolation, which differs by a few grey levels.) mmsegmentation's resizing does not average.

Source: `torchvision.transforms._presets`, torchvision 0.28; `mmcv.imrescale` and `mmcv.imnormalize`.
"""

import abc
import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from fcn_jax.errors import SettingError
from fcn_jax.images import open_image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset(abc.ABC):
    """Prepares pictures for a model. Its settings can be written to a file's metadata and read back.

    Attributes:
      resizes: whether `with_resize` can choose a size.

    Raises:
      SettingError: a setting is out of its range.
    """

    resizes: ClassVar[bool] = False

    @property
    def origin(self) -> str:
        """The program that prepares images in this way: "torchvision" or "caffe"."""
        return "torchvision"

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
            expected = _expected_instead(field, value)
            if expected:
                raise SettingError(subject=field.name, expected=expected, got=repr(value)[:80])

    @abc.abstractmethod
    def __call__(self, image) -> np.ndarray:
        """Prepares one picture.

        Args:
          image: what `fcn_jax.images.open_image` takes.

        Returns:
          (H, W, 3) float32; the size is `output_size`.

        Raises:
          ImageError: see `open_image`.
        """

    @abc.abstractmethod
    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns (H, W) of the array for a picture of `size` (H, W)."""

    @abc.abstractmethod
    def normalize(self, pixels) -> Any:
        """Normalizes pixels that are already resized.

        In a compiled function a division can differ in the last bit.

        Args:
          pixels: (..., H, W, 3) 8-bit RGB, a NumPy or a JAX array.

        Returns:
          float32 of the same shape, for the model.
        """

    def resize(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """Resizes a picture to (H, W) as the preset does."""
        return _resize(image, size)

    def with_resize(self, size: int | None) -> "Preset":
        """Returns the preset with another length of the shorter edge; None keeps each picture's size.

        Raises:
          SettingError: this preset does not resize, and `size` is not None.
        """
        if size is None:
            return self
        raise SettingError(
            subject="resize_size",
            expected=f"None, because {type(self).__name__} does not resize",
            got=repr(size),
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings in a form for JSON: {"name": "SemanticSegmentation", ...}."""
        settings = dataclasses.asdict(self)
        return {"name": type(self).__name__} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
        }

    @staticmethod
    def from_dict(settings: dict[str, Any]) -> "Preset":
        """Makes a preset from the dict of `to_dict`.

        Raises:
          SettingError: no preset has this name or these settings.
        """
        presets = {preset.__name__: preset for preset in Preset.__subclasses__()}
        name = settings.get("name")
        if not isinstance(name, str) or name not in presets:
            raise SettingError(expected=f"the name of a preset, one of {sorted(presets)}", got=repr(name))
        expected = [field.name for field in dataclasses.fields(presets[name])]
        given = {key: value for key, value in settings.items() if key != "name"}
        if sorted(given) != sorted(expected):
            raise SettingError(expected=f"the settings {expected} for {name}", got=str(list(given)))
        return presets[name](**given)


def _expected_instead(field: dataclasses.Field, value: object) -> str | None:
    """Describes the values that a setting may have; None if its value is one of them."""
    if field.name in ("mean", "std"):
        numbers = value if isinstance(value, list | tuple) else ()
        good = len(numbers) == 3 and all(
            isinstance(number, int | float) and math.isfinite(number) and (field.name == "mean" or number > 0)
            for number in numbers
        )
        return None if good else f"three numbers{' above 0' if field.name == 'std' else ''}"
    optional = field.type is not int
    good = (value is None and optional) or (type(value) is int and value > 0)
    return None if good else f"a length of at least 1{', or None' if optional else ''}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticSegmentation(Preset):
    """Resizes the shorter edge to `resize_size`, then computes (value / 255 - mean) / std for each channel.

    Attributes:
      resize_size: length of the shorter edge, or None to keep the size. The longer edge is
        int(resize_size * long / short).
      mean, std: of red, green and blue, on a scale of 0 to 1.
    """

    resizes: ClassVar[bool] = True
    resize_size: int | None = 520
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def with_resize(self, size: int | None) -> "SemanticSegmentation":
        """See `Preset`."""
        return dataclasses.replace(self, resize_size=size)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`."""
        return size if self.resize_size is None else _shorter_edge_to(self.resize_size, size)

    def __call__(self, image) -> np.ndarray:
        """See `Preset`."""
        image = open_image(image)
        image = _resize(image, self.output_size((image.height, image.width)))
        return self.normalize(np.asarray(image))

    def normalize(self, pixels) -> Any:
        """See `Preset`."""
        return _normalize(pixels, self.mean, self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageClassification(Preset):
    """Resizes the shorter edge, crops the central square, then computes (value / 255 - mean) / std.

    Attributes:
      crop_size: edge of the square. A smaller picture gets a black frame.
      resize_size: length of the shorter edge before the crop.
      mean, std: of red, green and blue, on a scale of 0 to 1.
    """

    crop_size: int
    resize_size: int = 256
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`; always (crop_size, crop_size)."""
        return self.crop_size, self.crop_size

    def __call__(self, image) -> np.ndarray:
        """See `Preset`."""
        image = open_image(image)
        image = _resize(image, _shorter_edge_to(self.resize_size, (image.height, image.width)))
        return self.normalize(np.asarray(_center_crop(image, self.crop_size)))

    def normalize(self, pixels) -> Any:
        """See `Preset`."""
        return _normalize(pixels, self.mean, self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaffeSegmentation(Preset):
    """Reorders channels to blue, green, red and subtracts their mean. Does not scale or resize.

    Attributes:
      mean: of blue, green and red, on a scale of 0 to 255.

    Source: the inference script released with the paper.
    """

    mean: tuple[float, float, float] = CAFFE_MEAN_BGR

    @property
    def origin(self) -> str:
        """See `Preset`."""
        return "caffe"

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`; a picture keeps its size."""
        return size

    def __call__(self, image) -> np.ndarray:
        """See `Preset`; blue comes first, and values lie from about -123 to 151."""
        return self.normalize(np.asarray(open_image(image)))

    def normalize(self, pixels) -> Any:
        """See `Preset`."""
        return pixels[..., ::-1].astype(np.float32) - np.asarray(self.mean, np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitWithin(Preset):
    """Resizes to the largest size within `long` x `short`, then computes (value / 255 - mean) / std.

    The ratio of the edges stays, up to rounding to whole pixels. Resizing is bilinear, in 8 bits, and does
    not average when it shrinks, as in OpenCV, whose integers may differ by one grey level.

    Attributes:
      long, short: the most that the longer and the shorter edge may have.
      mean, std: of red, green and blue, on a scale of 0 to 1.

    Source: mmsegmentation's `Resize(scale=(2048, 1024), keep_ratio=True)` and `Normalize`.
    """

    resizes: ClassVar[bool] = True
    long: int = 2048
    short: int = 1024
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def with_resize(self, size: int | None) -> Preset:
        """Returns torchvision's preset, which has such a size, with the same colours."""
        return SemanticSegmentation(resize_size=size, mean=self.mean, std=self.std)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`."""
        scale = min(self.long / max(size), self.short / min(size))
        height, width = (max(1, int(edge * scale + 0.5)) for edge in size)
        return height, width

    def resize(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """See `Preset`."""
        values = np.asarray(image)
        for axis, length in enumerate(size):
            values = _sampled(values, axis, length)
        return Image.fromarray(np.floor(values + np.float32(0.5)).astype(np.uint8))

    def __call__(self, image) -> np.ndarray:
        """See `Preset`."""
        image = open_image(image)
        return self.normalize(np.asarray(self.resize(image, self.output_size((image.height, image.width)))))

    def normalize(self, pixels) -> Any:
        """See `Preset`."""
        return _normalize(pixels, self.mean, self.std)


def _sampled(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Resizes an axis bilinearly with half-pixel centres, without averaging, to float32."""
    last = values.shape[axis] - 1
    place = np.clip((np.arange(length) + 0.5) * values.shape[axis] / length - 0.5, 0, last)
    low = place.astype(np.intp)
    weight = (place - low).astype(np.float32).reshape((-1,) + (1,) * (values.ndim - 1 - axis))
    first, second = (
        np.take(values, index, axis).astype(np.float32) for index in (low, np.minimum(low + 1, last))
    )
    return first + (second - first) * weight


def _shorter_edge_to(short: int, size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if width <= height:
        return int(short * height / width), short
    return short, int(short * width / height)


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _center_crop(image: Image.Image, crop: int) -> Image.Image:
    left, top = _crop_offset(image.width, crop), _crop_offset(image.height, crop)
    return image.crop((left, top, left + crop, top + crop))  # black outside the picture


def _crop_offset(length: int, crop: int) -> int:
    """Rounds half as torchvision does: down for a frame, to the even number for a crop."""
    return round((length - crop) / 2) if length > crop else -((crop - length) // 2)


def _normalize(pixels, mean: tuple[float, ...], std: tuple[float, ...]):
    values = pixels.astype(np.float32) / np.float32(255)
    return (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
