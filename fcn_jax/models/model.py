"""What every network here has: a spec, a record of its weights, and logits in two steps.

coarse = model.coarse_logits(images)             # at the stride of the network
logits = model.upsample(coarse, (height, width)) # at the size of the images
"""

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
    """Scores every pixel of an image for every class.

    Attributes:
      spec: what the network is.
      meta: what its weights know of their data; set by the builders and by loading.
      backbone: the trunk, an nnx.Module; each network knows of which class.
      border: rows and columns of zeros that the network adds on every side of an image.
      tileable: whether a pixel's logits depend on pixels near it alone, the same everywhere, so that an image
        can go through the network tile by tile.
      class_layers: beginnings of the names of what depends on the classes; a head of other classes leaves
        these out.
    """

    border: ClassVar[int] = 0
    tileable: ClassVar[bool] = True
    class_layers: ClassVar[tuple[str, ...]] = ()

    spec: ModelSpec
    meta: WeightsMeta = WeightsMeta()
    backbone: Any

    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Computes logits at the size of the images.

        A jitted caller that uses only "out" does not pay for "aux": the compiler drops what nobody reads.

        Args:
          images: (N, H, W, in_channels) float, normalized by the weights' transforms; any H, W of at least 1.

        Returns:
          {"out": (N, H, W, num_classes)} logits, at least float32; also "aux", alike, if the model has that
          head.

        Raises:
          ArrayError: images of another rank, channel count or dtype.
          WrongTypeError: they are no array.
        """
        return self.upsample(self.coarse_logits(images), image_size(images))

    def coarse_logits(self, images: jax.Array) -> dict[str, Any]:
        """Computes what the last upsampling reads, by head."""
        raise NotImplementedError

    def upsample(self, coarse: dict[str, Any], size: tuple[int, int]) -> dict[str, jax.Array]:
        """Brings coarse logits to images of size (H, W)."""
        raise NotImplementedError

    def upsampler(self) -> Upsampler:
        """Gives a value that upsamples as `upsample` does, for one head, some rows at a time."""
        raise NotImplementedError

    def drop_aux(self) -> None:
        """Takes the auxiliary head off, if there is one."""

    @staticmethod
    def default_transforms(preset: str | None) -> Preset:
        """Gives what pictures go through, by the images that the weights expect.

        Args:
          preset: "caffe" or "torchvision"; None for random weights.
        """
        raise NotImplementedError

    @property
    def backbone_spec(self) -> ModelSpec:
        """The spec of a classifier whose layers make the backbone."""
        raise NotImplementedError

    @property
    def coarser(self) -> str | None:
        """The network whose weights start the training of this one; None where it starts by itself."""
        return None

    @property
    def new_layers(self) -> tuple[str, ...]:
        """Beginnings of the names of what the coarser network lacks."""
        return ()

    def start_new_layers(self) -> None:
        """Sets the variables of `new_layers` to how training starts them."""

    def use_remat(self) -> None:
        """Has training keep only the outputs of blocks for the backward pass, and compute the rest again.

        Raises:
          SettingError: a trunk without blocks.
        """
        raise SettingError(
            f"{self.spec.name} cannot compute its blocks again", subject="remat", hint="leave it out"
        )

    @property
    def transforms(self) -> Preset | None:
        """Prepares a picture for these weights: `meta.transforms`."""
        return self.meta.transforms

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Names of the classes, where they are known: `meta.categories`."""
        return self.meta.categories

    def update_meta(self, **known: Any) -> None:
        """Replaces fields of `meta`: model.update_meta(categories=("road", "sky")).

        Raises:
          SettingError: more or fewer names or colours than classes.
        """
        meta = dataclasses.replace(self.meta, **known)
        meta.check(self.spec.num_classes)
        self.meta = meta
