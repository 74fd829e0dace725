"""The models by name, with or without weights."""

import difflib
from collections.abc import Callable
from typing import Any

from flax import nnx

from fcn_jax.checkpoints import Source, read_weights
from fcn_jax.zoo.paper import fcn8s_atonce_vgg16, fcn8s_vgg16, fcn16s_vgg16, fcn32s_alexnet, fcn32s_vgg16
from fcn_jax.zoo.torchvision import fcn_resnet50, fcn_resnet101
from weights_converter import CheckpointError
from weights_converter.engine import describe

BUILDERS: dict[str, Callable[..., nnx.Module]] = {
    builder.__name__: builder
    for builder in (
        fcn_resnet50,
        fcn_resnet101,
        fcn32s_vgg16,
        fcn16s_vgg16,
        fcn8s_vgg16,
        fcn8s_atonce_vgg16,
        fcn32s_alexnet,
    )
}


def list_models() -> list[str]:
    """Lists the names that `get_model` knows."""
    return list(BUILDERS)


def get_model(name: str, **config: Any) -> nnx.Module:
    """Builds a model by its name; `config` goes to the builder.

    Raises:
      ValueError: no model has this name; the message lists those that exist.
    """
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a model's name, one of {', '.join(BUILDERS)}; got {name!r}{hint}")
    return BUILDERS[name](**config)


def load_model(path: Source, *, model_name: str | None = None, **config: Any) -> nnx.Module:
    """Builds the model that a checkpoint is of, filled with it; `config` goes to the builder.

    Args:
      path: what the builders take as `weights`, but for names of published weights.
      model_name: where the file does not tell: "fcn8s_atonce_vgg16" for the PyTorch port's file.

    Raises:
      CheckpointError: the file cannot be read, is of another model than `model_name`, or of a classifier.
    """
    conversion = read_weights(path, model_name=model_name)
    if conversion.architecture.num_classes is None:
        raise CheckpointError(
            f"expected weights of a model that segments, one of {', '.join(BUILDERS)}; "
            f"got {describe(conversion.architecture)}",
            conversion.path,
        )
    if conversion.fresh:
        raise CheckpointError(
            f"holds only a start for the training of {model_name}, without {', '.join(conversion.fresh)}; "
            f"leave the model's name out to use it as it is, or train fcn_jax.{model_name}(weights=...)",
            conversion.path,
        )
    return get_model(conversion.architecture.model_name, weights=conversion, **config)


__all__ = [
    "BUILDERS",
    "fcn8s_atonce_vgg16",
    "fcn8s_vgg16",
    "fcn16s_vgg16",
    "fcn32s_alexnet",
    "fcn32s_vgg16",
    "fcn_resnet50",
    "fcn_resnet101",
    "get_model",
    "list_models",
    "load_model",
]
