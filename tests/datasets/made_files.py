"""Small pictures and labels on disk, drawn anew for each test."""

import numpy as np
from PIL import Image


def random_image(seed, size=(33, 47)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def random_labels(seed, classes, size=(33, 47)):
    """Values 0 to classes - 1, and 255."""
    values = np.append(np.arange(classes), 255).astype(np.uint8)
    return np.random.default_rng(seed).choice(values, size)


def write(path, array, **options):
    """Writes an array as a picture, by the suffix; labels as grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def turned(orientation):
    """EXIF data that ask a viewer to turn the picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
