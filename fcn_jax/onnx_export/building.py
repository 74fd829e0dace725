"""Makes the whole ONNX model in memory: graph, opset and metadata."""

import dataclasses
import json
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import onnx
from flax import nnx
from onnx import helper

from fcn_jax.inference.folding import drop_dropouts_and_initializers, fold_batch_norms
from fcn_jax.inference.prepare import Output
from fcn_jax.models.layers import BatchNorm, Normalized
from fcn_jax.models.model import SegmentationModel
from fcn_jax.onnx_export.ends import Input, write_input, write_output
from fcn_jax.onnx_export.errors import OnnxError
from fcn_jax.onnx_export.graph import IR_VERSION, OPSET, Graph
from fcn_jax.onnx_export.networks import write_network

FORMAT = "fcn_jax onnx 1"


class Built(NamedTuple):
    """An ONNX model in memory.

    Attributes:
      proto: the model.
      logits: names of the tensors that hold the logits (N, C, H, W), by head.
    """

    proto: onnx.ModelProto
    logits: dict[str, str]


def float32_copy(model: SegmentationModel, *, aux: bool) -> SegmentationModel:
    """Copies a model in evaluation mode, with float32 weights and computation, without dropouts.

    Args:
      aux: keep the auxiliary head.
    """
    copy = nnx.clone(model)
    copy.eval()
    if not aux:
        copy.drop_aux()
    drop_dropouts_and_initializers(copy)
    for _, node in nnx.iter_graph(copy):
        if isinstance(node, nnx.Module) and getattr(node, "dtype", None) is not None:
            vars(node)["dtype"] = None  # that of the weights and the images
        elif isinstance(node, nnx.Variable) and not isinstance(node, nnx.RngState):
            node.set_value(node[...].astype("float32"))
    return copy


def build(model: SegmentationModel, *, input: Input, output: Output, aux: bool) -> Built:
    """Writes a model as ONNX.

    Args:
      model: from `float32_copy`; it does not change.
      input, output, aux: see `export_onnx`.

    Raises:
      OnnxError: a layer cannot be written.
    """
    model = nnx.clone(model)
    _check_batch_norms(model)
    fold_batch_norms(model)
    graph = Graph()
    images, size = write_input(graph, model, input)
    heads = write_network(graph, model, images, size, aux=aux)
    for head, logits in heads.items():
        write_output(graph, head, logits, output, model)
    proto = helper.make_model(
        graph.to_proto(model.spec.name),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fcn_jax",
        producer_version=_version(),
        doc_string=f"{model.spec}: {input} images (N, H, W, C) of any size to {output}",
    )
    helper.set_model_props(proto, _metadata(model, input, output))
    return Built(proto, {head: logits.name for head, logits in heads.items()})


def _metadata(model: SegmentationModel, input: Input, output: Output) -> dict[str, str]:
    categories = model.meta.names(model.spec.num_classes)
    meta = dataclasses.replace(model.meta, threshold=model.threshold)
    return meta.to_metadata() | {
        "format": FORMAT,
        "spec": model.spec.to_json(),
        "categories": json.dumps(list(categories)),
        "input": input,
        "output": output,
    }


def _check_batch_norms(model: SegmentationModel) -> None:
    """Raises OnnxError if a layer that should be folded is none of ours."""
    for path, module in nnx.iter_modules(model):
        if not isinstance(module, Normalized):
            continue
        for norm, conv in module.batch_norms.items():
            if getattr(module, norm, module) is getattr(module, conv, module) is None:
                continue  # a ResNet with a deep stem has none of its own
            for name, kind in ((conv, nnx.Conv), (norm, BatchNorm)):
                found = type(getattr(module, name, None))
                if found is not kind:
                    raise OnnxError(
                        subject=".".join(map(str, (*path, name))),
                        expected=kind.__name__,
                        got=f"{found.__module__}.{found.__qualname__}",
                        hint="ONNX files hold the layers of fcn_jax's own models",
                    )


def _version() -> str:
    try:
        return version("fcn_jax")
    except PackageNotFoundError:  # run from its folder without an installation
        return "unknown"
