"""Checkpoints and images drawn by NumPy, the same on every machine and version: no framework needed.

`RandomState` is used because its streams are frozen for good; those of `default_rng` may change.
"""

import functools

import numpy as np

from weights_converter.tables import torchvision
from weights_converter.tables.layer import SOURCE, Architecture


@functools.cache
def seeded_state_dict(model_name: str, num_classes: int | None, aux: bool = True) -> dict[str, np.ndarray]:
    """Draws a state_dict in PyTorch's names, float64, with random batch-norm rows of all four kinds."""
    random = np.random.RandomState(2015)
    tensors = {}
    for layer in torchvision.layers(Architecture(model_name, num_classes, aux)):
        for leaf in layer.kind.leaves:
            shape = layer.leaf_shape(leaf, SOURCE)
            if len(shape) == 4:
                array = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
            elif leaf.source == "running_var" or leaf.ours == "scale":
                array = random.uniform(0.5, 1.5, shape)
            else:
                array = random.standard_normal(shape) * 0.3
            if ".bn3" in layer.source and leaf.ours == "scale":
                array *= 0.3  # residual branches add up: keeps the activations of 33 blocks near 1
            array.flags.writeable = False
            tensors[layer.name(leaf, SOURCE)] = array
        for counter in layer.kind.counters:
            tensors[f"{layer.source}.{counter}"] = np.array(7, np.int64)
    return tensors


def seeded_images(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draws (N, H, W, 3) float64 images, normal like a normalized photo."""
    return np.random.RandomState(seed).standard_normal((batch, height, width, 3))
