"""From a picture to the array a model reads: torchvision's two presets, equal to the last bit, and Caffe's.

The resizing is Pillow's own, in 8 bits and antialiased, as torchvision's is for Pillow images. (On tensors
torchvision interpolates itself, and differs by a few grey levels.)

Source: `torchvision.transforms._presets`, torchvision 0.28.
"""

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
class Preset:
    """Prepares pictures for a model. Its settings can be written to a file's metadata and read back.

    Attributes:
      origin: "torchvision" or "caffe", the program that such images come from.
      resizes: whether `with_resize` can choose a size.

    Raises:
      SettingError: a setting that cannot prepare a picture.
    """

    origin: ClassVar[str] = "torchvision"
    resizes: ClassVar[bool] = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
            expected = _amiss(field, value)
            if expected:
                raise SettingError(subject=field.name, expected=expected, got=repr(value)[:80])

    def __call__(self, image) -> np.ndarray:
        """Prepares one picture.

        Args:
          image: what `fcn_jax.images.open_image` takes.

        Returns:
          (H, W, 3) float32, of the size that `output_size` tells.

        Raises:
          ImageError: see `open_image`.
        """
        raise NotImplementedError

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tells (H, W) of the array that a picture of (H, W) becomes."""
        raise NotImplementedError

    def normalize(self, pixels):
        """Does what the preset does after resizing, for whoever resizes otherwise.

        In a compiled function the division is rounded differently now and then.

        Args:
          pixels: (..., H, W, 3) 8-bit RGB, a NumPy or a JAX array.

        Returns:
          float32 of the same shape, as the model reads it.
        """
        raise NotImplementedError

    def with_resize(self, size: int | None) -> "Preset":
        """Gives the same preset with another length of the shorter edge; None keeps pictures at their size.

        Raises:
          SettingError: a length, for a preset that does not resize.
        """
        if size is None:
            return self
        raise SettingError(
            subject="resize_size",
            expected=f"None, since {type(self).__name__} takes pictures as they are",
            got=repr(size),
        )

    def to_dict(self) -> dict[str, Any]:
        """Gives the settings as JSON can hold them: {"name": "SemanticSegmentation", ...}."""
        settings = dataclasses.asdict(self)
        return {"name": type(self).__name__} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
        }

    @staticmethod
    def from_dict(settings: dict[str, Any]) -> "Preset":
        """Makes the preset that `to_dict` described.

        Raises:
          SettingError: the name or the settings are not those of a preset.
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


def _amiss(field: dataclasses.Field, value: object) -> str | None:
    """Says what a setting should be, if it is something else."""
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
    """Shorter edge to `resize_size`, then (value / 255 - mean) / std, channel by channel.

    Attributes:
      resize_size: length of the shorter edge, or None to keep the size. The longer edge is
        int(resize_size * long / short).
      mean: of red, green and blue, on a scale of 0 to 1.
      std: likewise.
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

    def normalize(self, pixels):
        """See `Preset`."""
        return _normalize(pixels, self.mean, self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageClassification(Preset):
    """Shorter edge to `resize_size`, a central square of `crop_size`, then (value / 255 - mean) / std.

    Attributes:
      crop_size: edge of the square. A picture smaller than that is framed in black.
      resize_size: length of the shorter edge before the crop.
      mean: of red, green and blue, on a scale of 0 to 1.
      std: likewise.
    """

    crop_size: int
    resize_size: int = 256
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`: it is always the crop's."""
        return self.crop_size, self.crop_size

    def __call__(self, image) -> np.ndarray:
        """See `Preset`."""
        image = open_image(image)
        image = _resize(image, _shorter_edge_to(self.resize_size, (image.height, image.width)))
        return self.normalize(np.asarray(_center_crop(image, self.crop_size)))

    def normalize(self, pixels):
        """See `Preset`."""
        return _normalize(pixels, self.mean, self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaffeSegmentation(Preset):
    """Channels to blue, green, red, minus their mean. No scaling and no resizing.

    Attributes:
      mean: of blue, green and red, on a scale of 0 to 255.

    Source: the inference script released with the paper.
    """

    origin: ClassVar[str] = "caffe"
    mean: tuple[float, float, float] = CAFFE_MEAN_BGR

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`: a picture keeps its size."""
        return size

    def __call__(self, image) -> np.ndarray:
        """See `Preset`; blue comes first, from about -123 to 151."""
        return self.normalize(np.asarray(open_image(image)))

    def normalize(self, pixels):
        """See `Preset`."""
        return pixels[..., ::-1].astype(np.float32) - np.asarray(self.mean, np.float32)


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
    """Rounds as torchvision does: what is missing is halved downwards, an excess to the even neighbour."""
    return round((length - crop) / 2) if length > crop else -((crop - length) // 2)


def _normalize(pixels, mean: tuple[float, ...], std: tuple[float, ...]):
    values = pixels.astype(np.float32) / np.float32(255)
    return (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
