"""Whole files both ways: what the metadata carry, and what is refused before anything is written."""

import dataclasses

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
    read_safetensors,
    save_conversion,
    save_model_file,
    write_safetensors,
)
from weights_converter.conversion import to_ours

NAME = "fcn32s_vgg16"
SPEC = ModelSpec(name=NAME, num_classes=5, features=(4, 6, 8, 10, 12), fc_features=16)


def older(path, name, metadata):
    """Writes a network in our names, and metadata as given."""
    params = to_ours(seeded_paper_state_dict(name)).params
    write_safetensors(path, params, {"format": "fcn_jax"} | metadata)
    return path


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


# Files of ours from before there was a spec: the metadata name the model, the tensors tell the rest.


@pytest.mark.parametrize("name", ["fcn32s_vgg16", "fcn8s_vgg16", "fcn8s_atonce_vgg16"])
def test_an_older_file_of_ours_is_what_it_says(name, tmp_path):
    path = older(
        tmp_path / "old.safetensors", name, {"model": name, "num_classes": "5", "preset": "torchvision"}
    )
    found = load_model_file(path)
    assert found.spec == dataclasses.replace(SPEC, name=name)
    assert (found.preset, found.twins) == ("torchvision", ())
    convert_file(path, tmp_path / "new.safetensors")
    metadata = read_safetensors(tmp_path / "new.safetensors")[1]
    assert metadata.keys() == {"format", "spec", "preset", "sha256"}
    assert ModelSpec.from_json(metadata["spec"]) == found.spec


def test_an_older_file_of_a_backbone(tmp_path):
    backbone = {
        name.removeprefix("backbone."): array
        for name, array in to_ours(seeded_paper_state_dict(NAME)).params.items()
        if name.startswith("backbone.")
    }
    path = tmp_path / "old.safetensors"
    write_safetensors(path, backbone, {"format": "fcn_jax", "model": "vgg16", "preset": "caffe"})
    assert load_model_file(path).spec == dataclasses.replace(SPEC, name="vgg16", num_classes=0)


def test_an_older_file_that_says_something_else(tmp_path):
    path = older(tmp_path / "old.safetensors", NAME, {"model": "fcn8s_atonce_vgg16", "num_classes": "5"})
    message = f"its metadata say fcn8s_atonce_vgg16, but its tensors are those of {NAME}"
    with pytest.raises(CheckpointError, match=rf"old\.safetensors: {message}"):
        load_model_file(path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            SPEC.to_json().replace(NAME, "fcn8s_vgg16"),
            r"not those of fcn8s_vgg16 \(.*\), as its metadata say:",
        ),
        (SPEC.to_json().replace("5", "6"), r"score_fr.bias: expected float \(6,\), got float64 \(5,\)"),
        (SPEC.to_json().replace(NAME, "mynet"), "expected one of the networks .*, got mynet"),
        ('{"name": "fcn32s_vgg16"}', "num_classes: expected a number of at least 1, got 0"),
        (
            '{"name": "fcn32s_vgg16", "num_classes": 5, "depth": 3}',
            "got 'depth'.*; read the file with the version",
        ),
        ("[]", 'spec: expected an object with a "name"'),
    ],
)
def test_a_spec_that_contradicts_its_tensors_or_makes_no_sense_is_one_error(spec, message, tmp_path):
    path = older(tmp_path / "f.safetensors", NAME, {"spec": spec})
    with pytest.raises(CheckpointError, match=r"(?s)f\.safetensors: .*" + message):
        load_model_file(path)


def test_other_programs_metadata_are_not_believed(tmp_path):
    params = to_ours(seeded_paper_state_dict(NAME)).params
    write_safetensors(tmp_path / "f.safetensors", params, {"format": "pt", "spec": "x", "categories": "y"})
    found = load_model_file(tmp_path / "f.safetensors")
    assert (found.spec, found.metadata) == (SPEC, {})


@pytest.mark.parametrize("text", ["3", "[1]", '{"a": "b"}', "no json", "[" * 10**5])
def test_counters_that_make_no_sense_are_refused(tmp_path, text):
    params = to_ours(seeded_paper_state_dict(NAME)).params
    with pytest.raises(CheckpointError, match="num_batches_tracked: expected "):
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
