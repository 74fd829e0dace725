"""From a picture to the array a model reads: torchvision's two presets, equal to the last bit, and Caffe's.

The resizing is Pillow's own, in 8 bits and antialiased, as torchvision's is for Pillow images. (On tensors
torchvision interpolates itself, and differs by a few grey levels.)

Source: `torchvision.transforms._presets`, torchvision 0.28.
"""

import dataclasses

import numpy as np
from PIL import Image

from fcn_jax.images import open_image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)


class Preset:
    """What the presets share: they can be written to a file's metadata and read back.

    Each also has `output_size((H, W))`, the size of the array that a picture becomes, and
    `normalize(pixels)`: from 8-bit RGB (..., H, W, 3), a NumPy or a JAX array, to the float32
    that the model reads. It is what the preset does after resizing, for whoever resizes otherwise; in a
    compiled function the division is rounded differently now and then.
    """

    def to_dict(self) -> dict:
        """Gives the settings as JSON can hold them: {"name": "SemanticSegmentation", ...}."""
        settings = dataclasses.asdict(self)
        return {"name": type(self).__name__} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()
        }

    def check(self) -> None:
        """Raises ValueError or TypeError if the settings, from a file perhaps, cannot prepare a picture."""
        size = getattr(self, "resize_size", None)
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"resize_size: expected a length of at least 1, or None, got {size!r}")
        for name in ("mean", "std"):
            values = getattr(self, name, (0.0, 0.0, 0.0))
            if len(values) != 3 or not all(isinstance(value, int | float) for value in values):
                raise ValueError(f"{name}: expected three numbers, got {values!r}")

    @staticmethod
    def from_dict(settings: dict) -> "Preset":
        """Makes the preset that `to_dict` described.

        Raises:
          ValueError: the name or the settings are not those of a preset.
        """
        presets = {preset.__name__: preset for preset in Preset.__subclasses__()}
        name = settings.get("name")
        if name not in presets:
            raise ValueError(f"expected the name of a preset, one of {sorted(presets)}, got {name!r}")
        expected = [field.name for field in dataclasses.fields(presets[name])]
        given = {key: value for key, value in settings.items() if key != "name"}
        if sorted(given) != sorted(expected):
            raise ValueError(f"expected the settings {expected} for {name}, got {list(given)}")
        return presets[name](
            **{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemanticSegmentation(Preset):
    """Shorter edge to `resize_size`, then (value / 255 - mean) / std, channel by channel.

    Attributes:
      resize_size: length of the shorter edge, or None to keep the size. The longer edge is
        int(resize_size * long / short).
      mean: of red, green and blue, on a scale of 0 to 1.
      std: likewise.
    """

    resize_size: int | None = 520
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tells (H, W) of the array that a picture of (H, W) becomes."""
        return size if self.resize_size is None else _shorter_edge_to(self.resize_size, size)

    def __call__(self, image) -> np.ndarray:
        """Prepares one picture.

        Args:
          image: what `fcn_jax.images.open_image` takes.

        Returns:
          (H, W, 3) float32, of the size that `output_size` tells.

        Raises:
          ImageError: see `open_image`.
        """
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
        """Tells (H, W) of the array that a picture of (H, W) becomes: always the crop's."""
        return self.crop_size, self.crop_size

    def __call__(self, image) -> np.ndarray:
        """Prepares one picture.

        Args:
          image: what `fcn_jax.images.open_image` takes.

        Returns:
          (crop_size, crop_size, 3) float32.

        Raises:
          ImageError: see `open_image`.
        """
        image = open_image(image)
        image = _resize(image, _shorter_edge_to(self.resize_size, (image.height, image.width)))
        return self.normalize(np.asarray(_center_crop(image, self.crop_size)))

    def normalize(self, pixels):
        """See `Preset`."""
        return _normalize(pixels, self.mean, self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaffeSegmentation(Preset):
    """Channels to blue, green, red; minus their mean. No scaling, no resizing: the paper's nets see it all.

    Attributes:
      mean: of blue, green and red, on a scale of 0 to 255.

    Source: the inference script released with the paper.
    """

    mean: tuple[float, float, float] = CAFFE_MEAN_BGR

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tells (H, W) of the array that a picture of (H, W) becomes: the same."""
        return size

    def __call__(self, image) -> np.ndarray:
        """Prepares one picture.

        Args:
          image: what `fcn_jax.images.open_image` takes.

        Returns:
          (H, W, 3) float32, blue first, from about -123 to 151.

        Raises:
          ImageError: see `open_image`.
        """
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
