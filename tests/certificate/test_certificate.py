"""Certificates: what they say of a conversion that is right, of one that is not, and without PyTorch."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from fcn_jax.certificate import BOUND, certify, comparison, is_good, verdict, write_certificate
from fcn_jax.cli import main
from tests.seeded import seeded_paper_state_dict, seeded_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter import convert_file, load_model_file, save_conversion
from weights_converter.model_file import file_digest

NETWORKS = ("fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16", "fcn8s_atonce_vgg16", "fcn32s_alexnet")


def converted(folder, name="fcn8s_vgg16"):
    """Returns a checkpoint in PyTorch's form and our file of it."""
    source, target = folder / "net.pth", folder / "net.safetensors"
    tensors = seeded_paper_state_dict(name) if name in NETWORKS else seeded_state_dict(name, 5)
    write_torch_legacy(source, {key: np.asarray(array, _dtype(array)) for key, array in tensors.items()})
    convert_file(source, target, model_name=name)
    return source, target


def _dtype(array):
    return np.float32 if array.dtype == np.float64 else array.dtype


@pytest.fixture(autouse=True)
def one_input(monkeypatch, request):
    """One picture, except for fcn8s_vgg16: most of the time goes to compiling for a size."""
    if "[fcn8s_vgg16]" not in request.node.name:
        monkeypatch.setattr(comparison, "INPUTS", comparison.INPUTS[1:])


@pytest.mark.parametrize("name", [*NETWORKS, pytest.param("fcn_resnet50", marks=pytest.mark.slow)])
def test_the_same_function(tmp_path, name):
    pytest.importorskip("torch")
    source, target = converted(tmp_path, name)
    record = certify(source, target, model_name=name)
    compared = record["comparison"]
    assert record["tensors"]["equal"]
    assert compared["done"]
    errors = [error for each in compared["inputs"] for error in each["errors"].values()]
    assert len(errors) == (2 if name in ("fcn8s_vgg16", "fcn_resnet50") else 1)
    assert max(errors) < BOUND / 10  # seen: 1.8e-15 for the paper's networks, 5.0e-15 for fcn_resnet50
    assert is_good(record)
    assert verdict(record) == "The same numbers and the same function."


def test_another_function(tmp_path, monkeypatch):
    """The at-once network has the tensors of fcn8s, and other constants."""
    pytest.importorskip("torch")
    from fcn_jax.certificate import torch_side

    source, target = converted(tmp_path, "fcn8s_atonce_vgg16")
    monkeypatch.setitem(torch_side.PAPER, "fcn8s_atonce_vgg16", torch_side.PAPER["fcn8s_vgg16"])
    record = certify(source, target, model_name="fcn8s_atonce_vgg16")
    assert record["comparison"]["inputs"][0]["errors"]["out"] > 1e-3
    assert not is_good(record)
    assert verdict(record) == "The same numbers, but not the same function."


def test_other_numbers(tmp_path):
    source, target = converted(tmp_path)
    conversion = load_model_file(target)
    changed = dict(conversion.params)
    changed["score_fr.bias"] = changed["score_fr.bias"] + np.float32(1e-6)
    other = tmp_path / "other.safetensors"
    save_conversion(dataclasses.replace(conversion, params=changed, path=None), other)
    record = certify(source, other)
    assert not is_good(record)
    assert verdict(record) == "Not equal: the two files hold different numbers."


def test_without_pytorch(tmp_path, monkeypatch):
    source, target = converted(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "fcn_jax.certificate.torch_side", raising=False)
    record = certify(source, target)
    assert not record["comparison"]["done"]
    assert "PyTorch is not installed" in record["comparison"]["why"]
    assert is_good(record)  # what was compared is equal
    assert "was not compared: PyTorch is not installed" in verdict(record)


def test_the_files_say_it_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)  # the comparison has its own tests
    monkeypatch.delitem(sys.modules, "fcn_jax.certificate.torch_side", raising=False)
    source, target = converted(tmp_path)
    assert main(["convert", str(source), str(target), "--certificate"]) == 0
    assert "The same numbers. The function was not compared" in capsys.readouterr().out
    record = json.loads((tmp_path / "net.certificate.json").read_text())
    text = (tmp_path / "net.certificate.md").read_text()
    assert record["source"]["sha256"] == file_digest(source)
    assert record["result"]["sha256"] == file_digest(target)
    used = record["tensors"]["used"]
    assert len(used) == 39
    first = {"source": "conv1_1.weight", "ours": "backbone.conv1_1.kernel"}
    assert first | {"shape": [3, 3, 3, 4], "dtype": "float32"} in used
    assert all(f"| `{each['source']}` | `{each['ours']}` |" in text for each in used)
    assert file_digest(source) in text
    assert {"fcn_jax", "jax", "numpy"} <= record["versions"].keys()


def test_what_was_set_aside_is_named(tmp_path):
    record = {
        "source": {"file": "a", "bytes": 1, "sha256": "0"},
        "result": {"file": "b", "bytes": 1, "sha256": "1"},
        "network": {},
        "tensors": {"used": [], "set_aside": {"fc.weight": "the classifier"}, "counters": 0, "equal": True},
        "comparison": {"done": False, "why": "no reason"},
        "versions": {},
    }
    _, page = write_certificate(record, tmp_path / "b.safetensors")
    assert "- `fc.weight`: the classifier" in page.read_text()
