"""torch.save's zip form: what its records may be."""

import zipfile

import ml_dtypes
import numpy as np
import pytest

from tests.weights_converter.assembled import (
    assert_same,
    one,
    reason,
    small_tensors,
    storage,
    tensor,
    text,
    torch_zip_file,
    zip_file,
)
from weights_converter.readers import read_checkpoint
from weights_converter.writers import write_torch_zip

FOUR = np.arange(4, dtype=np.float32)


def test_the_oldest_zip_form(tmp_path):
    path = torch_zip_file(tmp_path / "f", one(tensor(storage())), s0=FOUR.tobytes())
    assert_same(read_checkpoint(path), {"w": FOUR})


@pytest.mark.parametrize(("order", "dtype"), [(b"little", "<f4"), (b"big", ">f4")])
def test_byte_order(order, dtype, tmp_path):
    records = {
        "m/data.pkl": one(tensor(storage())),
        "m/byteorder": order,
        "m/data/0": FOUR.astype(dtype).tobytes(),
        "m/.data/serialization_id": b"1",
    }
    assert_same(read_checkpoint(zip_file(tmp_path / "f", records)), {"w": FOUR})


def test_big_endian_of_every_dtype(tmp_path):
    write_torch_zip(tmp_path / "little", small_tensors())
    with zipfile.ZipFile(tmp_path / "little") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    for key, array in enumerate(small_tensors().values()):
        swapped = array.reshape(-1).view(f"u{array.dtype.itemsize}").byteswap()
        records[f"archive/data/{key}"] = swapped.tobytes()
    records["archive/byteorder"] = b"big"
    assert_same(read_checkpoint(zip_file(tmp_path / "big", records)), small_tensors())


def test_unknown_byte_order(tmp_path):
    records = {"m/data.pkl": one(tensor(storage())), "m/byteorder": b"middle", "m/data/0": bytes(16)}
    assert "its byteorder is 'middle'" in reason(zip_file(tmp_path / "f", records))


def test_missing_storage(tmp_path):
    path = torch_zip_file(tmp_path / "f", one(tensor(storage())))
    assert reason(path) == "it has no record 'data/0', which a tensor needs"


@pytest.mark.parametrize("size", [0, 12, 20])
def test_storage_of_another_size(size, tmp_path):
    path = torch_zip_file(tmp_path / "f", one(tensor(storage())), s0=bytes(size))
    assert reason(path) == f"its record 'archive/data/0' has {size} bytes, its pickle says 16"


def test_a_storage_that_leads_elsewhere(tmp_path):
    path = torch_zip_file(tmp_path / "f", one(tensor(storage(key="../data.pkl"))))
    assert reason(path) == "it has no record 'data/../data.pkl', which a tensor needs"


def test_only_what_is_asked_for_is_read(tmp_path):
    """Damage in an optimizer's state is no reason to refuse the model beside it."""
    pickle = (
        b"\x80\x02}("
        + (text("model") + b"}" + text("w") + tensor(storage()) + b"s")
        + (text("optimizer") + tensor(storage(key="1")) + b"u.")
    )
    path = torch_zip_file(tmp_path / "f", pickle, s0=FOUR.tobytes(), s1=b"optimizerstate!!")
    path.write_bytes(path.read_bytes().replace(b"optimizerstate!!", b"optimizerstate??"))
    assert_same(read_checkpoint(path), {"w": FOUR})


def test_bfloat16_at_an_odd_address(tmp_path):
    numbers = np.arange(4).astype(ml_dtypes.bfloat16)
    path = tmp_path / "f"
    for padding in ("", "x"):
        pickle = one(tensor(storage("BFloat16Storage")), name="w" + padding)
        found = read_checkpoint(torch_zip_file(path, pickle, s0=numbers.tobytes()))["w" + padding]
        np.testing.assert_array_equal(found.astype(np.float32), [0, 1, 2, 3])
