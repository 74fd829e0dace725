"""Losses and gradients that segmentation_models_pytorch computed, for machines without it."""

import functools
from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "stored" / "smp_losses.npz"
SIZE = (2, 9, 7)
CASES = {  # loss/mode: number of logits
    f"{loss}/{mode}": count
    for loss in ("dice", "jaccard", "tversky", "focal", "lovasz")
    for mode, count in (("binary", 1), ("multiclass", 4))
}


@functools.cache
def stored() -> dict[str, np.ndarray]:
    """Loads the arrays by name, such as "dice/binary/value" and "dice/binary/gradient"."""
    with np.load(PATH) as file:
        return dict(file)


def drawn(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the logits (N, H, W, C) and labels (N, H, W), of all classes, a part of them void."""
    random = np.random.RandomState(100 + num_classes)
    labels = random.randint(0, max(2, num_classes), SIZE)
    labels[1, 2:4] = 255
    labels[0, :, -1] = 255
    return 2.5 * random.standard_normal((*SIZE, num_classes)), labels
