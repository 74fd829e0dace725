"""Confusion matrices as pictures."""

import numpy as np
import pytest

from fcn_jax.errors import ArrayError
from fcn_jax.visualization import confusion_picture


def test_the_picture_of_a_confusion_matrix():
    counts = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])
    picture = np.asarray(confusion_picture(counts, ["road", "tree", "sky"]))
    dark = (picture == (20, 70, 140)).all(-1)
    assert dark.sum() > 1000  # the cell of the class that is always right
    assert (picture == (236, 236, 238)).all(-1).sum() > 3000  # the row of the class that does not occur
    longest = confusion_picture(counts, ["road", "tree", "a very long name " * 40])
    assert picture.shape[1] < longest.width < 600
    with pytest.raises(ArrayError, match=r"expected counts \(2, 2\), got \(3, 3\)"):
        confusion_picture(counts, ["road", "tree"])
