"""Weights of classes in the loss, from how often they occur in a training set.

Source: Eigen and Fergus, "Predicting depth, surface normals and semantic labels" (2015), section 6.3.2.
"""

import numpy as np

from fcn_jax.datasets import IGNORE_LABEL, SegmentationDataset


def median_frequency(dataset: SegmentationDataset) -> np.ndarray:
    """Computes median frequency weights: the median of the classes' frequencies over that of each class.

    The frequency of a class is its share of all pixels, void ones too, of the pictures that it occurs in.
    Reads every picture once.

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
