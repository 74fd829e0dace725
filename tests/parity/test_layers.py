"""Each layer against torch: the first failing test shows which layer is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models.arrays import fill_model, named_variables
from fcn_jax.models.heads import FCNHead
from fcn_jax.models.layers import BatchNorm, conv
from fcn_jax.models.resnet import Bottleneck
from fcn_jax.models.upsampling import resize_bilinear
from tests.parity.sides import from_torch, relative_error, to_torch, torch
from tests.parity.torch_reference import torchvision
from weights_converter.tables.layer import BATCH_NORM, CONV, CONV_BIAS, Kind

BOUND = 1e-12  # seen: 3e-15

pytestmark = pytest.mark.usefixtures("float64")


def randomize(module: torch.nn.Module) -> torch.nn.Module:
    """Sets random float64 parameters and statistics in a torch module; variances are positive."""
    random = np.random.RandomState(0)
    for name, tensor in module.double().state_dict().items():
        if tensor.dtype == torch.float64:
            low = 0.5 if name.endswith("running_var") else -1.0
            tensor.copy_(torch.from_numpy(random.uniform(low, 1.5, tuple(tensor.shape))))
    return module.eval()


def copy(ours: nnx.Module, theirs: torch.nn.Module, rows: list[tuple[str, str, Kind]]) -> None:
    """Copies tensors from torch by rows of (torch submodule, our module, kind); "" is the module itself."""
    arrays, tensors = {}, theirs.state_dict()
    for source, name, kind in rows:
        for leaf in kind.leaves:
            array = tensors[f"{source}.{leaf.source}".lstrip(".")].numpy()
            arrays[f"{name}.{leaf.ours}".lstrip(".")] = jnp.asarray(array.transpose(leaf.axes))
    assert arrays.keys() == named_variables(ours).keys()
    fill_model(ours, arrays)
    ours.eval()


def maps(*shape: int) -> np.ndarray:
    return np.random.RandomState(1).standard_normal(shape)


@pytest.mark.parametrize("size", [(9, 12), (1, 1), (8, 7)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(7, 2, 3, 1), (3, 2, 1, 1), (3, 1, 2, 2), (3, 1, 4, 4), (1, 2, 0, 1)],
)
def test_convolution(kernel, stride, padding, dilation, size):
    reference = randomize(torch.nn.Conv2d(3, 4, kernel, stride, padding, dilation, bias=True))
    layer = conv(
        3,
        4,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        bias_init=jax.nn.initializers.zeros,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    copy(layer, reference, [("", "", CONV_BIAS)])
    x = maps(2, *size, 3)
    assert relative_error(layer(jnp.asarray(x)), from_torch(reference(to_torch(x)))) < BOUND


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(training):
    reference = randomize(torch.nn.BatchNorm2d(5)).train(training)
    layer = BatchNorm(5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    copy(layer, reference, [("", "", BATCH_NORM)])
    layer.train() if training else layer.eval()
    x = maps(2, 3, 4, 5)
    assert relative_error(layer(jnp.asarray(x)), from_torch(reference(to_torch(x)))) < BOUND
    assert relative_error(layer.mean[...], reference.running_mean.numpy()) < BOUND
    assert relative_error(layer.var[...], reference.running_var.numpy()) < BOUND


def test_padding_is_never_the_maximum():
    x = maps(2, 9, 12, 3) - 10  # all below zero: a zero in the padding would show
    ours = nnx.max_pool(jnp.asarray(x), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(ours, from_torch(torch.nn.functional.max_pool2d(to_torch(x), 3, 2, 1)))


@pytest.mark.parametrize(
    ("stride", "dilation", "project"),
    [(1, 1, True), (2, 1, True), (1, 1, False), (1, 2, True), (1, 4, False)],
)
def test_bottleneck(stride, dilation, project):
    channels = 6 if project else 8
    downsample = None
    if project:
        downsample = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 8, 1, stride, bias=False), torch.nn.BatchNorm2d(8)
        )
    reference = randomize(
        torchvision.models.resnet.Bottleneck(channels, 2, stride, downsample, dilation=dilation)
    )
    block = Bottleneck(
        channels,
        2,
        stride=stride,
        dilation=dilation,
        project=project,
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )
    rows = [(f"conv{i}", f"conv{i}", CONV) for i in (1, 2, 3)] + [
        (f"bn{i}", f"bn{i}", BATCH_NORM) for i in (1, 2, 3)
    ]
    if project:
        rows += [("downsample.0", "downsample.conv", CONV), ("downsample.1", "downsample.bn", BATCH_NORM)]
    copy(block, reference, rows)
    x = maps(2, 9, 12, channels)
    assert relative_error(block(jnp.asarray(x)), from_torch(reference(to_torch(x)))) < BOUND


def test_head():
    reference = randomize(torchvision.models.segmentation.fcn.FCNHead(16, 5))
    head = FCNHead(16, 5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    copy(head, reference, [("0", "conv", CONV), ("1", "bn", BATCH_NORM), ("4", "score", CONV_BIAS)])
    x = maps(2, 9, 12, 16)
    assert relative_error(head(jnp.asarray(x)), from_torch(reference(to_torch(x)))) < BOUND


@pytest.mark.parametrize("size", [(33, 47), (5, 6), (3, 4), (1, 1), (2, 91)])
def test_bilinear_resizing(size):
    x = maps(2, 5, 6, 3)
    expected = torch.nn.functional.interpolate(to_torch(x), size=size, mode="bilinear", align_corners=False)
    assert relative_error(resize_bilinear(jnp.asarray(x), size), from_torch(expected)) < BOUND
