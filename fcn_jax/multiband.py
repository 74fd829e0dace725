"""The preset for pictures with any channels: it subtracts a mean and divides, channel by channel."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn_jax.bands import open_bands, resize_bands
from fcn_jax.errors import SettingError
from fcn_jax.transforms import IMAGENET_STD, CaffeSegmentation, Preset, SemanticSegmentation

CAFFE_SPREAD = 255 * sum(IMAGENET_STD) / 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Multiband(Preset):
    """Resizes the shorter edge to `resize_size`, then computes (value - mean) / std for each channel.

    Channels keep the order of the files, and values their scale: 0 to 255 in 8 bits, 0 to 65535 in 16.

    Attributes:
      mean, std: of each of the C channels.
      resize_size: length of the shorter edge, or None to keep the size, as `SemanticSegmentation` has it.
      family: "torchvision" or "caffe", see `Preset.origin`; Caffe's networks expect values around 100.
      reverse: the model gets the channels in reverse order, as Caffe's networks expect blue, green, red.
      measured: whether mean and std are those of a training set.

    Raises:
      SettingError: a setting is out of its range, or there is not a mean and a std for each channel.
    """

    resizes = True
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_size: int | None = None
    family: str = "torchvision"
    reverse: bool = False
    measured: bool = False

    def __post_init__(self):
        for name in ("mean", "std"):
            values = getattr(self, name)
            values = tuple(values) if isinstance(values, list | tuple) else ()
            object.__setattr__(self, name, values)
            if not values or not all(
                isinstance(value, int | float) and math.isfinite(value) and (name == "mean" or value > 0)
                for value in values
            ):
                expected = f"numbers{' above 0' if name == 'std' else ''}, one for each channel"
                raise SettingError(subject=name, expected=expected, got=repr(values)[:80])
        if len(self.mean) != len(self.std):
            raise SettingError(subject="std", expected=f"{len(self.mean)} numbers", got=f"{len(self.std)}")
        size = self.resize_size
        if size is not None and not (type(size) is int and size > 0):
            raise SettingError(
                subject="resize_size", expected="a length of at least 1, or None", got=repr(size)
            )
        if self.family not in ("torchvision", "caffe"):
            raise SettingError(
                subject="family", expected="'torchvision' or 'caffe'", got=repr(self.family)[:80]
            )
        for name in ("reverse", "measured"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(subject=name, expected="true or false", got=repr(getattr(self, name))[:80])

    @property
    def origin(self) -> str:
        """See `Preset`."""
        return self.family

    @property
    def channels(self) -> int:
        """The number of channels."""
        return len(self.mean)

    def with_resize(self, size: int | None) -> "Multiband":
        """See `Preset`."""
        return dataclasses.replace(self, resize_size=size)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See `Preset`."""
        return SemanticSegmentation(resize_size=self.resize_size).output_size(size)

    def __call__(self, image) -> np.ndarray:
        """Prepares one picture.

        Args:
          image: what `fcn_jax.bands.open_bands` takes.

        Returns:
          (H, W, C) float32; the size is `output_size`.

        Raises:
          ImageError: see `open_bands`.
        """
        bands = open_bands(image, self.channels)
        return self.normalize(resize_bands(bands, self.output_size((bands.shape[0], bands.shape[1]))))

    def normalize(self, pixels) -> Any:
        """See `Preset`; pixels are (..., H, W, C), of 8 or 16 bits or float32."""
        values = pixels.astype(np.float32) - np.asarray(self.mean, np.float32)
        values = values / np.asarray(self.std, np.float32)
        return values[..., ::-1] if self.reverse else values


def with_statistics(preset: Preset, mean: Sequence[float], std: Sequence[float]) -> Multiband:
    """Returns a preset with the mean and the deviation of a training set's channels.

    The model then sees channels with mean 0 and deviation 1; with 57.6, ImageNet's in 8 bits, if it expects
    Caffe's scale.

    Args:
      preset: of the model, for as many channels.
      mean, std: in the units of the files.
    """
    like = multiband_like(preset, len(mean))
    spread = CAFFE_SPREAD if like.family == "caffe" else 1.0
    std = tuple(value / spread for value in std)
    return dataclasses.replace(like, mean=tuple(mean), std=std, measured=True)


def multiband_like(preset: Preset, channels: int) -> Multiband:
    """Returns a preset of RGB for 8-bit pictures with other channels.

    The first three channels keep their mean and std; each further one has the mean of theirs. With fewer than
    three, all have it. Channels keep the order of the files, except the three of Caffe's networks; weights
    for others come into that order when they are adapted, see `fcn_jax.weights.adaptation`.

    Raises:
      SettingError: the preset has other channels already, or is of another kind.
    """
    if isinstance(preset, Multiband) and preset.channels == channels:
        return preset
    if isinstance(preset, SemanticSegmentation):
        mean, std = ([255 * value for value in values] for values in (preset.mean, preset.std))
        size, family = preset.resize_size, "torchvision"
    elif isinstance(preset, CaffeSegmentation):
        mean, std, size, family = [*preset.mean[::-1]], [1.0, 1.0, 1.0], None, "caffe"
    else:
        raise SettingError(
            expected=f"a preset of red, green and blue, to make one of {channels} channels", got=repr(preset)
        )
    return Multiband(
        mean=_spread(mean, channels),
        std=_spread(std, channels),
        resize_size=size,
        family=family,
        reverse=family == "caffe" and channels == 3,
    )


def _spread(values: list[float], channels: int) -> tuple[float, ...]:
    middle = sum(values) / 3
    return tuple(values + [middle] * (channels - 3)) if channels >= 3 else (middle,) * channels
