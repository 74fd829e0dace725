"""Adapts foreign models, written outside this package, to `SegmentationModel`."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.errors import ArrayError, SettingError, WrongTypeError
from fcn_jax.meta import WeightsMeta
from fcn_jax.models.layers import at_least_float32
from fcn_jax.models.model import SegmentationModel
from fcn_jax.models.upsampling import Lines, mix_transposed, resizing_lines
from fcn_jax.transforms import Preset, SemanticSegmentation
from weights_converter import ModelSpec


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class WholeLogits:
    """The upsampler of a foreign model: its coarse logits already are the logits, of any size.

    Attributes:
      align_corners: of the resize to the picture.
    """

    align_corners: bool = False

    def size(self, coarse: jax.Array, images: tuple[int, int]) -> tuple[int, int]:
        """See `fcn_jax.models.upsampling.Upsampler`."""
        return coarse.shape[1], coarse.shape[2]

    def rows(
        self,
        coarse: jax.Array,
        size: tuple[int, int],
        start: jax.Array | int,
        count: int,
        sizes: jax.Array | None = None,
    ) -> jax.Array:
        """See `fcn_jax.models.upsampling.Upsampler`."""
        return jax.lax.dynamic_slice_in_dim(coarse, start, count, axis=1)

    def lines(self, length: int, target: int) -> Lines:
        """See `fcn_jax.models.upsampling.Upsampler`."""
        return resizing_lines(length, target, align_corners=self.align_corners)

    def block(self, coarse: jax.Array, rows: Lines, columns: Lines, spans: tuple[int, int]) -> jax.Array:
        """See `fcn_jax.models.upsampling.Upsampler`."""
        return mix_transposed(coarse[0], rows, columns)


class ForeignModel(SegmentationModel):
    """Wraps a foreign model. It sees whole images, and its logits are used without upsampling.

    Args:
      model: takes (N, H, W, 3) float32 and returns {"out": (N, h, w, C)} logits.

    Raises:
      ArrayError: the model returns something else.
    """

    tileable = False

    def __init__(self, model: nnx.Module):
        kind = type(model)
        self.backbone = model
        self.spec = ModelSpec(
            name=f"{kind.__module__}.{kind.__qualname__}", num_classes=_count_classes(model)
        )
        categories = getattr(model, "categories", None)
        self.meta = WeightsMeta(
            transforms=getattr(model, "transforms", None),
            categories=None if categories is None else tuple(categories),
        )

    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Computes the model's output."""
        return self.backbone(images)

    def coarse_logits(self, images: jax.Array, sizes: jax.Array | None = None) -> dict[str, jax.Array]:
        """Computes the model's logits, at least float32; every image must fill its buffer.

        Raises:
          SettingError: there are sizes.
        """
        if sizes is not None:
            raise SettingError(
                subject="sizes",
                expected=f"none, because {self.spec.name} is no model of fcn_jax and sees whole images",
                got=f"sizes of {sizes.shape[0]} images",
                hint="give it images of one size, without sizes",
            )
        return {name: at_least_float32(logits) for name, logits in self.backbone(images).items()}

    def upsampler(self) -> WholeLogits:
        """See `SegmentationModel`."""
        return WholeLogits()

    @staticmethod
    def default_transforms(preset: str | None) -> Preset:
        """Returns torchvision's preset: nothing is known of the images that a foreign model expects."""
        return SemanticSegmentation()


def as_segmentation_model(model: nnx.Module) -> SegmentationModel:
    """Returns a `SegmentationModel` unchanged, and wraps a foreign model in `ForeignModel`.

    Raises:
      WrongTypeError: `model` is not an nnx.Module.
      ArrayError: `model` does not return {"out": logits (N, H, W, C)}.
    """
    if isinstance(model, SegmentationModel):
        return model
    if isinstance(model, nnx.Module):
        return ForeignModel(model)
    raise WrongTypeError(
        expected="a model, an nnx.Module",
        got=type(model).__name__,
        hint="fcn_jax.load_model(path) builds a model from a checkpoint",
    )


def _count_classes(model: nnx.Module) -> int:
    graph, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    output = jax.eval_shape(lambda state, images: nnx.merge(graph, state)(images), state, images)
    expected = 'a model that returns {"out": logits (N, H, W, C)}'
    if not isinstance(output, dict) or "out" not in output:
        raise ArrayError(expected=expected, got=str(output))
    if output["out"].ndim != 4:
        raise ArrayError(expected=expected, got=f"logits of shape {output['out'].shape}")
    return output["out"].shape[3]
