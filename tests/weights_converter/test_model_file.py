"""Whole files both ways: what the metadata carry, and what is refused before anything is written."""

import numpy as np
import pytest

from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter import (
    CheckpointError,
    ModelSpec,
    convert_file,
    load_model_file,
    read_checkpoint,
    save_conversion,
    save_model_file,
)
from weights_converter.conversion import to_ours

NAME = "fcn32s_vgg16"
SPEC = ModelSpec(name=NAME, num_classes=5, features=(4, 6, 8, 10, 12), fc_features=16)


@pytest.fixture
def port(tmp_path):
    """A checkpoint of the PyTorch port, narrow."""
    path = tmp_path / "port.pth"
    write_torch_legacy(path, seeded_paper_state_dict(NAME))
    return path


def test_a_file_survives_the_way_in_and_out(port, tmp_path):
    ours, back = tmp_path / "a.safetensors", tmp_path / "back.pth"
    convert_file(port, ours)
    convert_file(ours, back)
    expected, got = read_checkpoint(port), read_checkpoint(back)
    assert list(got) == list(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


def test_our_file_says_where_it_comes_from(port, tmp_path):
    save_conversion(load_model_file(port), tmp_path / "a.safetensors", {"categories": "[]"})
    found = load_model_file(tmp_path / "a.safetensors")
    assert found.path == str(tmp_path / "a.safetensors")
    said = {key: found.metadata[key] for key in ("format", "spec", "preset", "source", "categories")}
    assert said == {
        "format": "fcn_jax",
        "spec": SPEC.to_json(),
        "preset": "caffe",
        "source": "port.pth",
        "categories": "[]",
    }
    assert len(found.metadata["source_sha256"]) == len(found.metadata["sha256"]) == 64


@pytest.mark.parametrize("text", ["3", "[1]", '{"a": "b"}', "no json", "[" * 10**5])
def test_counters_that_make_no_sense_are_refused(tmp_path, text):
    params = to_ours(seeded_paper_state_dict(NAME)).params
    with pytest.raises(CheckpointError, match="num_batches_tracked is not as expected"):
        save_model_file(tmp_path / "a.pth", params, SPEC, {"num_batches_tracked": text})
    assert not list(tmp_path.iterdir())


def test_another_networks_file_is_refused(port, tmp_path):
    with pytest.raises(CheckpointError, match=f"the tensors of fcn16s_vgg16, got those of {NAME}"):
        convert_file(port, tmp_path / "a.safetensors", model_name="fcn16s_vgg16")
    assert not (tmp_path / "a.safetensors").exists()


def test_an_unknown_suffix_is_refused_before_the_work(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.h5: expected a name that ends in one of \.safetensors"):
        convert_file(tmp_path / "nowhere.pth", tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
