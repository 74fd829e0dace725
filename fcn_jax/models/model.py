"""The base class of all networks: a spec, metadata of the weights, and logits in two steps.

coarse = model.coarse_logits(images)             # at the stride of the network
logits = model.upsample(coarse, (height, width)) # at the size of the images
"""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.meta import WeightsMeta
from fcn_jax.models.checks import image_size
from fcn_jax.models.upsampling import Upsampler
from fcn_jax.transforms import Preset
from weights_converter import ModelSpec


class SegmentationModel(nnx.Module):
    """Computes a logit for every pixel and class.

    Attributes:
      spec: name, classes and widths of the network.
      meta: transforms, categories and palette that belong to the weights; set by builders and by loading.
      backbone: an nnx.Module; its class depends on the network.
      border: rows and columns of zeros that the network adds on every side of an image.
      tileable: whether an image can go through the network tile by tile: a pixel's logits depend only on
        pixels near it, in the same way everywhere.
      class_layers: name prefixes of the layers that depend on the classes; `head="replace"` does not load
        weights into them.
    """

    border: ClassVar[int] = 0
    tileable: bool = True
    class_layers: ClassVar[tuple[str, ...]] = ()

    spec: ModelSpec
    meta: WeightsMeta = WeightsMeta()
    backbone: Any

    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Computes logits at the size of the images.

        A jitted caller that uses only "out" does not pay for "aux": the compiler drops unused results.

        Args:
          images: (N, H, W, in_channels) float, normalized by the weights' transforms; any H, W of at least 1.

        Returns:
          {"out": (N, H, W, num_classes)} logits, at least float32; also "aux", of the same shape, if the
          model has that head.

        Raises:
          ArrayError: the images have another rank, channel count or dtype.
          WrongTypeError: `images` is not an array.
        """
        return self.upsample(self.coarse_logits(images), image_size(images))

    @abc.abstractmethod
    def coarse_logits(self, images: jax.Array, sizes: jax.Array | None = None) -> dict[str, Any]:
        """Computes low-resolution logits, the input of the last upsampling, by head.

        Args:
          images: see `__call__`.
          sizes: (N, 2) int32, the height and width of each image if it fills only the upper left part of
            its buffer. The logits of that part equal those of the image alone; the rest of the buffer may
            hold anything, and the rest of the logits is undefined.
        """

    @abc.abstractmethod
    def upsampler(self) -> Upsampler:
        """Returns an object that upsamples like `upsample`, but one head, and any range of rows."""

    def upsample(self, coarse: dict[str, Any], size: tuple[int, int]) -> dict[str, jax.Array]:
        """Upsamples coarse logits to images of size (H, W)."""
        upsampler = self.upsampler()
        return {head: upsampler.rows(x, size, 0, size[0]) for head, x in coarse.items()}

    def drop_aux(self) -> None:
        """Removes the auxiliary head, if there is one."""

    @staticmethod
    @abc.abstractmethod
    def default_transforms(preset: str | None) -> Preset:
        """Returns the transforms that fit the weights.

        Args:
          preset: how the weights expect images, "caffe" or "torchvision"; None for random weights.
        """

    @property
    def backbone_spec(self) -> ModelSpec | None:
        """The spec of the ImageNet classifier that the backbone comes from; None if there is none."""
        return None

    @property
    def coarser(self) -> str | None:
        """Name of the network from whose weights training starts; None for a network that needs none."""
        return None

    @property
    def new_layers(self) -> tuple[str, ...]:
        """Name prefixes of the layers that the coarser network lacks."""
        return ()

    def start_new_layers(self) -> None:
        """Sets the variables of `new_layers` to their initial values."""

    def use_remat(self) -> None:
        """Makes training store only the outputs of blocks, and recompute the rest in the backward pass.

        Raises:
          SettingError: the backbone has no blocks.
        """
        raise SettingError(
            f"{self.spec.name} has no blocks to recompute", subject="remat", hint="leave it out"
        )

    @property
    def transforms(self) -> Preset | None:
        """The preset that prepares a picture for these weights: `meta.transforms`."""
        return self.meta.transforms

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Names of the classes, or None if unknown: `meta.categories`."""
        return self.meta.categories

    @property
    def threshold(self) -> float | None:
        """The foreground's least probability: `meta.threshold`, or 0.5; None for several classes."""
        return (self.meta.threshold or 0.5) if self.spec.num_classes == 1 else None

    def update_meta(self, **fields: Any) -> None:
        """Replaces fields of `meta`: model.update_meta(categories=("road", "sky")).

        Raises:
          SettingError: the number of names or colours is not the number of classes.
        """
        meta = dataclasses.replace(self.meta, **fields)
        meta.check(self.spec.num_classes)
        self.meta = meta
