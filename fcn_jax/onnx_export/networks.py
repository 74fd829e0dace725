"""Writes whole networks: what each module's `__call__` does, as operators.

A new family adds a function to `LAYERS` for each module class that it has of its own, and one to `NETWORKS`.
Classes are compared exactly: a subclass may compute something else.
"""

from collections.abc import Callable
from typing import Any

from flax import nnx

from fcn_jax.algorithms.gradients import add_rectified_once_both_ways, pool_by_comparison
from fcn_jax.inference.folding import Identity
from fcn_jax.models import alexnet, vgg
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.fcn import FCN
from fcn_jax.models.grid import Grid
from fcn_jax.models.heads import ConcatHead, FCNHead
from fcn_jax.models.mmseg import MMSegFCN
from fcn_jax.models.pooling import max_pool
from fcn_jax.models.resnet import (
    BasicBlock,
    Bottleneck,
    DeepStem,
    Downsample,
    MaxPool,
    ResNet,
    add_rectified,
)
from fcn_jax.models.skip_fcn import SkipFCN
from fcn_jax.onnx_export import layers
from fcn_jax.onnx_export.errors import OnnxError
from fcn_jax.onnx_export.graph import Graph, Map


def write(graph: Graph, path: str, module: Any, x: Map) -> Any:
    """Writes a module by its class.

    Args:
      path: of the module in the model.
      module: in inference form: batch norms folded, dropouts removed.

    Returns:
      A map; for a backbone, maps by name.

    Raises:
      OnnxError: the class is not known, or a setting cannot be written. The message names the layer.
    """
    if type(module) not in LAYERS:
        raise OnnxError(
            subject=path,
            expected=f"one of the layers {', '.join(kind.__name__ for kind in LAYERS)}",
            got=f"{type(module).__module__}.{type(module).__qualname__}",
            hint="ONNX files hold the layers of fcn_jax's own models",
        )
    return LAYERS[type(module)](graph, path, module, x)


def check_network(model: Any) -> Any:
    """Returns a model whose class is in `NETWORKS`.

    Raises:
      OnnxError: it is none of them.
    """
    if type(model) not in NETWORKS:
        raise OnnxError(
            subject="model",
            expected=f"a model of fcn_jax, one of {', '.join(kind.__name__ for kind in NETWORKS)}",
            got=f"{type(model).__module__}.{type(model).__qualname__}",
            hint="`fcn-jax export` writes any model to a file that ends in .zip, for JAX",
        )
    return model


def write_network(graph: Graph, model: Any, images: Map, size: str, *, aux: bool) -> dict[str, Map]:
    """Writes a model from images to logits of their size.

    Args:
      model: passed `check_network`; in inference form.
      images: (N, in_channels, H, W), normalized.
      size: the name of a tensor [H, W].
      aux: write the auxiliary head too.

    Returns:
      Logits by head.

    Raises:
      OnnxError: a layer cannot be written.
    """
    return NETWORKS[type(model)](graph, model, images, size, aux)


def _follow(graph: Graph, path: str, module: Any, x: Map, *names: str) -> Map:
    """Writes a module's layers one after another; "relu" stands for a ReLU."""
    layer = path
    for name in names:
        if name == "relu":
            x = layers.relu(graph, layer, x)
        else:
            layer = f"{path}.{name}" if path else name
            x = write(graph, layer, getattr(module, name), x)
    return x


def _check_function(path: str, function: Any, *known: Any) -> None:
    """Raises OnnxError unless a module's exchangeable function is one of those that compute the same."""
    if function not in known:
        raise OnnxError(subject=path, expected=known[0].__name__, got=repr(function))


def _block(graph: Graph, path: str, block: Bottleneck | BasicBlock, x: Map) -> Map:
    _check_function(f"{path}.add", block.add, add_rectified, add_rectified_once_both_ways)
    shortcut = x
    if block.downsample is not None:
        shortcut = write(graph, f"{path}.downsample", block.downsample, x)
    inner = ("conv1", "bn1", "relu", "conv2", "bn2")
    if isinstance(block, Bottleneck):
        inner += ("relu", "conv3", "bn3")
    x = _follow(graph, path, block, x, *inner)
    return layers.relu(graph, path, layers.add(graph, path, x, shortcut))


def _downsample(graph: Graph, path: str, module: Downsample, x: Map) -> Map:
    return _follow(graph, path, module, x, "conv", "bn")


def _deep_stem(graph: Graph, path: str, stem: DeepStem, x: Map) -> Map:
    names = ("conv1", "bn1", "relu", "conv2", "bn2", "relu", "conv3", "bn3", "relu")
    return _follow(graph, path, stem, x, *names)


