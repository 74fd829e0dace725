"""The arguments that choose a model, its weights and its dtype."""

import argparse
import os
from pathlib import Path

import jax.numpy as jnp

from fcn_jax.errors import SettingError
from fcn_jax.models.model import SegmentationModel
from fcn_jax.weights import fetch, get_model_weights
from fcn_jax.weights.hub import fetch_from_hub, is_hub_name
from fcn_jax.zoo import list_models, load_model

CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".caffemodel")


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --weights, --model, --align-corners, --key, --not-strict, --dtype and --offline."""
    parser.add_argument(
        "--weights",
        default="DEFAULT",
        metavar="NAME|PATH|hf://USER/REPO",
        help="published weights by name (DEFAULT), downloaded once; or a checkpoint: "
        ".pth, .pt, .caffemodel or .safetensors, also on the Hugging Face Hub",
    )
    parser.add_argument(
        "--model",
        choices=list_models(),
        metavar="NAME",
        help=f"one of {', '.join(list_models())}; by default the model that the weights belong to",
    )
    add_align_corners_argument(parser)
    add_reading_arguments(parser)
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="the dtype that the model computes in (float32); bfloat16 is for GPUs and TPUs",
    )
    parser.add_argument("--offline", action="store_true", help="never download (like FCN_JAX_OFFLINE=1)")


def add_align_corners_argument(parser: argparse.ArgumentParser) -> None:
    """Declares --align-corners."""
    parser.add_argument(
        "--align-corners",
        choices=("true", "false"),
        help="how logits are upsampled, where a file of mmsegmentation does not say it",
    )


def chosen_align_corners(options: argparse.Namespace) -> bool | None:
    """Returns the choice of --align-corners; None without it."""
    return None if options.align_corners is None else options.align_corners == "true"


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --key and --not-strict."""
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="where the network is in the checkpoint, if there are several: model_ema, or state_dict.student",
    )
    parser.add_argument(
        "--not-strict",
        action="store_true",
        help="leave out tensors that the network has no place for; give initial values to what is missing",
    )


def load_chosen(options: argparse.Namespace) -> tuple[SegmentationModel, Path]:
    """Builds the chosen model; also returns the path of its checkpoint."""
    path = find_weights(options.weights, options.model, options.offline)
    dtype = None if options.dtype == "float32" else jnp.bfloat16
    model = load_model(
        path,
        model_name=options.model,
        align_corners=chosen_align_corners(options),
        key=options.key,
        strict=not options.not_strict,
        aux="drop",  # only training needs it
        dtype=dtype,
    )
    return model, path


def find_weights(weights: str, model: str | None, offline: bool) -> Path:
    """Finds the checkpoint: a file, or published weights, which are downloaded if necessary.

    A bare name such as DEFAULT means weights of `model`, or of the first model in the list.
    """
    if Path(weights).exists():
        return Path(weights)
    if is_hub_name(weights):
        return fetch_from_hub(weights, offline=offline or None)
    published = [get_model_weights(name) for name in ([model] if model else list_models())]
    family, _, member = weights.rpartition(".")
    for enum in published:
        if family in ("", enum.__name__) and member in enum.__members__:
            return fetch(enum[member], offline=offline or None)
    if os.path.basename(weights) != weights or Path(weights).suffix in CHECKPOINT_SUFFIXES:
        raise SettingError("there is no such checkpoint file", weights, subject="--weights")
    names = ", ".join(f"{enum.__name__}.{member}" for enum in published for member in enum.__members__)
    raise SettingError(
        subject="--weights",
        expected=f"a checkpoint file, or DEFAULT, or another name of published weights ({names})",
        got=repr(weights),
        hint="there is no such file and no such name",
    )
