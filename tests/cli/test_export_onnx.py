"""fcn-jax export model.onnx: the file by its ending, what is said of it, and mistakes."""

import numpy as np
import pytest

import fcn_jax
from tests.cli.conftest import call
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import picture

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    fcn_jax.save_weights(drawn_model("fcn8s_vgg16", "float32"), path)
    return path


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def test_the_file_and_its_lines(weights, tmp_path):
    path = tmp_path / "M.ONNX"
    status, out, err = call("export", path, "--weights", weights, "--kind", "probabilities", "--verify")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(
        f"{path}: fcn8s_vgg16, probabilities of normalized images of any size, ONNX opset 17, 0.1 MiB, "
    )
    assert second.startswith("verified with ONNX Runtime ")
    assert "of the largest logit, labels equal at " in second
    assert run(path, np.zeros((2, 41, 60, 3), np.float32)).shape == (2, 41, 60, 5)


def test_eight_bits(weights, tmp_path):
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        picture(47, 33, seed).save(tmp_path / "photos" / f"{seed}.png")
    path = tmp_path / "m.onnx"
    options = ("--weights", weights, "--int8", "--calibrate", tmp_path / "photos", "--input", "uint8")
    status, out, err = call("export", path, *options)
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert "labels of uint8 images of any size, int8, ONNX opset 17" in first
    assert second.startswith("calibrated on 3 pictures; on 1: 0.")
    assert second.endswith("% of the pixels")
    assert run(path, np.zeros((1, 33, 47, 3), np.uint8)).shape == (1, 33, 47)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.onnx", ["--size", "41x67"], "--size: is for files that end in .zip"),
        ("m.onnx", ["--platforms", "cpu"], "--platforms: is for files that end in .zip"),
        ("m.zip", ["--verify"], "--verify: is for files that end in .onnx"),
        ("m.zip", ["--aux"], "--aux: is for files that end in .onnx"),
        ("m.zip", ["--input", "uint8"], "--input: is for files that end in .onnx"),
        ("m.onnx", ["--int8"], "--int8: expected --int8 and --calibrate DIR together, because"),
        ("m.onnx", ["--calibrate", "photos"], "--calibrate: expected --int8 and --calibrate DIR together"),
        ("m.onnx", ["--int8", "--calibrate", "nowhere"], "nowhere: expected a picture or a folder"),
        ("m.onnx", ["--dtype", "bfloat16"], "--dtype: expected float32, in which ONNX files compute"),
        ("m.onnx", ["--aux"], "--aux: expected a model with an auxiliary head"),
        (
            "m.tflite",
            [],
            "m.tflite: expected a name that ends in .zip (a program for JAX) or .onnx, got '.tflite'",
        ),
        (
            "model",
            [],
            "model: expected a name that ends in .zip (a program for JAX) or .onnx, got a name without",
        ),
    ],
)
def test_mistakes(weights, name, options, message, tmp_path):
    status, out, err = call("export", tmp_path / name, "--weights", weights, *options)
    assert (status, out) == (1, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_it_is_said_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = call("export", tmp_path / "m.onnx", "--weights", "nowhere.pth", "--verify")
    assert status == 1
    assert err == (
        "fcn-jax: error: writing ONNX files needs onnx and onnxruntime; pip install 'fcn_jax[onnx]'\n"
    )
