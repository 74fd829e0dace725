"""The whole network against torchvision's, with random weights and random batch-norm statistics.

The figures in the comments are the largest seen, on a CPU with jax 0.10.2 and torch 2.13.0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models import FCN, FCNHead, ResNet
from fcn_jax.models.arrays import fill_model, named_variables
from tests.parity.sides import from_torch, jax_fcn, relative_error, to_torch, torch, torch_fcn
from tests.parity.torch_reference import torchvision
from tests.seeded import seeded_images
from weights_converter import ModelSpec

VARIANTS = ["fcn_resnet50", "fcn_resnet101"]
SIZES = [(2, 33, 47), (3, 8, 9), (1, 1, 1), (2, 1, 40), (1, 16, 24)]


def forward(model, images):
    return jax.jit(lambda model, images: model(images))(model, images)


def short_reference() -> torch.nn.Module:
    """Builds torchvision's network with a random ResNet of six blocks, in float64."""
    torch.manual_seed(0)
    backbone = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.Bottleneck,
        [1, 1, 2, 2],
        replace_stride_with_dilation=[False, True, True],
    )
    backbone = torchvision.models._utils.IntermediateLayerGetter(backbone, {"layer4": "out", "layer3": "aux"})
    head = torchvision.models.segmentation.fcn.FCNHead
    model = torchvision.models.segmentation.FCN(backbone, head(2048, 5), head(1024, 5)).double().eval()
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            positive = name.endswith("running_var") or ".bn3.weight" in name
            tensor.uniform_(0.2, 0.6) if positive else tensor.uniform_(-0.5, 1.5)
    return model


def short_model(reference: torch.nn.Module) -> FCN:
    """Builds our network with the same weights; the names are mapped here by hand."""

    def build() -> FCN:
        settings = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        heads = (FCNHead(channels, 5, **settings) for channels in (2048, 1024))
        spec = ModelSpec(name="fcn_resnet50", num_classes=5, aux_loss=True)
        return FCN(spec, ResNet((1, 1, 2, 2), **settings), *heads)

    names = {
        "downsample.0": "downsample.conv",
        "downsample.1": "downsample.bn",
        "classifier.0": "classifier.conv",
        "classifier.1": "classifier.bn",
        "classifier.4": "classifier.score",
        "running_mean": "mean",
        "running_var": "var",
    }
    arrays = {}
    for key, tensor in reference.state_dict().items():
        name, array = key, tensor.numpy()
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        leaf = "kernel" if array.ndim == 4 else "scale"
        name = name.replace("weight", leaf)
        if array.ndim:  # a scalar is a counter of batches
            arrays[name] = jnp.asarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)
    model = build()
    assert arrays.keys() == named_variables(model).keys()
    fill_model(model, arrays)
    model.eval()
    return model


@pytest.mark.usefixtures("float64")
def test_the_logits_of_every_size_equal_torchvisions_in_float64():
    """A short network suffices, because it has all kinds of block that depend on the size."""
    reference = short_reference()
    model = short_model(reference)
    for size in SIZES:
        images = seeded_images(*size)
        with torch.no_grad():
            expected = reference(to_torch(images))
        got = forward(model, images)
        assert set(got) == set(expected) == {"out", "aux"}
        for head, logits in expected.items():
            assert got[head].dtype == np.float64
            assert relative_error(got[head], from_torch(logits)) < 1e-12, (size, head)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.usefixtures("float64")
def test_the_logits_equal_torchvisions_in_float64(name):
    images = seeded_images(2, 33, 47)
    with torch.no_grad():
        expected = torch_fcn(name)(to_torch(images))
    got = forward(jax_fcn(name), images)
    assert set(got) == set(expected) == {"out", "aux"}
    for head, logits in expected.items():
        assert got[head].dtype == np.float64
        assert relative_error(got[head], from_torch(logits)) < 1e-12, head  # seen: 3e-15


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_logits_equal_torchvisions_in_float32(name):
    images = seeded_images(1, 97, 130)
    with torch.no_grad():
        expected = torch_fcn(name)(to_torch(images.astype(np.float32)))
    got = forward(jax_fcn(name, dtype=np.float32), images.astype(np.float32))
    for head, logits in expected.items():
        logits = from_torch(logits)
        assert got[head].dtype == np.float32
        assert relative_error(got[head], logits) < 1e-5, head  # seen: 2e-6
        top = np.sort(logits, axis=-1)
        clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(logits).max()
        labels = np.asarray(got[head]).argmax(-1)
        np.testing.assert_array_equal(labels[clear], logits.argmax(-1)[clear])
