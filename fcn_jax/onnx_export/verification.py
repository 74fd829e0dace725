"""Compares a written file, run by ONNX Runtime, with the model that it was made from."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import onnx
import onnxruntime

from fcn_jax.inference.prepare import Output
from fcn_jax.models.model import SegmentationModel
from fcn_jax.onnx_export.ends import IMAGES, Input, labels_of, output_name
from fcn_jax.onnx_export.errors import OnnxError

SHAPES = ((1, 33, 47), (2, 64, 40))
"""(N, H, W) of the images that are compared: odd, oblong, and a batch."""
BOUND = 1e-4
"""Largest error of a file that is not refused. Sums in another order give 1e-7 to 1e-5."""


class Verification(NamedTuple):
    """How the written file differs from the model, on random images.

    Attributes:
      error: the largest difference between logits, over the largest logit.
      different: number of pixels whose labels differ.
      pixels: number of pixels compared, of all heads.
    """

    error: float
    different: int
    pixels: int

    def __str__(self) -> str:
        equal = self.pixels - self.different
        return (
            f"ONNX Runtime {onnxruntime.__version__}: largest error {self.error:.1e} of the largest logit, "
            f"labels equal at {equal} of {self.pixels} pixels"
        )


def compare(
    path: Path, logits: dict[str, str], model: SegmentationModel, *, input: Input, output: Output
) -> Verification:
    """Compares a file with its model on images of several sizes, and its outputs with its own logits.

    Args:
      path: of the file.
      logits: names of the tensors (N, C, H, W) that hold the logits, by head.
      model: from `float32_copy`.
      input, output: of the file.

    Raises:
      OnnxError: ONNX Runtime cannot run the file, or the error exceeds `BOUND`.
    """
    session = _open(path, logits.values())
    forward = jax.jit(lambda model, images: model(images))
    error, different, pixels = 0.0, 0, 0
    for seed, shape in enumerate(SHAPES):
        images, normalized = _draw(model, input, shape, seed)
        with jax.default_matmul_precision("highest"):
            expected = forward(model, normalized)
        for head, tensor in logits.items():
            wanted = np.asarray(expected[head])
            returned, found = session.run([output_name(output, head), tensor], {IMAGES: images})
            found = np.moveaxis(np.asarray(found), 1, -1)
            largest = np.abs(wanted).max() or 1.0
            error = max(error, float(np.abs(found - wanted).max() / largest))
            labels = [labels_of(each, "logits", model.threshold) for each in (found, wanted)]
            different += int((labels[0] != labels[1]).sum())
            pixels += wanted[..., 0].size
            _check_output(np.asarray(returned), found, output, head, model.threshold)
    if not error <= BOUND:
        raise OnnxError(
            f"the written graph differs from the model: error {error:.1e} of the largest logit, at most "
            f"{BOUND:.0e} is expected",
            hint="this is a bug in fcn_jax or in ONNX Runtime",
        )
    return Verification(error, different, pixels)


def _open(path: Path, tensors: Iterable[str]) -> onnxruntime.InferenceSession:
    """Opens a file with more tensors among its outputs, by a copy beside it, which shares a second file."""
    model = onnx.load(path, load_external_data=False)
    for name in tensors:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        model.graph.output[-1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    handle, copy = tempfile.mkstemp(".onnx", f".{path.stem}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(model.SerializeToString())
        return onnxruntime.InferenceSession(copy, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own kinds
        raise OnnxError(f"ONNX Runtime cannot open the written graph: {error}") from error
    finally:
        os.unlink(copy)


def _draw(
    model: SegmentationModel, kind: Input, shape: tuple[int, int, int], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws what the file takes, and what the model takes."""
    random = np.random.default_rng(seed)
    size = (*shape, model.spec.in_channels)
    if kind == "normalized":
        images = random.standard_normal(size, np.float32)
        return images, images
    assert model.transforms is not None, "see check_input"
    pictures = random.integers(0, 256, size, np.uint8)
    return pictures, np.asarray(model.transforms.normalize(pictures), np.float32)


def _check_output(
    returned: np.ndarray, logits: np.ndarray, output: Output, head: str, threshold: float | None
) -> None:
    """Compares what the file returns with the same computed from its logits (N, H, W, C)."""
    if output == "labels":
        fits = np.array_equal(returned, labels_of(logits, "logits", threshold))
    elif output == "probabilities":
        if threshold is not None:
            logits = np.concatenate([np.zeros_like(logits), logits], -1)  # the sigmoid as a softmax
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        fits = np.allclose(returned, shares if threshold is None else shares[..., 1:], atol=1e-5)
    else:
        fits = np.array_equal(returned, logits)
    if not fits:
        raise OnnxError(
            f"the written graph returns other {output_name(output, head)} than its logits say",
            hint="this is a bug in fcn_jax or in ONNX Runtime",
        )
