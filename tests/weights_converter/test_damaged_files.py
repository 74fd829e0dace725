"""Damage of every kind, to small files of each form: an error that names it, or the right weights."""

import hashlib
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.weights_converter.assembled import assert_same, reason, torch_zip_file
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter.errors import CheckpointError
from weights_converter.readers import read_checkpoint
from weights_converter.writers import write_safetensors, write_torch_zip

TENSORS = {
    "conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.array(3, np.int64),
}


def write_ours(path, tensors):
    write_safetensors(path, tensors, {})


@pytest.fixture(scope="module", params=[write_torch_zip, write_torch_legacy, write_ours])
def intact(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("intact") / "file"
    request.param(path, TENSORS)
    return path


def test_every_cut_is_refused(intact, tmp_path):
    data = intact.read_bytes()
    for length in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        reason(tmp_path / "cut")


def test_every_flipped_byte_of_a_zip_is_found_or_harmless(tmp_path):
    write_torch_zip(tmp_path / "file", TENSORS)
    data = (tmp_path / "file").read_bytes()
    refused = 0
    for position in range(len(data)):
        mask = (0x01, 0x10, 0x80, 0xFF)[position % 4]
        (tmp_path / "flipped").write_bytes(
            data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
        )
        try:
            found = read_checkpoint(tmp_path / "flipped")
        except CheckpointError:
            refused += 1
            continue
        assert_same(found, TENSORS)
    assert refused > len(data) / 4  # most bytes are looked at


mutations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5000), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), st.integers(0, 5000), st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("delete"), st.integers(0, 5000), st.integers(1, 40)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutations)
def test_random_damage_ends_in_the_one_error_and_soon(intact, tmp_path, changes):
    data = bytearray(intact.read_bytes())
    for kind, position, change in changes:
        at = position % (len(data) + 1)
        if kind == "set":
            data[at : at + len(change)] = change
        elif kind == "insert":
            data[at:at] = change
        else:
            del data[at : at + change]
    path = tmp_path / hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    begin = time.monotonic()
    try:
        found = read_checkpoint(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = str(path)
        assert all(isinstance(array, np.ndarray) for array in found.values())
    path.unlink()
    assert str(path) in message
    assert time.monotonic() - begin < 60


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pickle=st.binary(max_size=200))
def test_random_pickles_end_in_the_one_error(tmp_path, pickle):
    assert reason(torch_zip_file(tmp_path / "file", b"\x80\x02" + pickle))
