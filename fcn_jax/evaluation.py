"""A model's predictions over a dataset, counted into one confusion matrix.

At size "original" a picture goes through the model's transforms, and the logits are resized to the labels'
own size and scored there. At size "recipe" picture and labels are first resized to a shorter edge of 520
pixels and scored at that size: torchvision's evaluation.

Test-time augmentation averages softmax probabilities over scales and mirror images, as published protocols
do. Each scaled picture is made from the original one.

Source: torchvision's `references/segmentation/train.py` (`evaluate`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from fcn_jax.datasets.augmentation import evaluation_sample
from fcn_jax.datasets.dataset import DatasetError, Sample, SegmentationDataset
from fcn_jax.metrics import ConfusionMatrix
from fcn_jax.structure import Arrays, Structure
from fcn_jax.upsampling import resize_bilinear

EvaluationSize = Literal["original", "recipe"]


class Evaluator:
    """Evaluates a model, or the arrays of one, without compiling again for new arrays.

    Args:
      model: its structure is read once, in evaluation mode; its `transforms` prepare pictures.
      size: at which predictions are scored, see the module.
      scales: of the pictures that the model sees, against those of its transforms.
      flip: also looks at the mirror image of each.

    Raises:
      ValueError: an unknown size, or a scale that is not above 0.
    """

    def __init__(
        self,
        model: nnx.Module,
        *,
        size: EvaluationSize = "original",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ):
        if size not in ("original", "recipe"):
            raise ValueError(f'size: expected "original" or "recipe", got {size!r}')
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f"scales: expected numbers above 0, got {tuple(scales)}")
        self.transforms = model.transforms
        self.size, self.scales, self.flip = size, tuple(scales), flip
        model = nnx.merge(*nnx.split(model))  # a second object, so that eval() does not reach the caller's
        model.eval()
        structure = Structure(model)
        params, rest = structure.split(model)
        self.arrays = params | rest
        """The model's own arrays, by dotted name."""

        def forward(arrays, images):
            return nnx.merge(structure.graph, structure.nested(arrays))(images)["out"]

        images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        self.num_classes = jax.eval_shape(forward, self.arrays, images).shape[-1]

        def decide(arrays, images, size):
            return resize_bilinear(forward(arrays, images), size)[0].argmax(-1).astype(jnp.uint8)

        def probabilities(arrays, images, size):
            return jax.nn.softmax(resize_bilinear(forward(arrays, images), size))[0]

        def add(total, arrays, images, size):
            total += probabilities(arrays, images, size)
            return total + probabilities(arrays, images[:, :, ::-1], size)[:, ::-1] if flip else total

        self._decide = jax.jit(decide, static_argnums=2)
        self._add = jax.jit(add, static_argnums=3, donate_argnums=0)

    def labels(self, arrays: Arrays, image: np.ndarray) -> np.ndarray:
        """Finds the class of every pixel.

        Args:
          arrays: the model's, by dotted name.
          image: (H, W, 3) uint8.

        Returns:
          (H, W) uint8.
        """
        size = image.shape[:2]
        if self.scales == (1.0,) and not self.flip:
            return np.asarray(self._decide(arrays, self._prepared(image, 1.0), size))
        total = jnp.zeros((*size, self.num_classes), jnp.float32)
        for scale in self.scales:
            total = self._add(total, arrays, self._prepared(image, scale), size)
        return np.asarray(total.argmax(-1).astype(jnp.uint8))

    def run(
        self,
        arrays: Arrays,
        dataset: SegmentationDataset,
        *,
        indices: Iterable[int] | None = None,
        seen: Callable[[int], None] = lambda index: None,
    ) -> ConfusionMatrix:
        """Counts the predictions for a dataset.

        Args:
          arrays: the model's, by dotted name.
          dataset: of as many categories as the model has classes.
          indices: of the pictures to look at; all if not given.
          seen: called after each picture.

        Raises:
          DatasetError: another number of categories, or a picture that cannot be read.
        """
        if len(dataset.categories) != self.num_classes:
            raise DatasetError(
                f"expected a dataset of {self.num_classes} classes, as the model has, got "
                f"{len(dataset.categories)}: {', '.join(dataset.categories)}; choose others"
            )
        confusion = ConfusionMatrix(self.num_classes)
        for index in range(len(dataset)) if indices is None else indices:
            sample = self.scored(dataset[index])
            confusion.update(sample.labels, self.labels(arrays, sample.image))
            seen(index)
        return confusion

    def scored(self, sample: Sample) -> Sample:
        """Gives a sample at the size at which it is scored."""
        return evaluation_sample(sample, self.size)

    def _prepared(self, image: np.ndarray, scale: float) -> np.ndarray:
        """(1, h, w, 3) float32: the picture at `scale` times the size that the transforms give it."""
        height, width = image.shape[:2]
        if self.size == "original":
            height, width = self.transforms.output_size((height, width))
        height, width = (max(1, round(scale * edge)) for edge in (height, width))
        if (height, width) != image.shape[:2]:
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            image = np.asarray(resized)
        return self.transforms.normalize(image)[None]
