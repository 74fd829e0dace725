"""A network of a few thousand numbers that has all that a step can meet; its batches; its training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.models.arrays import Structure
from fcn_jax.models.layers import BatchNorm, Fixed, conv
from fcn_jax.models.upsampling import resize_bilinear
from fcn_jax.training.objective import Objective
from fcn_jax.training.optimizers import GROUPS, learning_rate, sgd
from fcn_jax.training.state import TrainState, create_state
from fcn_jax.training.step import make_train_step
from tests.losses import seeded_labels
from tests.seeded import seeded_images

NUM_CLASSES = 5
HEIGHT, WIDTH = 13, 18


class SmallFCN(nnx.Module):
    """Two convolutions and both heads; batch norm, dropout and a fixed kernel.

    Args:
      norm: with batch norm; without, an image does not see the others of its batch.
      dropout: of the maps before the score layer.
    """

    def __init__(self, *, norm: bool = True, dropout: float = 0.5, **settings: Any):
        bias = {"bias_init": jax.nn.initializers.normal(0.3), **settings}
        self.conv1 = conv(3, 8, 3, stride=2, padding=1, **bias)
        self.bn1 = BatchNorm(8, **settings) if norm else None
        self.conv2 = conv(8, 16, 3, padding=2, dilation=2, **bias)
        self.bn2 = BatchNorm(16, **settings) if norm else None
        self.gate = Fixed(jnp.linspace(0.5, 1.5, 16, dtype=settings.get("param_dtype")))
        self.dropout = nnx.Dropout(dropout, rngs=settings["rngs"])
        self.classifier = conv(16, NUM_CLASSES, 1, **bias)
        self.aux_classifier = conv(8, NUM_CLASSES, 1, **bias)

    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        x = self.conv1(images)
        x = jax.nn.relu(x if self.bn1 is None else self.bn1(x))
        aux = self.aux_classifier(x)
        x = self.conv2(x)
        x = jax.nn.relu(x if self.bn2 is None else self.bn2(x))
        out = self.classifier(self.dropout(x * self.gate[...].astype(x.dtype)))
        size = images.shape[1:3]
        return {"out": resize_bilinear(out, size), "aux": resize_bilinear(aux, size)}


def small_model(param_dtype=jnp.float32, **settings: Any) -> SmallFCN:
    """Makes the network, in training mode, with weights that NumPy draws."""
    model = SmallFCN(param_dtype=param_dtype, rngs=nnx.Rngs(7), **settings)
    random = np.random.RandomState(2015)
    for _, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param) and len(variable.shape) == 4:
            values = random.standard_normal(variable.shape) * np.sqrt(2 / np.prod(variable.shape[:-1]))
            variable.set_value(jnp.asarray(values, variable.dtype))
    return model


def small_batch(count: int, seed: int = 0, dtype=np.float32) -> dict[str, np.ndarray]:
    """Draws images and labels; the images have more and more void pixels, the second nothing else."""
    images = seeded_images(count, HEIGHT, WIDTH, seed).astype(dtype)
    labels = seeded_labels(images, NUM_CLASSES)
    for number in range(count):
        labels[number, : number + 3] = 255
    labels[1:2] = 255
    return {"images": images, "labels": labels.astype(np.uint8)}


def small_training(
    model: nnx.Module,
    *,
    loss: dict | None = None,
    average: float | None = None,
    normalize: Callable = lambda images: images,
    **settings: Any,
) -> tuple[Objective, TrainState, Any]:
    """Makes what ten steps of torchvision's recipe need, for any model: objective, state and step.

    Args:
      loss: settings of `cross_entropy`.
      average: decay of the moving averages.
      normalize: of the images.
      settings: for `make_train_step`.
    """
    structure = Structure(model)
    schedule = learning_rate("poly", 0.05, 10)
    optimizer = sgd(
        structure.param_paths, schedule, groups=GROUPS["torchvision"], momentum=0.9, weight_decay=1e-3
    )
    objective = Objective(
        structure=structure, num_classes=NUM_CLASSES, normalize=normalize, settings=loss or {}
    )
    state = create_state(model, optimizer, average=average is not None)
    step = make_train_step(objective, optimizer, schedule, average_decay=average, **settings)
    return objective, state, step
