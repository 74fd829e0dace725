"""What all datasets share."""

import pickle

import pytest

from fcn_jax.datasets import DatasetError
from fcn_jax.datasets.dataset import check_index
from fcn_jax.errors import FCNError


def test_an_error_goes_to_another_process_whole():
    error = DatasetError(
        path="a/b.png", expected="labels", got="a JPEG", hint="save them as PNG; see {folder}"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is DatasetError
    assert isinstance(copy, FCNError)
    assert isinstance(copy, ValueError)
    assert (str(copy), copy.path, copy.hint) == (str(error), "a/b.png", error.hint)
    assert str(copy) == "a/b.png: expected labels, got a JPEG; save them as PNG; see folder"
    assert copy.words({"folder": "--data-dir"}).endswith("see --data-dir")


def test_a_picture_has_a_number():
    assert check_index(True + 1, 3) == 2
    with pytest.raises(IndexError, match="0 to 2, got -1"):
        check_index(-1, 3)
