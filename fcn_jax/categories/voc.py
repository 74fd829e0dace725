"""PASCAL VOC's categories, the classes of the published networks, and their colours."""

import numpy as np

from fcn_jax.errors import SettingError

VOC_CATEGORIES: tuple[str, ...] = (
    "__background__",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The 21 classes of PASCAL VOC by index, spelled as in torchvision's `_VOC_CATEGORIES`."""

BINARY_CATEGORIES = ("background", "foreground")
"""Names of the two labels of one logit."""


def voc_palette(num_classes: int) -> np.ndarray:
    """Returns PASCAL VOC's colours. The index's bits go in turn to red, green and blue, highest bit first.

    Index 0 (background) is black, index 255 (void) is (224, 224, 192).

    Returns:
      (num_classes, 3) uint8.

    Raises:
      SettingError: num_classes is not in 1..256.

    Source: `VOClabelcolormap` of the PASCAL VOC 2012 development kit.
    """
    if not 1 <= num_classes <= 256:
        raise SettingError(subject="num_classes", expected="1 to 256", got=str(num_classes))
    index = np.arange(num_classes)[:, None]
    channel = np.arange(3)
    colours = np.zeros((num_classes, 3), np.int64)
    for step in range(3):
        colours |= (index >> (3 * step + channel) & 1) << (7 - step)
    return colours.astype(np.uint8)
