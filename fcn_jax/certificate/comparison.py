"""Measures the difference between PyTorch's function and ours, on stated inputs, in float64."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.zoo import MODELS
from fcn_jax.zoo.build import build_filled
from weights_converter import Conversion
from weights_converter.conversion import to_source

BOUND = 1e-12
"""Largest absolute difference over the largest absolute logit; rounding alone stays far below."""
INPUTS = ((2, 33, 47), (1, 65, 40))  # N, H, W: odd and oblong, which shows what round sizes hide


def compare(read: Conversion, made: Conversion) -> dict[str, Any]:
    """Compares the two files of a conversion, one through PyTorch and one through this package.

    Returns:
      {"done": False, "why": text}; or {"done": True, "against": text, "dtype": "float64", "bound", "inputs":
      [{"shape", "seed", "errors": {head: number}}], "same": whether all are within the bound}. Inputs are
      `numpy.random.default_rng(seed).standard_normal(shape)`.
    """
    foreign = next((each for each in (read, made) if each.counters is not None), None)
    if foreign is None:
        return _not_done("neither file has the names of PyTorch or Caffe")
    if foreign.spec.is_classifier:
        return _not_done("an ImageNet classifier is read for its backbone, which has no logits")
    try:
        from fcn_jax.certificate.torch_side import torch_side
    except ImportError as error:
        return _not_done(f"PyTorch is not installed ({error})")
    ours = made if foreign is read else read
    # Back in the source's names and layouts, these are the file's own numbers, whatever the table says.
    side = torch_side(foreign.spec, to_source(foreign.params, foreign.spec, foreign.counters))
    if side is None:
        return _not_done(f"PyTorch has no {foreign.spec.name} here")
    with jax.enable_x64(True):
        model = build_filled(MODELS[ours.spec.name], ours, param_dtype=jnp.float64)
        run = nnx.jit(lambda model, images: model(images))
        inputs = []
        for seed, size in enumerate(INPUTS):
            shape = (*size, ours.spec.in_channels)
            images = np.random.default_rng(seed).standard_normal(shape)
            expected, got = side.logits(images), run(model, jnp.asarray(images))
            errors = {head: _error(np.asarray(got[head]), logits) for head, logits in expected.items()}
            inputs.append({"shape": list(shape), "seed": seed, "errors": errors})
    same = all(error <= BOUND for each in inputs for error in each["errors"].values())
    return {
        "done": True,
        "against": side.description,
        "dtype": "float64",
        "bound": BOUND,
        "inputs": inputs,
        "same": same,
    }


def _error(got: np.ndarray, expected: np.ndarray) -> float:
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    return error if math.isfinite(error) else math.inf


def _not_done(why: str) -> dict[str, Any]:
    return {"done": False, "why": why}
