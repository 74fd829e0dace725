"""torchvision's network with a ResNet of six blocks, and ours: all kinds of block, fewer of each."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.models import FCN, FCNHead, ResNet
from fcn_jax.models.arrays import fill_model, named_variables
from tests.models.drawn import drawn
from tests.parity.torch_reference import torch, torchvision
from weights_converter import ModelSpec


def short_torch_fcn() -> torch.nn.Module:
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


def short_arrays(reference: torch.nn.Module) -> dict[str, np.ndarray]:
    """Returns a copy of its tensors by our names, which are mapped here by hand."""
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
        name = name.replace("weight", "kernel" if array.ndim == 4 else "scale")
        if array.ndim:  # a scalar is a counter of batches
            arrays[name] = np.array(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array)
    return arrays


def short_fcn(reference: torch.nn.Module) -> FCN:
    """Builds our network with the same weights, in evaluation mode."""

    def build() -> FCN:
        settings = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        heads = (FCNHead(channels, 5, **settings) for channels in (2048, 1024))
        spec = ModelSpec(name="fcn_resnet50", num_classes=5, aux_loss=True)
        return FCN(spec, ResNet((1, 1, 2, 2), **settings), *heads)

    arrays = {name: jnp.asarray(array) for name, array in short_arrays(reference).items()}
    model = drawn(build)  # quicker than to let JAX draw what is replaced at once
    assert arrays.keys() == named_variables(model).keys()
    fill_model(model, arrays)
    return model
