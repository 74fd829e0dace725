"""Random augmentation for training, as in torchvision's recipe; and fixed preparation for scoring.

For training: a shorter edge from 0.5 to 2 times 520, a mirror image half the time, a crop of 480 x 480 at a
random place. Outside the picture the crop is black and its labels are 255. Pillow resizes: bilinear and
antialiased for the picture, nearest for labels. For the same random numbers the result equals torchvision's
to the last bit.

Source: `references/segmentation/presets.py` and `transforms.py` of torchvision, their first form (v1).
"""

import dataclasses

import numpy as np
from PIL import Image, ImageEnhance

from fcn_jax.bands import DTYPES, resize_bands
from fcn_jax.datasets.dataset import IGNORE_LABEL, Sample
from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.transforms import SemanticSegmentation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jitter:
    """Random changes of light and colour in random order: torchvision's `ColorJitter` without the hue.

    (torchvision changes the hue in 8-bit HSV, which is slow and loses levels. No segmentation recipe uses
    it.)

    For each value above 0 a factor is drawn from [max(0, 1 - value), 1 + value]. Factor 1 changes nothing.

    Attributes:
      brightness: factor 0 is black.
      contrast: factor 0 is the mean grey.
      saturation: factor 0 is a grey picture.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise _wrong(field.name, "a number of at least 0", value)

    def bands(self, array: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Changes a picture (H, W, C) with any channels: brightness, then contrast around each channel's
        mean.

        There is no saturation. Draws a random number for each of the two that is above 0. Values of 8 and 16
        bits are rounded and stay in their range.
        """
        values = array.astype(np.float32)
        for value, centre in ((self.brightness, 0.0), (self.contrast, values.mean((0, 1)))):
            if value > 0:
                values = centre + _uniform(random, max(0.0, 1 - value), 1 + value) * (values - centre)
        if array.dtype == np.float32:
            return values
        return np.rint(values).clip(0, np.iinfo(array.dtype).max).astype(array.dtype)

    def __call__(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        """Changes an RGB picture; draws two random numbers for each value above 0."""
        steps = [
            (random.random(), enhance, _uniform(random, max(0.0, 1 - value), 1 + value))
            for enhance, value in (
                (ImageEnhance.Brightness, self.brightness),
                (ImageEnhance.Contrast, self.contrast),
                (ImageEnhance.Color, self.saturation),
            )
            if value > 0
        ]
        for _, enhance, factor in sorted(steps, key=lambda step: step[0]):
            image = enhance(image).enhance(factor)
        return image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Resizes, mirrors, crops and jitters a picture; pads it if it is smaller than the crop.

    Attributes:
      base_size: the length that `scale` multiplies; None is each picture's own shorter edge.
      crop_size: edge of the resulting square, or (H, W).
      scale: (low, high). The shorter edge becomes a random integer from int(low * base_size) to
        int(high * base_size), the longer one int(new shorter * longer / shorter).
      flip: the probability of a mirror image.
      jitter: changes of light and colour; None in torchvision's recipe.

    Raises:
      SettingError: a setting is out of its range.
    """

    base_size: int | None = 520
    crop_size: int | tuple[int, int] = 480
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    jitter: Jitter | None = None

    def __post_init__(self):
        if self.base_size is not None and not _is_length(self.base_size):
            raise _wrong("base_size", "a length of at least 1, or None", self.base_size)
        crop = self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size,) * 2
        if len(crop) != 2 or not all(map(_is_length, crop)):
            raise _wrong("crop_size", "a length of at least 1, or two as (H, W)", self.crop_size)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise _wrong("scale", "(low, high) with 0 < low <= high", self.scale)
        if not 0 <= self.flip <= 1:
            raise _wrong("flip", "a probability from 0 to 1", self.flip)

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, random: np.random.Generator, focus: int | None = None
    ) -> Sample:
        """Makes a picture of `crop_size` and its labels.

        All random numbers come from `random.random()`, in this order: shorter edge, mirror, with a focus one
        of its pixels, top, left, jitter.

        Args:
          image: (H, W, 3) uint8, RGB; or (H, W, C) of any channels, uint8, uint16 or float32.
          labels: (H, W) uint8.
          random: the generator to draw from.
          focus: a class that the crop contains, if the resized picture has it. A pixel of it is drawn, then a
            crop around that pixel; every such crop is equally likely.

        Returns:
          The picture and its labels as new arrays, padded to the right and below with black and 255.

        Raises:
          ArrayError: shapes or dtypes are wrong.
        """
        check_sample(image, labels)
        base = self.base_size or min(labels.shape)
        low, high = (max(1, int(factor * base)) for factor in self.scale)
        short = _integer(random, low, high)
        if not is_rgb(image):
            return self._bands(image, labels, short, random, focus)
        picture, label_map = _resize(Image.fromarray(image), Image.fromarray(labels), short)
        if random.random() < self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            label_map = label_map.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        height, width = self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size,) * 2
        place = None if focus is None else _pixel_of(np.asarray(label_map), focus, random)
        top = _start(random, picture.height, height, place and place[0])
        left = _start(random, picture.width, width, place and place[1])
        box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
        picture, label_map = picture.crop(box), label_map.crop(box)
        if self.jitter is not None:
            picture = self.jitter(picture, random)
        return pad_sample(Sample(np.asarray(picture), np.asarray(label_map)), (height, width))

    def _bands(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        short: int,
        random: np.random.Generator,
        focus: int | None,
    ) -> Sample:
        """Does for any channels what `__call__` does for RGB, after the first random number."""
        image, labels = _resize_bands(image, labels, short)
        if random.random() < self.flip:
            image, labels = image[:, ::-1], labels[:, ::-1]
        height, width = self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size,) * 2
        place = None if focus is None else _pixel_of(labels, focus, random)
        top = _start(random, labels.shape[0], height, place and place[0])
        left = _start(random, labels.shape[1], width, place and place[1])
        image, labels = (each[top : top + height, left : left + width] for each in (image, labels))
        if self.jitter is not None:
            image = self.jitter.bands(image, random)
        return pad_sample(Sample(image, labels), (height, width))


def is_rgb(image: np.ndarray) -> bool:
    """Returns whether Pillow can hold a picture as RGB: (H, W, 3) uint8."""
    return image.dtype == np.uint8 and image.shape[2:] == (3,)


def pad_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Pads a picture to the right and below with black, and its labels with 255.

    Args:
      sample: the picture and its labels, no larger than `size`.
      size: (H, W) of the result.
    """
    height, width = sample.labels.shape
    image = np.zeros((*size, sample.image.shape[2]), sample.image.dtype)
    labels = np.full(size, IGNORE_LABEL, np.uint8)
    image[:height, :width] = sample.image
    labels[:height, :width] = sample.labels
    return Sample(image, labels)


def resize_sample(sample: Sample, short: int) -> Sample:
    """Resizes a picture (bilinear) and its labels (nearest) so that the shorter edge is `short`.

    Raises:
      SettingError: `short` is below 1.
      ArrayError: the picture or its labels have a wrong shape or dtype.
    """
    if not _is_length(short):
        raise SettingError(expected="a length of at least 1 for the shorter edge", got=repr(short))
    check_sample(*sample)
    if not is_rgb(sample.image):
        return Sample(*_resize_bands(*sample, short))
    image, labels = _resize(Image.fromarray(sample.image), Image.fromarray(sample.labels), short)
    return Sample(np.asarray(image), np.asarray(labels))


def evaluation_sample(sample: Sample, preparation: str) -> Sample:
    """Prepares a picture and its labels for scoring.

    Args:
      sample: the picture and its labels.
      preparation: "torchvision" resizes the shorter edge to 520, as for torchvision's published scores;
        "original" keeps the size, as the benchmarks ask.

    Raises:
      SettingError: `preparation` is neither of the two.
    """
    if preparation == "torchvision":
        return resize_sample(sample, 520)
    if preparation == "original":
        return sample
    raise _wrong("preparation", '"torchvision" or "original"', preparation)


def _resize_bands(image: np.ndarray, labels: np.ndarray, short: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = SemanticSegmentation(resize_size=short).output_size((labels.shape[0], labels.shape[1]))
    resized = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    return resize_bands(image, (height, width)), np.asarray(resized)


def _resize(image: Image.Image, labels: Image.Image, short: int) -> tuple[Image.Image, Image.Image]:
    height, width = SemanticSegmentation(resize_size=short).output_size((image.height, image.width))
    return (
        image.resize((width, height), Image.Resampling.BILINEAR),
        labels.resize((width, height), Image.Resampling.NEAREST),
    )


def check_sample(image: np.ndarray, labels: np.ndarray) -> None:
    """Raises ArrayError unless shapes and dtypes are those of a picture and its labels."""
    same_size = image.ndim == 3 and image.shape[:2] == labels.shape and image.size > 0
    if not same_size or image.dtype not in DTYPES or labels.dtype != np.uint8:
        raise ArrayError(
            expected="a picture (H, W, C) of uint8, uint16 or float32 and labels (H, W) of uint8",
            got=f"{image.dtype} {image.shape} and {labels.dtype} {labels.shape}",
        )


def _wrong(setting: str, expected: str, value) -> SettingError:
    return SettingError(subject=setting, expected=expected, got=repr(value))


def _is_length(value) -> bool:
    return isinstance(value, int) and value > 0


def _uniform(random: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * random.random()


def _pixel_of(labels: np.ndarray, label: int, random: np.random.Generator) -> tuple[int, int] | None:
    """Draws a pixel with a label, as (row, column); None if there is none."""
    places = np.flatnonzero(labels == label)
    if not len(places):
        return None
    row, column = divmod(int(places[int(random.random() * len(places))]), labels.shape[1])
    return row, column


def _start(random: np.random.Generator, length: int, crop: int, place: int | None) -> int:
    """Draws where a crop starts, along one axis; it contains `place` if there is one."""
    low, high = 0, max(0, length - crop)
    if place is not None:
        low, high = max(low, place - crop + 1), min(high, place)
    return _integer(random, low, high)


def _integer(random: np.random.Generator, low: int, high: int) -> int:
    """Draws an integer from low to high, both included."""
    return low + int(random.random() * (high - low + 1))
