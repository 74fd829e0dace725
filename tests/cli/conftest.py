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
from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter import ModelSpec
from weights_converter.tables import paper
from weights_converter.tables.layer import SOURCE


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
    assert "Traceback" not in err.getvalue(), err.getvalue()
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


@pytest.fixture(scope="session")
def port(tmp_path_factory):
    """A narrow fcn8s_vgg16 of 5 classes, random, as the PyTorch port saves it in torch.save's older form."""
    path = tmp_path_factory.mktemp("weights") / "port.pth"
    tensors = seeded_paper_state_dict("fcn8s_vgg16").items()
    write_torch_legacy(path, {name: array.astype(np.float32) for name, array in tensors})
    return path


@pytest.fixture(scope="session")
def checkpoint(port, tmp_path_factory):
    """The same in our format. Its pictures are resized, as torchvision's are."""
    model = fcn_jax.load_model(port)
    model.update_meta(transforms=SemanticSegmentation())
    path = tmp_path_factory.mktemp("weights") / "seeded.safetensors"
    fcn_jax.save_weights(model, path)
    return path


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """A narrow vgg16 of ImageNet, as torchvision's files are."""
    spec = ModelSpec(name="vgg16", features=(4, 6, 8, 10, 12), fc_features=16)
    tensors = {
        layer.name(leaf, SOURCE): np.zeros(layer.leaf_shape(leaf, SOURCE), np.float32)
        for layer in paper.torchvision_layers(spec)
        for leaf in layer.kind.leaves
    }
    tensors |= {"classifier.6.weight": np.zeros((1000, 16), np.float32), "classifier.6.bias": np.zeros(1000)}
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    write_torch_legacy(path, tensors)
    return path


@pytest.fixture(scope="session")
def segmenter(checkpoint):
    """What the command should agree with, at --resize 64."""
    return fcn_jax.Segmenter(fcn_jax.load_model(checkpoint), SemanticSegmentation(resize_size=64))


@pytest.fixture(scope="session")
def picture():
    """Draws a picture: coarse patches, so that a random network finds more than one class."""

    def draw(width=60, height=48, seed=0):
        values = np.random.RandomState(seed).randint(0, 256, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST)

    return draw


@pytest.fixture
def segment(cli, checkpoint, tmp_path, monkeypatch):
    """Calls the command quickly, in an empty folder; gives (status, out, err)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, write="labels"):
        options = ["--weights", checkpoint] if "--weights" not in arguments else []
        options += ["--resize", 64] if "--resize" not in arguments else []
        options += ["--write", write] if write else []
        return cli("segment", *arguments, *options, "--output", "out")

    return call


@pytest.fixture
def draw(picture, tmp_path):
    """Writes pictures: draw("a.png", "x/b.png"), each another one."""

    def draw(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            picture(seed=sum(map(ord, name))).save(tmp_path / name)

    return draw
