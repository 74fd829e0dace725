"""Tensors over storages: every dtype, views of any stride, and nothing outside the bytes that are there."""

import re

import numpy as np
import pytest

from tests.weights_converter.assembled import (
    NO_HOOKS,
    assert_same,
    integer,
    numbers,
    one,
    reason,
    storage,
    tensor,
    text,
    torch_legacy_file,
    torch_zip_file,
)
from weights_converter.errors import SettingError
from weights_converter.readers import read_checkpoint
from weights_converter.readers.storages import DTYPES, STORAGE_DTYPES

ONE_TO_SIX = np.arange(1, 7, dtype=np.float32)


def both_forms(folder, numel=6, data=None, **fields):
    """One tensor over one storage, in a zip file and in a stream file."""
    data = ONE_TO_SIX.tobytes() if data is None else data
    zipped = torch_zip_file(folder / "zip", one(tensor(storage(numel=numel), **fields)), s0=data)
    described = one(tensor(storage(numel=numel, view=b"N"), **fields))
    return zipped, torch_legacy_file(folder / "stream", described, {"0": (numel, data)})


@pytest.mark.parametrize("kind", [name for name, dtype in STORAGE_DTYPES.items() if dtype is not None])
def test_every_dtype(kind, tmp_path):
    dtype = STORAGE_DTYPES[kind]
    expected = np.array([0, 1, 1]).astype(dtype)
    described = one(tensor(storage(kind.removeprefix("torch."), numel=3), size=numbers(3)))
    assert_same(
        read_checkpoint(torch_zip_file(tmp_path / "f", described, s0=expected.tobytes())), {"w": expected}
    )


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"])
def test_dtypes_over_untyped_storages(name, tmp_path):
    expected = np.array([0, 1, 2]).astype(DTYPES[name])
    untyped = storage(numel=expected.nbytes).replace(b"ctorch\nFloat", b"ctorch.storage\nUntyped")
    described = (
        b"ctorch._utils\n_rebuild_tensor_v3\n("
        + (untyped + integer(0) + numbers(3) + numbers(1) + b"\x89" + NO_HOOKS)
        + f"ctorch\n{name}\ntR".encode()
    )
    path = torch_zip_file(tmp_path / "f", one(described), s0=expected.tobytes())
    assert_same(read_checkpoint(path), {"w": expected})


def test_other_dtypes_are_named(tmp_path):
    untyped = storage(numel=2).replace(b"ctorch\nFloat", b"ctorch.storage\nUntyped")
    fields = untyped + integer(0) + numbers(2) + numbers(1) + b"\x89" + NO_HOOKS + b"ctorch\nfloat8_e8m0fnu\n"
    path = torch_zip_file(
        tmp_path / "f", one(b"ctorch._utils\n_rebuild_tensor_v3\n(" + fields + b"tR"), s0=bytes(2)
    )
    assert "'w' (a tensor of dtype float8_e8m0fnu)" in reason(path)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "expected"),
    [
        ((6,), (1,), 0, ONE_TO_SIX),
        ((2, 3), (3, 1), 0, ONE_TO_SIX.reshape(2, 3)),
        ((3, 2), (1, 3), 0, ONE_TO_SIX.reshape(2, 3).T),
        ((2,), (2,), 3, ONE_TO_SIX[3::2]),
        ((), (), 5, ONE_TO_SIX[5]),
        ((2, 3), (0, 1), 3, np.stack([ONE_TO_SIX[3:]] * 2)),
        ((2, 2), (1, 1), 4 - 1, np.array([[4, 5], [5, 6]], np.float32)),
        ((0,), (1,), 0, ONE_TO_SIX[:0]),
        ((0, 3), (3, 1), 1000, np.zeros((0, 3), np.float32)),
        ((1, 1), (10**9, 10**9), 5, ONE_TO_SIX[5:].reshape(1, 1)),
    ],
)
def test_views(size, stride, offset, expected, tmp_path):
    for path in both_forms(tmp_path, size=numbers(*size), stride=numbers(*stride), offset=offset):
        assert_same(read_checkpoint(path), {"w": np.asarray(expected)})


def test_a_few_bytes_do_not_stand_for_terabytes(tmp_path, monkeypatch):
    paths = both_forms(tmp_path, size=numbers(2**40), stride=numbers(0))
    for path in paths:
        assert re.match(
            r"its tensors would take 4,398,046,511,104 bytes, but share 24 bytes.*at most 1,073", reason(path)
        )
    monkeypatch.setenv("FCN_JAX_MAX_REPEATED_BYTES", str(2**43))
    for path in paths:  # and what is allowed takes no memory
        assert read_checkpoint(path)["w"].shape == (2**40,)
    monkeypatch.setenv("FCN_JAX_MAX_REPEATED_BYTES", "much")
    with pytest.raises(
        SettingError, match=r"FCN_JAX_MAX_REPEATED_BYTES: expected a number of bytes, got .much"
    ):
        read_checkpoint(paths[0])


