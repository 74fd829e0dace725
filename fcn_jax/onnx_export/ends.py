"""The two ends of a graph: from images (N, H, W, C) to a map, and from logits to what the file returns."""

from typing import Literal

import numpy as np

from fcn_jax.errors import SettingError
from fcn_jax.inference.labels import logit_of
from fcn_jax.inference.prepare import Output
from fcn_jax.models.model import SegmentationModel
from fcn_jax.onnx_export.graph import Graph, Map
from fcn_jax.transforms import CaffeSegmentation, FitWithin, Preset, SemanticSegmentation

Input = Literal["normalized", "uint8"]
IMAGES = "images"
"""Name of the file's input."""
SIZES = ("batch", "height", "width")


def output_name(output: Output, head: str) -> str:
    """Names an output of the file: "labels", or "aux_labels" for the auxiliary head."""
    return output if head == "out" else f"{head}_{output}"


def check_input(model: SegmentationModel, kind: Input) -> None:
    """Raises SettingError unless the model's preset can be written into the graph, where it is asked for."""
    if kind == "normalized":
        return
    transforms, channels = model.transforms, model.spec.in_channels
    if type(transforms) not in (SemanticSegmentation, CaffeSegmentation, FitWithin) or channels != 3:
        raise SettingError(
            subject="input",
            expected="'normalized', because uint8 needs a model of RGB pictures with a known preset",
            got=f"{kind!r} for a model of {channels} channels with the transforms {transforms}",
        )


def write_input(graph: Graph, model: SegmentationModel, kind: Input) -> tuple[Map, str]:
    """Writes the input, and for "uint8" the preset, but for its resizing.

    Returns:
      The normalized images (N, C, H, W), and the name of their size [H, W].
    """
    images = graph.input(IMAGES, "uint8" if kind == "uint8" else "float32", [*SIZES, model.spec.in_channels])
    size = graph.add("Shape", IMAGES, images, start=1, end=3)
    x = graph.add("Transpose", IMAGES, images, perm=[0, 3, 1, 2])
    if kind == "uint8":
        x = _normalize(graph, graph.add("Cast", IMAGES, x, to=1), model.transforms)
    return Map(x), size


def _normalize(graph: Graph, x: str, preset: Preset | None) -> str:
    """Writes `preset.normalize` for values (N, 3, H, W) of red, green and blue from 0 to 255."""
    path = "transforms"
    if isinstance(preset, CaffeSegmentation):
        bgr = graph.constant(f"{path}.bgr", [2, 1, 0], np.int64)
        x = graph.add("Gather", path, x, bgr, axis=1)
        return graph.add("Sub", path, x, _per_channel(graph, f"{path}.mean", preset.mean))
    assert isinstance(preset, SemanticSegmentation | FitWithin), "see check_input"
    mean, std = np.array(preset.mean), np.array(preset.std)
    x = graph.add("Mul", path, x, _per_channel(graph, f"{path}.scale", 1 / (255 * std)))
    return graph.add("Sub", path, x, _per_channel(graph, f"{path}.shift", mean / std))


def _per_channel(graph: Graph, name: str, numbers) -> str:
    return graph.constant(name, np.reshape(numbers, (3, 1, 1)))


def write_output(graph: Graph, head: str, logits: Map, output: Output, model: SegmentationModel) -> None:
    """Writes a model's logits (N, C, H, W) of a head as an output of the file, classes last."""
    name, threshold = output_name(output, head), model.threshold
    if output == "labels":
        if threshold is None:
            labels = graph.add("ArgMax", name, logits.name, axis=1, keepdims=0)  # the first of equals
        else:
            least = graph.constant(f"{name}.least_logit", logit_of(threshold))
            channel = graph.constant(f"{name}.channel", [1], np.int64)
            reached = graph.add("GreaterOrEqual", name, logits.name, least)
            labels = graph.add("Squeeze", name, reached, channel)
        graph.add("Cast", name, labels, to=2, name=name)
        graph.output(name, "uint8", SIZES)
        return
    x = logits.name
    if output == "probabilities":
        x = graph.add("Softmax", name, x, axis=1) if threshold is None else graph.add("Sigmoid", name, x)
    graph.add("Transpose", name, x, perm=[0, 2, 3, 1], name=name)
    graph.output(name, "float32", [*SIZES, model.spec.num_classes])


def labels_of(values: np.ndarray, output: Output, threshold: float | None) -> np.ndarray:
    """Returns the labels (N, H, W) that follow from what a file returns.

    Args:
      values: labels (N, H, W), or logits or probabilities (N, H, W, C).
      output: which of them.
      threshold: of the foreground's probability, for one logit; None for several.
    """
    if output == "labels":
        return values
    if threshold is None:
        return values.argmax(-1)
    return values[..., 0] >= np.float32(logit_of(threshold) if output == "logits" else threshold)
