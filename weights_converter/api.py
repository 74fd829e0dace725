"""The two conversions, array by array, for users of NumPy."""

from collections.abc import Mapping

import numpy as np

from weights_converter import engine
from weights_converter.errors import CheckpointError


def convert(state_dict: Mapping[str, np.ndarray]) -> tuple[str, dict[str, np.ndarray]]:
    """Converts a PyTorch state_dict to the names and layouts of fcn_jax.

    Args:
      state_dict: {name: array} of torchvision's fcn_resnet50 or fcn_resnet101, or of its resnet50 or
        resnet101.

    Returns:
      The model's name, and {path: array}: kernels HWIO, the arrays views of those that came.

    Raises:
      CheckpointError: the architecture is unknown, or a tensor is missing, unexpected or of another shape.
    """
    conversion = engine.to_ours(state_dict)
    return conversion.architecture.model_name, conversion.params


def export(params: Mapping[str, np.ndarray], model_name: str) -> dict[str, np.ndarray]:
    """Converts arrays in the names and layouts of fcn_jax back to a PyTorch state_dict.

    Args:
      params: {path: array}, as `convert` gives them.
      model_name: whose arrays they are, such as "fcn_resnet50".

    Returns:
      {name: array} in torchvision's order; `num_batches_tracked` counters are 0.

    Raises:
      CheckpointError: they are another model's, or an array is missing, unexpected or of another shape.
    """
    found = engine.recognize(params)[0].model_name
    if found != model_name:
        raise CheckpointError(f"expected the arrays of {model_name}, got those of {found}")
    return engine.to_source(params)
