"""What is written is read back the same, is the same each time, and appears whole or not at all."""

import errno
import os
import tracemalloc

import numpy as np
import pytest

from tests.weights_converter.assembled import assert_same, small_tensors
from weights_converter.errors import CheckpointError
from weights_converter.readers import read_checkpoint, read_safetensors
from weights_converter.writers import (
    safetensors_file,
    torch_zip,
    write_safetensors,
    write_torch_zip,
)


def write_ours(path, tensors):
    write_safetensors(path, tensors, {"model": "fcn_resnet50"})


WRITERS = pytest.mark.parametrize("write", [write_torch_zip, write_ours])


@WRITERS
def test_round_trip(write, tmp_path):
    write(tmp_path / "file", small_tensors())
    found = read_checkpoint(tmp_path / "file")
    expected = small_tensors()
    assert sorted(found) == sorted(expected)
    assert_same(found, {name: expected[name] for name in found})


def test_torchs_form_keeps_the_order(tmp_path):
    tensors = {name: np.zeros(1, np.float32) for name in ("z", "a", "m")}
    write_torch_zip(tmp_path / "file", tensors)
    assert list(read_checkpoint(tmp_path / "file")) == ["z", "a", "m"]


@WRITERS
def test_strides_byte_order_and_shared_memory_do_not_matter(write, tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    write(tmp_path / "file", {"a": base.T, "b": base[::2, ::-1], "c": base.astype(">f4"), "d": base})
    found = read_checkpoint(tmp_path / "file")
    assert_same(found, {"a": base.T, "b": base[::2, ::-1], "c": base, "d": base})


@WRITERS
@pytest.mark.parametrize("axes", [(2, 3, 1, 0), (3, 2, 0, 1), (0, 1, 3, 2), (1, 0, 2, 3)])
def test_large_kernels_in_other_layouts(write, axes, tmp_path):
    """Larger than the blocks by which they are laid out, and no multiple of them."""
    kernels = {
        "w": np.arange(130 * 67 * 2 * 3, dtype=np.float32).reshape(130, 67, 2, 3).transpose(axes),
        "flipped": np.arange(200 * 65, dtype=np.int16).reshape(200, 65)[::-1].T,
        "nan": np.full((70, 65), 0x7FA00001, np.uint32).view(np.float32).T,  # a signalling one
    }
    write(tmp_path / "file", kernels)
    found = read_checkpoint(tmp_path / "file")
    assert_same(found, {name: kernels[name] for name in found})


@WRITERS
def test_one_tensor_at_a_time_in_memory(write, tmp_path):
    tensors = {str(name): np.zeros((512, 512), np.float32).T for name in range(16)}
    write(tmp_path / "warm", tensors)
    tracemalloc.start()
    try:
        write(tmp_path / "file", tensors)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * 512 * 512 * 4


@WRITERS
def test_equal_input_makes_equal_bytes(write, tmp_path):
    write(tmp_path / "one", small_tensors())
    write(tmp_path / "two", small_tensors())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_order_of_names_leaves_no_trace_in_safetensors(tmp_path):
    tensors = small_tensors()
    write_safetensors(tmp_path / "one", tensors, {"a": "1", "b": "2"})
    write_safetensors(tmp_path / "two", dict(reversed(tensors.items())), {"b": "2", "a": "1"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_metadata_comes_back_with_a_digest(tmp_path):
    write_safetensors(tmp_path / "file", small_tensors(), {"model": "fcn", "note": 'é "quoted"'})
    _, metadata = read_safetensors(tmp_path / "file")
    assert len(metadata.pop("sha256")) == 64
    assert metadata == {"model": "fcn", "note": 'é "quoted"'}


def test_zip_storages_are_aligned(tmp_path):
    write_torch_zip(tmp_path / "file", small_tensors())
    found = read_checkpoint(tmp_path / "file")
    assert all(array.ctypes.data % 64 == 0 for array in found.values() if array.size)


def test_zip_is_a_zip_to_others(tmp_path):
    import zipfile

    write_torch_zip(tmp_path / "file", small_tensors())
    with zipfile.ZipFile(tmp_path / "file") as archive:
        assert archive.testzip() is None


@WRITERS
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "there are no tensors"),
        ({3: np.zeros(1)}, "a tensor's name is 3, not text"),
        ({"w": np.array(["text"])}, "<U4"),
        ({"w": np.array([None])}, "object"),
    ],
)
def test_what_cannot_be_written(write, tensors, message, tmp_path):
    with pytest.raises(CheckpointError, match=message) as raised:
        write(tmp_path / "file", tensors)
    assert str(tmp_path / "file") in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_dtype_without_a_storage_in_torch(tmp_path):
    with pytest.raises(CheckpointError, match="tensor 'w' has dtype uint16, which PyTorch cannot store"):
        write_torch_zip(tmp_path / "file", {"w": np.zeros(2, np.uint16)})


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"__metadata__": np.zeros(1)}, {}, "no tensor can be named"),
        ({"w": np.zeros(1)}, {"epoch": 3}, "metadata must be text"),
    ],
)
def test_what_cannot_stand_in_safetensors(tensors, metadata, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        write_safetensors(tmp_path / "file", tensors, metadata)


@WRITERS
def test_missing_folder(write, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written: No such file or directory") as raised:
        write(tmp_path / "none" / "file", small_tensors())
    assert raised.value.path == str(tmp_path / "none" / "file")


@WRITERS
def test_a_folder_in_the_way(write, tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written: Is a directory"):
        write(tmp_path / "file", small_tensors())
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@WRITERS
def test_full_disk_leaves_the_old_file(write, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        write(tmp_path / "file", small_tensors())
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: {"other": tensors["w"]}, "it has other names"),
        (lambda tensors: {"w": tensors["w"] + 1}, "its tensor 'w' has other values"),
        (lambda tensors: {"w": tensors["w"].reshape(2, 1)}, "its tensor 'w' has other values"),
        (lambda tensors: {"w": tensors["w"].view(np.int32)}, "its tensor 'w' has other values"),
    ],
)
def test_what_does_not_read_back_gets_no_name(spoil, message, tmp_path, monkeypatch):
    read = torch_zip.read_torch_zip
    monkeypatch.setattr(torch_zip, "read_torch_zip", lambda path: spoil(read(path)))
    with pytest.raises(CheckpointError, match=f"cannot be written: read back, {message}"):
        write_torch_zip(tmp_path / "file", {"w": np.ones(2, np.float32)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "reader", "write", "message"),
    [
        (torch_zip, "read_torch_zip", write_torch_zip, "CRC-32 does not match"),
        (safetensors_file, "read_safetensors", write_ours, "do not match its sha256"),
    ],
)
def test_a_byte_that_the_disk_lost_is_found(module, reader, write, message, tmp_path, monkeypatch):
    read = getattr(module, reader)

    def damaged(path):
        data = path.read_bytes()
        assert data.count(b"needle!!") == 1
        path.write_bytes(data.replace(b"needle!!", b"needle!?"))
        return read(path)

    monkeypatch.setattr(module, reader, damaged)
    tensors = {"a": np.ones(3, np.int8), "b": np.frombuffer(b"needle!!", np.uint8), "c": np.ones(2, np.int8)}
    with pytest.raises(CheckpointError, match=message):
        write(tmp_path / "file", tensors)
    assert list(tmp_path.iterdir()) == []
