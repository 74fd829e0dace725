"""Adapts foreign models, written outside this package, to `SegmentationModel`."""

import dataclasses
from typing import Any

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
      model: takes (N, H, W, C_in) float32 and returns {"out": (N, h, w, C)} logits; or a model of ours with
        layers of someone's own.

    Raises:
      ArrayError: the model returns something else.
    """

    tileable = False
    reason: str

    def __init__(self, model: nnx.Module):
        self.backbone = model
        part = None
        if isinstance(model, SegmentationModel):
            part, spec, self.meta = foreign_part(model), model.spec, model.meta
            count = _count_classes(model, spec.in_channels)
            if count != spec.num_classes:  # the layers know better, and the names were those of others
                spec = dataclasses.replace(spec, num_classes=count)
                self.meta = dataclasses.replace(self.meta, categories=None, palette=None)
            self.spec = spec
        else:
            kind = type(model)
            name = f"{kind.__module__}.{kind.__qualname__}"
            self.spec = ModelSpec(name=name, num_classes=_count_classes(model, 3))
            categories = getattr(model, "categories", None)
            self.meta = WeightsMeta(
                transforms=getattr(model, "transforms", None),
                categories=None if categories is None else tuple(categories),
            )
        self.reason = f"the receptive field of {part or type(model).__name__} cannot be told"

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

    One of ours with layers of someone's own is foreign too, see `foreign_part`.

    Raises:
      WrongTypeError: `model` is not an nnx.Module.
      ArrayError: `model` does not return {"out": logits (N, H, W, C)}.
    """
    if isinstance(model, SegmentationModel) and (not model.tileable or foreign_part(model) is None):
        return model
    if isinstance(model, nnx.Module):
        return ForeignModel(model)
    raise WrongTypeError(
        expected="a model, an nnx.Module",
        got=type(model).__name__,
        hint="fcn_jax.load_model(path) builds a model from a checkpoint",
    )


def foreign_part(model: SegmentationModel) -> str | None:
    """Names the first layer in a network of ours that is someone's own; None if there is none.

    Pictures in larger buffers, and tiles, need layers that are known. A subclass of `SegmentationModel` from
    elsewhere speaks for itself by its attribute `tileable`.
    """
    if not any(kind.__module__ in NETWORKS for kind in type(model).__mro__):
        return None
    if not type(model).__module__.startswith(OURS):
        return type(model).__name__
    for path, layer in nnx.iter_modules(model):
        if not _is_known(layer):
            return f"{'.'.join(map(str, path))}, {type(layer).__module__}.{type(layer).__qualname__},"
    return None


OURS, NETWORKS = "fcn_jax.", ("fcn_jax.models.fcn", "fcn_jax.models.skip_fcn")
PLAIN = ("Dropout", "List", "Dict", "Rngs", "RngStream")
"""Flax's modules that change nothing at inference."""


def _is_known(layer: nnx.Module) -> bool:
    kind = type(layer)
    if isinstance(layer, nnx.Conv):
        padding: Any = layer.padding  # as made by `fcn_jax.models.layers.conv`
        return isinstance(padding, tuple) and all(isinstance(side, tuple) for side in padding)
    return kind.__module__.startswith(OURS) or (
        kind.__module__.startswith("flax.") and kind.__name__ in PLAIN
    )


def _count_classes(model: nnx.Module, in_channels: int) -> int:
    graph, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((1, 64, 64, in_channels), jnp.float32)
    output = jax.eval_shape(lambda state, images: nnx.merge(graph, state)(images), state, images)
    expected = 'a model that returns {"out": logits (N, H, W, C)}'
    if not isinstance(output, dict) or "out" not in output:
        raise ArrayError(expected=expected, got=str(output))
    if output["out"].ndim != 4:
        raise ArrayError(expected=expected, got=f"logits of shape {output['out'].shape}")
    return output["out"].shape[3]
