"""Checkpoints and images drawn by NumPy, the same on every machine and version: no framework needed.

`RandomState` is used because its streams are frozen for good; those of `default_rng` may change.
"""

import functools
from collections.abc import Iterable

import numpy as np

from weights_converter import ModelSpec
from weights_converter.tables import paper, torchvision
from weights_converter.tables.layer import SOURCE, Layer


@functools.lru_cache(maxsize=2)  # fcn_resnet101's takes 0.4 GB
def seeded_state_dict(model_name: str, num_classes: int | None, aux: bool = True) -> dict[str, np.ndarray]:
    """Draws a state_dict of torchvision's, float64, with random batch-norm rows of all four kinds."""
    return _draw(
        torchvision.layers(
            ModelSpec(name=model_name, num_classes=num_classes or 0, aux_loss=aux and bool(num_classes))
        )
    )


@functools.cache
def seeded_paper_state_dict(model_name: str, num_classes: int = 5) -> dict[str, np.ndarray]:
    """Draws a state_dict of a narrow network of the paper, float64, its upsamplings dense and random."""
    features = (6, 8, 10, 12, 14) if model_name == "fcn32s_alexnet" else (4, 6, 8, 10, 12)
    spec = ModelSpec(name=model_name, num_classes=num_classes, features=features, fc_features=16)
    return _draw(paper.fcn_layers(spec))


def _draw(layers: Iterable[Layer]) -> dict[str, np.ndarray]:
    random = np.random.RandomState(2015)
    tensors = {}
    for layer in layers:
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
