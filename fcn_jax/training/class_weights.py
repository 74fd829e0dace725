"""Weights of the classes in the loss, from their frequency in a training set.

Source: Eigen and Fergus, "Predicting depth, surface normals and semantic labels" (2015), section 6.3.2.
"""

import numpy as np

from fcn_jax.datasets import IGNORE_LABEL, SegmentationDataset


def median_frequency(dataset: SegmentationDataset) -> np.ndarray:
    """Computes median frequency weights: the classes' median frequency divided by each class's frequency.

    The frequency of a class is its share of the pixels in the pictures where it occurs. Void pixels count as
    pixels. Reads every picture once.

    Returns:
      (C,) float64; 0 for classes that do not occur.
    """
    num_classes = len(dataset.categories)
    pixels, around = np.zeros(num_classes), np.zeros(num_classes)
    for index in range(len(dataset)):
        labels = dataset[index].labels
        counts = np.bincount(labels.ravel(), minlength=IGNORE_LABEL + 1)[:num_classes]
        pixels += counts
        around += (counts > 0) * labels.size
    found = pixels > 0
    frequency = np.divide(pixels, around, out=np.zeros(num_classes), where=found)
    return np.divide(np.median(frequency[found]), frequency, out=np.zeros(num_classes), where=found)
