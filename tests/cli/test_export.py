"""fcn-jax export: the file, what is said of it, and mistakes."""

import zipfile

import jax
import jax.export
import numpy as np
import pytest

import fcn_jax
from fcn_jax.inference.export import load_exported
from tests.inference.drawn_models import drawn_model
from tests.seeded import seeded_images


@pytest.fixture
def checkpoint(tmp_path):
    fcn_jax.save_weights(drawn_model("fcn8s_vgg16", "float32"), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_the_file_and_its_line(cli, checkpoint, tmp_path):
    path = tmp_path / "m.zip"
    status, out, err = cli(
        "export", path, "--weights", checkpoint, "--size", "41x67", "--kind", "probabilities"
    )
    assert (status, err) == (0, "")
    assert out.startswith(f"{path}: fcn8s_vgg16, probabilities of images up to 41 x 67 (height x width), ")
    probabilities = load_exported(path).function(seeded_images(2, 41, 60).astype(np.float32))
    assert probabilities.shape == (2, 41, 60, 5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_it_computes_in(cli, checkpoint, tmp_path, dtype):
    path = tmp_path / "m.zip"
    status, _, err = cli("export", path, "--weights", checkpoint, "--size", "41x67", "--dtype", dtype)
    assert (status, err) == (0, "")
    with zipfile.ZipFile(path) as file:
        program = jax.export.deserialize(bytearray(file.read("function"))).mlir_module()
    assert ("bf16" in program) == (dtype == "bfloat16")


@pytest.mark.parametrize("size", ["520", "x520", "5x-2", "axb"])
def test_an_unfit_size(cli, checkpoint, tmp_path, size):
    status, _, err = cli("export", tmp_path / "m.zip", "--weights", checkpoint, "--size", size)
    assert status == 1
    assert f"--size: expected a height and a width, such as 520x520, got '{size}'" in err
    assert not (tmp_path / "m.zip").exists()


def test_without_flatbuffers_it_is_said_before_anything_is_loaded(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = cli("export", tmp_path / "m.zip", "--weights", "nowhere.pth")
    assert status == 1
    assert err == "fcn-jax: error: exported files need flatbuffers: pip install 'fcn_jax[export]'\n"


def test_an_unfit_platform(cli, checkpoint, tmp_path):
    status, _, err = cli("export", tmp_path / "m.zip", "--weights", checkpoint, "--platforms", "gpu")
    assert status == 1
    assert "platforms: expected some of cpu, cuda, rocm, tpu, got gpu" in err
