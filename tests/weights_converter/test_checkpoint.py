"""Files are known by their contents, and what is no checkpoint is called by its name."""

import gzip
import io
import mmap
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from tests.weights_converter.assembled import MAGIC, assert_same, reason, small_tensors, zip_file
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter.readers import read_checkpoint
from weights_converter.writers import write_safetensors, write_torch_zip


def tar_of_2017():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return buffer.getvalue()


def numpy_file(save, value):
    buffer = io.BytesIO()
    save(buffer, value)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is an empty file; download or save it again"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page, not a checkpoint"),
        (b"<html><body>", "is a web page"),
        (b"<?xml version='1.0'?><Error>", "is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "is a Git LFS pointer.*git lfs pull",
        ),
        (tar_of_2017(), "is a tar archive; if it is torch.save's format of 2017"),
        (gzip.compress(b"weights", mtime=0), "is compressed with gzip; unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
        (numpy_file(np.save, np.zeros(3)), "is a NumPy array"),
        (numpy_file(np.savez, np.zeros(3)), "is a NumPy archive"),
        (pickle.dumps({"w": 1}), "is a pickle, but not from torch.save"),
        (MAGIC[:8], "is a pickle, but not from torch.save, or it is damaged"),
        (b"PK\x05\x06" + bytes(18), "is an empty zip archive or one part"),
        (b"PK\x03\x04" + bytes(60), "its zip directory cannot be read"),
        (b"weights", "is not a checkpoint of a known format. Accepted are files of torch.save"),
        (b"\x00" * 100, "is not a checkpoint of a known format"),
    ],
)
def test_named_for_what_it_is(data, message, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    assert re.match(message, reason(path))


def test_torchscript(tmp_path):
    path = zip_file(tmp_path / "model.pt", {"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/a.py": b""})
    assert reason(path).startswith("is a TorchScript archive")


def test_a_zip_of_something_else(tmp_path):
    path = zip_file(tmp_path / "model.pt", {"holiday/photo.jpg": b"jpeg"})
    assert reason(path) == "is a zip archive, but not from torch.save: it has no data.pkl"


def test_missing(tmp_path):
    assert reason(tmp_path / "none.pth") == "there is no such file"


def test_folder(tmp_path):
    assert reason(tmp_path) == "is a folder; give the checkpoint file inside it"


def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "is not an ordinary file"


def test_nul_in_the_path():
    assert "null" in reason("a\0b")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights", "weights.jpg"])
def test_the_name_does_not_matter(name, tmp_path):
    tensors = {"w": np.arange(3, dtype=np.float32)}
    for write in (
        write_torch_zip,
        write_torch_legacy,
        lambda path, tensors: write_safetensors(path, tensors, {}),
    ):
        write(tmp_path / name, tensors)
        assert_same(read_checkpoint(tmp_path / name), tensors)


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_module_prefix(write, tmp_path):
    tensors = small_tensors()
    write(tmp_path / "file", {f"module.{name}": array for name, array in tensors.items()})
    assert_same(read_checkpoint(tmp_path / "file"), tensors)
    write(tmp_path / "file", {"module.a": tensors["half"], "b": tensors["half"]})
    assert list(read_checkpoint(tmp_path / "file")) == ["module.a", "b"]


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_arrays_lie_over_the_file_and_outlive_its_name(write, tmp_path):
    tensors = {"w": np.arange(1000, dtype=np.float32)}
    write(tmp_path / "file", tensors)
    found = read_checkpoint(tmp_path / "file")
    base = found["w"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)  # nothing was copied
    (tmp_path / "file").unlink()
    assert_same(found, tensors)


def test_compressed_by_a_zip_program(tmp_path):
    write_torch_zip(tmp_path / "file", small_tensors())
    with zipfile.ZipFile(tmp_path / "file") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    folders = {"archive/": b"", "archive/data/": b""}
    path = zip_file(tmp_path / "again", folders | records, zipfile.ZIP_DEFLATED)
    assert_same(read_checkpoint(path), small_tensors())


def test_import_is_light():
    program = (
        "import sys; import weights_converter.readers, weights_converter.writers; "
        "print([name for name in ('torch', 'jax', 'flax', 'fcn_jax') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_exported_model(tmp_path):
    path = zip_file(tmp_path / "model.zip", {"facts.json": b"{}", "function": b"", "weights.npz": b""})
    assert reason(path).startswith(
        "is a model exported by `fcn-jax export`, a program for inference: run it with"
    )
