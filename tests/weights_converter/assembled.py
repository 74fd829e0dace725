"""Checkpoint files put together byte by byte, so that a test can spoil any part of them."""

import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from weights_converter.errors import CheckpointError
from weights_converter.readers import read_checkpoint

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYS_INFO = b"\x80\x02}(X\x10\x00\x00\x00protocol_versionM\xe9\x03X\r\x00\x00\x00little_endian\x88u."
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
NO_HOOKS = b"ccollections\nOrderedDict\n)R"


def small_tensors() -> dict[str, np.ndarray]:
    """One array of each dtype torch.save knows, with a scalar, an empty one and several axes."""
    numbers = np.random.default_rng(0).normal(size=(3, 5))
    return {
        "conv.weight": numbers.astype(np.float32).reshape(3, 5, 1, 1),
        "conv.bias": numbers[:, 0].astype(np.float64),
        "half": numbers[0].astype(np.float16),
        "brain": numbers.astype(ml_dtypes.bfloat16),
        "num_batches_tracked": np.array(12345678901, np.int64),
        "int32": np.array([[-1, 2]], np.int32),
        "int16": np.array([-300], np.int16),
        "int8": np.array([-3, 4], np.int8),
        "uint8": np.array([250], np.uint8),
        "bool": np.array([True, False, True]),
        "empty": np.zeros((0, 3), np.float32),
    }


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Equal names in equal order, dtypes, shapes and bits; and nothing that could be written to."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name
        assert not found[name].flags.writeable, name


def reason(path: Path) -> str:
    """Why `read_checkpoint` refuses a file; the message must name the file."""
    with pytest.raises(CheckpointError) as raised:
        read_checkpoint(path)
    assert str(raised.value) == f"{path}: {raised.value.reason}"
    return raised.value.reason


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"


def storage(kind: str = "FloatStorage", key: str = "0", numel: int = 4, view: bytes | None = None) -> bytes:
    """A storage as the zip form names it; with `view` (opcodes), as the stream form does."""
    fields = text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + integer(numel)
    return b"(" + fields + (view or b"") + b"tQ"


def tensor(stored: bytes, size: bytes = numbers(4), stride: bytes = numbers(1), offset: int = 0) -> bytes:
    return REBUILD + b"(" + stored + integer(offset) + size + stride + b"\x89" + NO_HOOKS + b"tR"


def one(value: bytes, name: str = "w") -> bytes:
    """The pickle of a state_dict of one entry."""
    return b"\x80\x02}(" + text(name) + value + b"u."


def zip_file(path: Path, records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def torch_zip_file(path: Path, pickle: bytes, **storages: bytes) -> Path:
    """A zip checkpoint of this pickle; `s0=...` is the storage "0"."""
    data = {f"archive/data/{key[1:]}": value for key, value in storages.items()}
    return zip_file(path, {"archive/data.pkl": pickle, "archive/version": b"3\n", **data})


def torch_legacy_file(
    path: Path, pickle: bytes, storages: dict[str, tuple[int, bytes]], keys: bytes | None = None
) -> Path:
    """A stream checkpoint of this pickle and {key: (count, bytes)}."""
    keys = b"](" + b"".join(text(key) for key in storages) + b"e" if keys is None else keys
    data = b"".join(count.to_bytes(8, "little", signed=True) + value for count, value in storages.values())
    path.write_bytes(MAGIC + PROTOCOL + SYS_INFO + pickle + b"\x80\x02" + keys + b"." + data)
    return path
