"""Pictures in, labelled pictures out: the transforms, the model and the resizing back, compiled.

The result is that of torchvision's pipeline: preset, model, bilinear `interpolate` of the logits to the
picture's own size, argmax.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.images import PATH, ImageError, open_image
from fcn_jax.inference.finish import finish
from fcn_jax.inference.result import Segmentation
from fcn_jax.transforms import SemanticSegmentation

MAX_MODEL_PIXELS = 8_000_000
"""The largest picture given to a model, transformed and with its border; some 4 GiB in fcn_resnet50."""


class Segmenter:
    """Segments pictures with a model as it is now.

    The model is read once: it keeps its mode, and later changes to it are not seen. Each new size of picture
    costs a compilation. "aux" is never computed.

    Args:
      model: takes (N, H, W, 3) float32 and returns {"out": (N, H, W, C)} logits, C at most 256.
      transforms: a preset of `fcn_jax.transforms`, or any callable from a Pillow image to (H, W, 3) float32
        with a method `output_size((H, W)) -> (H, W)`. It must keep the whole picture, so no
        `ImageClassification`. Default: the model's own `transforms`, else `SemanticSegmentation()`.
      categories: C names by index. Default: the model's own `categories`, else PASCAL VOC's for 21 classes,
        else "class 0", "class 1", ...

    Raises:
      TypeError: the model is no nnx.Module, or the transforms cannot tell their output size.
      ValueError: the model returns no "out" of rank 4, has more than 256 classes, or the number of categories
        is not C.
    """

    def __init__(
        self,
        model: nnx.Module,
        transforms: Callable | None = None,
        categories: Sequence[str] | None = None,
    ):
        if not isinstance(model, nnx.Module):
            raise TypeError(
                f"expected a model, an nnx.Module, got {type(model).__name__}; "
                "fcn_jax.load_model(path) builds the one that a checkpoint is of"
            )
        transforms = getattr(model, "transforms", None) if transforms is None else transforms
        self.transforms = SemanticSegmentation() if transforms is None else transforms
        if not hasattr(self.transforms, "output_size"):
            raise TypeError(
                f"expected transforms with a method output_size((H, W)), got {self.transforms!r}; "
                f"try fcn_jax.transforms.SemanticSegmentation"
            )
        self._border = getattr(model, "border", 0)
        model = nnx.merge(*nnx.split(model))  # a second object, so that eval() does not reach the caller's
        model.eval()
        graph, state = nnx.split(model)

        def run(arrays, images):
            return nnx.merge(graph, arrays)(images)

        self._arrays = nnx.to_pure_dict(state)
        self._forward = jax.jit(lambda arrays, images: run(arrays, images)["out"].astype(jnp.float32))
        images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        categories = getattr(model, "categories", None) if categories is None else categories
        num_classes = _count_classes(jax.eval_shape(run, self._arrays, images))
        self.categories = _name_categories(num_classes, categories)

    def __call__(self, source) -> Segmentation | list[Segmentation]:
        """Segments one picture, or a list of them.

        Args:
          source: a path, a Pillow image or a uint8 array (see `fcn_jax.images.open_image`); or a list or
            tuple of these, of any sizes.

        Returns:
          One result, or a list of results in the order of `source`.

        Raises:
          ImageError: a picture cannot be read, or would exceed `MAX_MODEL_PIXELS` once transformed.
          ValueError: the model's logits are not finite.
        """
        if isinstance(source, (list, tuple)):
            return list(self.stream(source))
        image = open_image(source)
        path = Path(source) if isinstance(source, PATH) else None
        size = image.height, image.width
        self._check_model_size(size, path)
        logits = self._forward(self._arrays, self.transforms(image)[None])[0]
        labels, confidence = finish(logits, size)
        if not np.isfinite(confidence).all():
            raise ValueError("expected finite logits, got nan or infinity from the model; check its weights")
        return Segmentation(
            image=image,
            source=path,
            categories=self.categories,
            labels=labels,
            confidence=confidence,
            logits=np.asarray(logits),
        )

    def _check_model_size(self, size: tuple[int, int], path: Path | None) -> None:
        height, width = (edge + 2 * self._border for edge in self.transforms.output_size(size))
        if height * width > MAX_MODEL_PIXELS:
            advice = "crop or shrink it"
            if hasattr(self.transforms, "resize_size"):
                advice = (
                    "crop it, or pass transforms=SemanticSegmentation(resize_size=...) with a smaller size"
                )
            raise ImageError(
                f"expected a picture of at most {MAX_MODEL_PIXELS:,} pixels once transformed, got "
                f"{size[1]} x {size[0]}, which becomes {width} x {height} = {width * height:,}; {advice}",
                path,
            )

    def stream(self, sources: Iterable) -> Iterator[Segmentation]:
        """Segments pictures one at a time, as they are asked for: memory for one, however many there are.

        The first picture that cannot be read ends the stream with its ImageError. To go on past it, call the
        segmenter for each picture.
        """
        for source in sources:
            yield self(source)


def _count_classes(output: dict[str, jax.ShapeDtypeStruct]) -> int:
    if not isinstance(output, dict) or "out" not in output:
        raise ValueError(f'expected a model that returns {{"out": logits}}, got {output}')
    logits = output["out"]
    if logits.ndim != 4:
        raise ValueError(f'expected "out" logits (N, H, W, C), got shape {logits.shape}')
    if logits.shape[3] > 256:
        raise ValueError(f"expected at most 256 classes, as labels are uint8, got {logits.shape[3]}")
    return logits.shape[3]


def _name_categories(num_classes: int, categories: Sequence[str] | None) -> tuple[str, ...]:
    if categories is None:
        if num_classes == len(VOC_CATEGORIES):
            return VOC_CATEGORIES
        return tuple(f"class {index}" for index in range(num_classes))
    if len(categories) != num_classes:
        raise ValueError(f"expected {num_classes} categories, one for each class, got {len(categories)}")
    return tuple(categories)
