"""The arguments that name a model: its weights, where those are, and in what it computes."""

import argparse
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from fcn_jax import list_models, load_model
from fcn_jax.weights import fetch, get_model_weights


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --weights, --model, --dtype and --offline."""
    parser.add_argument(
        "--weights",
        default="DEFAULT",
        metavar="NAME|PATH",
        help="published weights by name (DEFAULT), downloaded once; or a checkpoint: "
        ".pth, .pt, .caffemodel or .safetensors",
    )
    parser.add_argument(
        "--model",
        choices=list_models(),
        metavar="NAME",
        help=f"one of {', '.join(list_models())}; if not given, what the weights are of",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what the model computes in (float32); bfloat16 is for GPUs and TPUs",
    )
    parser.add_argument("--offline", action="store_true", help="never download (as FCN_JAX_OFFLINE=1)")


def load_chosen(options: argparse.Namespace) -> tuple[nnx.Module, Path]:
    """Builds the model that the arguments name; also gives the path of its checkpoint."""
    path = find_weights(options.weights, options.model, options.offline)
    dtype = None if options.dtype == "float32" else jnp.bfloat16
    return load_model(path, model_name=options.model, dtype=dtype), path


def find_weights(weights: str, model: str | None, offline: bool) -> Path:
    """Finds the checkpoint: a file, or published weights, which are downloaded if need be.

    A bare name such as DEFAULT is of the model asked for, or of the first in the list.
    """
    if Path(weights).exists():
        return Path(weights)
    published = [get_model_weights(name) for name in ([model] if model else list_models())]
    family, _, member = weights.rpartition(".")
    for enum in published:
        if family in ("", enum.__name__) and member in enum.__members__:
            return fetch(enum[member], offline=offline or None)
    names = ", ".join(f"{enum.__name__}.{member}" for enum in published for member in enum.__members__)
    raise ValueError(
        f"--weights: expected a checkpoint file, or DEFAULT, or another name of published weights ({names}); "
        f"got {weights!r}, and there is no such file and no such name"
    )
