"""A checkpoint, pictures and a way to call the command in process. Nothing here reaches the network."""

import contextlib
import io
import traceback
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import fcn_jax
from fcn_jax.cli import main
from fcn_jax.transforms import SemanticSegmentation
from tests.seeded import seeded_state_dict
from weights_converter import write_torch_legacy


class Call(NamedTuple):
    """How a call of the command ended."""

    status: int
    out: str
    err: str


def call(*arguments, entry=main) -> Call:
    """Calls the command. Unlike capsys this also serves fixtures of a module."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = entry([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        except (Exception, KeyboardInterrupt):
            pytest.fail(f"the person would see\n{traceback.format_exc()}")
    assert "Traceback" not in err.getvalue()
    return Call(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cli():
    """Calls `fcn-jax` with these arguments: cli("models") gives (status, out, err)."""
    return call


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """An empty cache, and no way to fill it."""
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")


def write_float32(path, model_name, num_classes):
    """Writes a seeded state_dict as torchvision's own files are."""
    tensors = dict(seeded_state_dict(model_name, num_classes))
    if num_classes is None:
        tensors |= {"fc.weight": np.zeros((1000, 2048)), "fc.bias": np.zeros(1000)}
    write_torch_legacy(
        path, {name: array.astype(np.float32) if array.ndim else array for name, array in tensors.items()}
    )
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """An fcn_resnet50 of 5 classes with random weights, in torch.save's older form."""
    path = write_float32(tmp_path_factory.mktemp("weights") / "seeded.pth", "fcn_resnet50", 5)
    yield path
    path.unlink()  # pytest keeps folders of several runs, and this one is large


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """A resnet50 of ImageNet with random weights."""
    path = write_float32(tmp_path_factory.mktemp("weights") / "resnet50.pth", "resnet50", None)
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def segmenter(checkpoint):
    """What the command should agree with, at --resize 64."""
    return fcn_jax.Segmenter(fcn_jax.fcn_resnet50(weights=checkpoint), SemanticSegmentation(resize_size=64))


@pytest.fixture(scope="session")
def picture():
    """Draws a picture: coarse patches, so that a random network finds more than one class."""

    def draw(width=60, height=48, seed=0):
        values = np.random.RandomState(seed).randint(0, 256, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)

    return draw