def test_many_views_of_one_storage_count_together(tmp_path):
    """Each is as large as the storage, and so is harmless alone."""
    kib = np.zeros(2**20, np.float32)
    views = b"".join(
        text(f"w{number}") + tensor(storage(numel=kib.size), numbers(kib.size)) for number in range(300)
    )
    path = torch_zip_file(tmp_path / "f", b"\x80\x02}(" + views + b"u.", s0=kib.tobytes())
    assert reason(path).startswith("its tensors would take 1,258,291,200 bytes, but share 4,194,304 bytes")


@pytest.mark.parametrize(
    ("size", "stride", "offset", "message"),
    [
        ((7,), (1,), 0, r"size \(7\), stride \(1\) and offset 0 needs 28 bytes of storage '0', which has 24"),
        ((6,), (1,), 1, "needs 28 bytes"),
        ((3,), (3,), 0, "needs 28 bytes"),
        ((2, 3), (3, 2), 0, "needs 32 bytes"),
        ((1,), (1,), 6, "needs 28 bytes"),
        ((), (), 6, "needs 28 bytes"),
        ((2**62,), (1,), 0, "needs 18446744073709551616 bytes"),
        ((2**62, 4), (4, 1), 0, "needs 7378697629483820646\\d bytes"),
        ((2**63 - 1,) * 8, (2**63 - 1,) * 8, 0, "needs int bytes"),
        ((-1,), (1,), 0, "describe no tensor"),
        ((2,), (-1,), 1, "describe no tensor"),
        ((2,), (1,), -1, "describe no tensor"),
        ((2**63,), (0,), 0, "describe no tensor"),
        ((2,), (2**63,), 0, "describe no tensor"),
        ((2,), (1, 1), 0, "describe no tensor"),
        ((2, 1), (1,), 0, "describe no tensor"),
        ((1,) * 65, (1,) * 65, 0, "size tuple, stride tuple and offset 0 describe no tensor"),
        ((2**62, 4), (0, 0), 0, "is too large for NumPy"),
        ((0, 2**62, 2**62), (1, 1, 1), 0, "is too large for NumPy"),
    ],
)
def test_outside_the_storage(size, stride, offset, message, tmp_path):
    for path in both_forms(tmp_path, size=numbers(*size), stride=numbers(*stride), offset=offset):
        assert re.search(message, reason(path)), reason(path)


@pytest.mark.parametrize(
    "size", [b"K\x04", b"N", b"]", b"\x88\x85", text("4") + b"\x85", b"G" + bytes(8) + b"\x85"]
)
def test_sizes_that_are_no_sizes(size, tmp_path):
    for path in both_forms(tmp_path, size=size):
        assert "describe no tensor" in reason(path)


def test_two_tensors_may_share_a_storage(tmp_path):
    pair = (
        b"\x80\x02}("
        + text("a")
        + tensor(storage())
        + text("b")
        + tensor(storage(), numbers(2), numbers(2))
        + b"u."
    )
    found = read_checkpoint(torch_zip_file(tmp_path / "f", pair, s0=ONE_TO_SIX[:4].tobytes()))
    assert_same(found, {"a": ONE_TO_SIX[:4], "b": ONE_TO_SIX[:4:2]})
    assert np.shares_memory(found["a"], found["b"])


@pytest.mark.parametrize("rebuild", [b"_rebuild_parameter\n", b"_rebuild_parameter_with_state\n"])
def test_parameters(rebuild, tmp_path):
    state = b"}" if b"state" in rebuild else b""
    described = b"ctorch._utils\n" + rebuild + b"(" + tensor(storage()) + b"\x88" + NO_HOOKS + state + b"tR"
    path = torch_zip_file(tmp_path / "f", one(described), s0=ONE_TO_SIX[:4].tobytes())
    assert_same(read_checkpoint(path), {"w": ONE_TO_SIX[:4]})


def test_a_lazily_negated_tensor_is_refused(tmp_path):
    described = tensor(storage()).removesuffix(b"tR") + b"}" + text("neg") + b"\x88stR"
    path = torch_zip_file(tmp_path / "f", one(described), s0=bytes(16))
    assert "'w' (a tensor with its conjugate or negative bit set)" in reason(path)
