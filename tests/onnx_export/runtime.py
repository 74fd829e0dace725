"""Runs written files in ONNX Runtime, and what the models compute of the same images."""

import functools

import jax
import numpy as np
import pytest

from fcn_jax.inference.prepare import inference_function
from tests.inference.drawn_models import drawn_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIZES = ((1, 1), (33, 47), (64, 40), (23, 90))
"""Tiny, odd, even, oblong."""


def session(path):
    """Opens a file for the CPU, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, images):
    """Returns {output: array} of a file for one batch."""
    opened = session(path) if not hasattr(path, "run") else path
    names = [each.name for each in opened.get_outputs()]
    return dict(zip(names, opened.run(names, {"images": images}), strict=True))


@functools.cache
def computed(name: str):
    """Draws two images of each size; returns [(images (2, h, w, 3), {head: logits})], all by one program."""
    random = np.random.RandomState(0)
    drawn = [random.standard_normal((2, *size, 3)).astype(np.float32) for size in SIZES]
    height, width = np.max(SIZES, 0)
    buffer = np.zeros((2 * len(SIZES), height, width, 3), np.float32)
    for place, images in enumerate(drawn):
        buffer[2 * place : 2 * place + 2, : images.shape[1], : images.shape[2]] = images
    # "gpu": plain convolutions; Winograd, the CPU's way, rounds about as much as the whole difference.
    arrays, function = inference_function(drawn_model(name, "float32"), aux=True, platform="gpu")
    logits = jax.jit(function)(arrays, buffer, np.repeat(np.array(SIZES, np.int32), 2, 0))
    logits = {head: np.asarray(values) for head, values in logits.items()}
    return [
        (
            images,
            {
                head: values[2 * place : 2 * place + 2, : images.shape[1], : images.shape[2]]
                for head, values in logits.items()
            },
        )
        for place, images in enumerate(drawn)
    ]


def clear(logits, margin=1e-4):
    """Where the best class leads by more than a margin, relative to the largest logit."""
    top = np.sort(logits, -1)
    return top[..., -1] - top[..., -2] > margin * np.abs(logits).max()
