"""The account: one message names all problems."""

import numpy as np
import pytest

from weights_converter import CheckpointError
from weights_converter.account import match_arrays

WANTED = {"a": (2,), "b": (3, 1), "c": ()}


def came(**arrays) -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in WANTED.items()} | arrays


def test_what_fits_is_loaded():
    account = match_arrays(WANTED, came(), "the net")
    assert account.loaded == ("a", "b", "c")
    assert account.dropped == account.fresh == {}
    assert repr(account) == "Account(3 loaded, 0 dropped, 0 fresh)"


def test_one_message_names_all_problems():
    arrays = came(surplus=np.ones(1), a=np.ones(3, np.float32), b=np.ones((3, 1), np.int32))
    del arrays["c"]
    with pytest.raises(CheckpointError) as caught:
        match_arrays(WANTED, arrays, "the net")
    assert str(caught.value).splitlines() == [
        "the tensors are not those of the net:",
        "  missing (1): c",
        "  unexpected (1): surplus",
        "  of another shape or dtype (2): a: expected float (2,), got float32 (3,), "
        "b: expected float (3, 1), got int32 (3, 1)",
    ]


def test_without_strict_only_shapes_must_be_right():
    arrays = came(surplus=np.ones(1))
    del arrays["c"]
    account = match_arrays(WANTED, arrays, "the net", strict=False)
    assert account.loaded == ("a", "b")
    assert account.dropped == {"surplus": "strict=False: no place for it"}
    assert account.fresh == {"c": "strict=False: not in the file"}
    with pytest.raises(CheckpointError, match=r"shape or dtype \(1\): a: expected float \(2,\)"):
        match_arrays(WANTED, arrays | {"a": np.ones(3)}, "the net", strict=False)


def test_a_long_list_is_cut_with_its_length():
    with pytest.raises(CheckpointError, match=r"missing \(196\): 0, 1, .*, 39, and 156 more"):
        match_arrays({str(number): (1,) for number in range(196)}, {}, "the net")