def _resnet(graph: Graph, path: str, backbone: ResNet, images: Map) -> dict[str, Map]:
    stem = ("conv1", "bn1", "relu") if backbone.stem is None else ("stem",)
    x = _follow(graph, path, backbone, images, *stem, "maxpool")
    maps = {}
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for number, block in enumerate(getattr(backbone, stage)):
            x = write(graph, f"{path}.{stage}.{number}", block, x)
        maps[stage] = x
    return maps


def _fcn_head(graph: Graph, path: str, head: FCNHead, x: Map) -> Map:
    return _follow(graph, path, head, x, "conv", "bn", "relu", "dropout", "score")


def _concat_head(graph: Graph, path: str, head: ConcatHead, x: Map) -> Map:
    inner = _follow(graph, path, head, x, "conv1", "bn1", "relu", "conv2", "bn2", "relu")
    both = Map(graph.add("Concat", path, x.name, inner.name, axis=1), x.grid)
    return _follow(graph, path, head, both, "conv_cat", "bn_cat", "relu", "dropout", "score")


def _vgg16(graph: Graph, path: str, backbone: vgg.VGG16, images: Map) -> dict[str, Map]:
    _check_function(f"{path}.first_blocks", backbone.first_blocks, vgg.first_blocks)
    _check_function(f"{path}.pool", backbone.pool, max_pool, pool_by_comparison)
    x, maps = images, {}
    for number, names in enumerate(vgg.BLOCKS, 1):
        for name in names:
            x = _follow(graph, path, backbone, x, name, "relu")
        x = maps[f"pool{number}"] = layers.max_pool(graph, f"{path}.pool{number}", x, 2, 2, round_up=True)
    maps["fc7"] = _follow(graph, path, backbone, x, "fc6", "relu", "dropout", "fc7", "relu", "dropout")
    return maps


def _alexnet(graph: Graph, path: str, backbone: alexnet.AlexNet, images: Map) -> dict[str, Map]:
    _check_function(f"{path}.first_blocks", backbone.first_blocks, alexnet.first_blocks)
    x = images
    for number in (1, 2):
        x = _follow(graph, path, backbone, x, f"conv{number}", "relu")
        x = layers.max_pool(graph, f"{path}.pool{number}", x, 3, 2, round_up=True)
        x = layers.response_norm(graph, f"{path}.norm{number}", x)
    x = _follow(graph, path, backbone, x, "conv3", "relu", "conv4", "relu", "conv5", "relu")
    x = layers.max_pool(graph, f"{path}.pool5", x, 3, 2, round_up=True)
    return {"fc7": _follow(graph, path, backbone, x, "fc6", "relu", "dropout", "fc7", "relu", "dropout")}


def _fcn(graph: Graph, model: FCN, images: Map, size: str, aux: bool) -> dict[str, Map]:
    maps = write(graph, "backbone", model.backbone, images)
    coarse = {"out": write(graph, "classifier", model.classifier, maps["layer4"])}
    if aux:
        coarse["aux"] = write(graph, "aux_classifier", model.aux_classifier, maps["layer3"])
    aligned = model.spec.align_corners
    return {
        head: layers.resize(graph, f"upsample.{head}", x, size, align_corners=aligned)
        for head, x in coarse.items()
    }


def _skip_fcn(graph: Graph, model: SkipFCN, images: Map, size: str, aux: bool) -> dict[str, Map]:
    maps = write(graph, "backbone", model.backbone, images)
    coarse = _follow(graph, "", model, maps["fc7"], "score_fr")
    for skip in model.variant.skips:
        path = skip.score
        coarse = _follow(graph, "", model, coarse, skip.upsampling.name)
        finer = layers.scale(graph, path, maps[skip.source], skip.scale)
        finer = _follow(graph, "", model, finer, path)
        finer = layers.crop(graph, path, finer, coarse.grid, layers.size_of(graph, path, coarse))
        coarse = layers.add(graph, path, finer, coarse)
    last = model.variant.last.name
    return {"out": layers.crop(graph, last, _follow(graph, "", model, coarse, last), Grid(), size)}


LAYERS: dict[type, Callable[[Graph, str, Any, Map], Any]] = {
    nnx.Conv: layers.conv,
    Deconvolution: layers.deconv,
    Identity: lambda graph, path, module, x: x,
    MaxPool: lambda graph, path, module, x: layers.max_pool(graph, path, x, 3, 2, padding=1),
    Downsample: _downsample,
    Bottleneck: _block,
    BasicBlock: _block,
    DeepStem: _deep_stem,
    ResNet: _resnet,
    FCNHead: _fcn_head,
    ConcatHead: _concat_head,
    vgg.VGG16: _vgg16,
    alexnet.AlexNet: _alexnet,
}
"""How the modules of each class are written."""

NETWORKS: dict[type, Callable[[Graph, Any, Map, str, bool], dict[str, Map]]] = {
    FCN: _fcn,
    MMSegFCN: _fcn,
    SkipFCN: _skip_fcn,
}
"""How the models of each class are written."""
