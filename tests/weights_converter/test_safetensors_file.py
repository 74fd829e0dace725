"""safetensors files: those of others as they are, ours with their digest, and neither when ambiguous."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tests.weights_converter.assembled import assert_same, reason, small_tensors
from weights_converter.errors import CheckpointError
from weights_converter.readers import read_checkpoint, read_safetensors
from weights_converter.writers import write_safetensors


def by_hand(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(begin=0, end=8, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_files_of_the_library(tmp_path):
    tensors = {name: array for name, array in small_tensors().items() if array.dtype != ml_dtypes.bfloat16}
    safetensors.numpy.save_file(tensors, tmp_path / "f", {"format": "pt"})
    found, metadata = read_safetensors(tmp_path / "f")
    assert metadata == {"format": "pt"}
    assert_same(found, {name: tensors[name] for name in found})
    assert len(found) == len(tensors)


def test_our_files_in_the_library(tmp_path):
    tensors = {name: array for name, array in small_tensors().items() if array.dtype != ml_dtypes.bfloat16}
    write_safetensors(tmp_path / "f", tensors, {})
    found = safetensors.numpy.load_file(tmp_path / "f")
    assert {name: array.tolist() for name, array in found.items()} == {
        n: a.tolist() for n, a in tensors.items()
    }


def test_no_metadata(tmp_path):
    found, metadata = read_safetensors(by_hand(tmp_path / "f", {"w": entry()}, bytes(8)))
    assert (metadata, found["w"].tolist()) == ({}, [0, 0])


@pytest.mark.parametrize("again", [b'"w"', b'"\\u0077"'])
def test_a_name_twice(again, tmp_path):
    """The library takes the last of two equal names without a word."""
    tensor = b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    path = by_hand(tmp_path / "f", b'{"w":' + tensor + b"," + again + b":" + tensor + b"}", bytes(8))
    assert reason(path) == "its safetensors header names 'w' twice"


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"w": entry(0, 8)}, 7),
        ({"w": entry(0, 8)}, 9),
        ({"w": entry(0, 4)}, 4),
        ({"w": entry(4, 12)}, 12),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12),
        ({"w": entry(0, 8, shape=(-2,))}, 8),
        ({"w": entry(0, 8, dtype="F31")}, 8),
        ({"w": entry(0, 2**63)}, 8),
        ({"w": entry(0, 0, shape=(2**62, 2**62))}, 0),
        ({"w": 3}, 0),
        (b"{" * 5000, 0),
        (b'{"w":', 0),
        (b'{"w\xff":{}}', 0),
    ],
)
def test_damaged_headers(header, size, tmp_path):
    message = reason(by_hand(tmp_path / "f", header, bytes(size)))
    assert message.startswith("its safetensors header is damaged or it is cut short")


def test_every_cut_is_refused(tmp_path):
    write_safetensors(tmp_path / "f", small_tensors(), {"model": "fcn"})
    data = (tmp_path / "f").read_bytes()
    for length in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        reason(tmp_path / "cut")


def test_every_flipped_byte_of_ours_is_found_or_harmless(tmp_path):
    write_safetensors(
        tmp_path / "f", {"w": np.ones(2, np.float32), "b": np.ones(3, np.int8)}, {"model": "fcn"}
    )
    expected, path = read_checkpoint(tmp_path / "f"), tmp_path / "flipped"
    data = (tmp_path / "f").read_bytes()
    for position in range(len(data)):
        for mask in (0x01, 0x0F, 0x20, 0x80, 0xFF):
            path.write_bytes(data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :])
            try:
                found = read_checkpoint(path)
            except CheckpointError:
                continue
            assert_same(found, expected)


def test_flipped_weights(tmp_path):
    write_safetensors(tmp_path / "f", small_tensors(), {})
    data = bytearray((tmp_path / "f").read_bytes())
    data[-1] ^= 1
    (tmp_path / "f").write_bytes(data)
    assert reason(tmp_path / "f") == "it is damaged: its contents do not match its sha256; download it again"


@pytest.mark.parametrize("digest", ["", "a", "0" * 64])
def test_a_digest_of_something_else(digest, tmp_path):
    header = {"__metadata__": {"sha256": digest}, "w": entry()}
    assert "do not match its sha256" in reason(by_hand(tmp_path / "f", header, bytes(8)))


def test_our_own_files_must_have_their_digest(tmp_path):
    """One flipped bit in the key "sha256" would else leave all others unnoticed."""
    write_safetensors(tmp_path / "f", small_tensors(), {"format": "fcn_jax"})
    read_safetensors(tmp_path / "f")
    data = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(data.replace(b'"sha256"', b'"sha25v"'))
    assert reason(tmp_path / "f").startswith(
        "it is damaged: a file of fcn_jax has its sha256 in its metadata"
    )


def test_messages_of_the_library_are_cut_and_printable(tmp_path):
    """It repeats some words of the file as they are, in full."""
    dtype = "\x1b[31m" + "F" * 5000
    message = reason(by_hand(tmp_path / "f", {"w": entry(dtype=dtype)}, bytes(8)))
    assert len(message) < 300  # seen: 257, of 5,308 that the library said
    assert message.isprintable()


def test_a_length_that_looks_like_json(tmp_path):
    """A header of 123 bytes: the file begins with "{", as an index of shards does."""
    header = json.dumps({"w": entry()}).encode()
    path = by_hand(tmp_path / "f", header + b" " * (123 - len(header)), bytes(8))
    assert path.read_bytes()[:1] == b"{"
    assert read_checkpoint(path)["w"].shape == (2,)
