"""Arrays that torchvision computed, for machines without it; made by `python -m tests.parity.store`."""

import functools
from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "stored" / "fcn.npz"
VARIANTS = ("fcn_resnet50", "fcn_resnet101")
NUM_CLASSES = 5
IMAGES = (2, 17, 23)
RESIZE_SIZE = 40

# A few of the tensors that a step in training mode gives, by their source names: first, middle, last.
GRADIENTS = ("backbone.conv1.weight", "backbone.layer3.0.bn2.weight", "aux_classifier.4.bias")
STATISTICS = (
    "backbone.bn1.running_mean",
    "backbone.layer4.2.bn3.running_var",
    "aux_classifier.1.running_var",
)


@functools.cache
def stored() -> dict[str, np.ndarray]:
    """Loads the arrays by name, such as "fcn_resnet50/out"."""
    with np.load(PATH) as file:
        return dict(file)


def picture() -> np.ndarray:
    """Draws the (53, 37, 3) uint8 picture that the stored preset was applied to."""
    return np.random.RandomState(3).randint(0, 256, (53, 37, 3), dtype=np.uint8)
