"""The two conversions on NumPy arrays: into our names and layouts, and back."""

from collections.abc import Mapping

import numpy as np

from weights_converter.conversion import to_source
from weights_converter.errors import CheckpointError
from weights_converter.model_file import read_weights
from weights_converter.recognition import recognize
from weights_converter.tables.layer import SOURCE


def convert(
    state_dict: Mapping[str, np.ndarray], model_name: str | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """Converts a PyTorch state_dict, or a Caffe model's blobs, to the names and layouts of fcn_jax.

    Args:
      state_dict: {name: array} of torchvision's fcn_resnet50 or fcn_resnet101, a network of the FCN paper,
        mmsegmentation's FCN, or an ImageNet classifier for a backbone.
      model_name: the network, where the tensors do not show it: "fcn8s_atonce_vgg16" in PyTorch's names,
        which looks like "fcn8s_vgg16"; "fcn_r50_d8" or "fcn_r50_d6" of mmsegmentation.

    Returns:
      The model's name, and {path: array}: kernels are HWIO, arrays are views of the given ones.

    Raises:
      CheckpointError: the tensors belong to no known network or not to `model_name`; or a tensor is missing,
        is unexpected or has another shape.
    """
    # The name and the arrays do not depend on align_corners.
    conversion = read_weights(state_dict).for_model(model_name).settled(align_corners=False)
    return conversion.spec.name, conversion.params


def export(params: Mapping[str, np.ndarray], model_name: str) -> dict[str, np.ndarray]:
    """Converts arrays in the names and layouts of fcn_jax back to a PyTorch state_dict.

    Args:
      params: {path: array}, as `convert` returns them.
      model_name: the network, such as "fcn_resnet50".

    Returns:
      {name: array} in torchvision's order, or the PyTorch port's; `num_batches_tracked` counters are 0.

    Raises:
      CheckpointError: the arrays belong to another network; or one is missing, is unexpected or has another
        shape.
    """
    found = recognize(params)
    if found.side == SOURCE:
        raise CheckpointError("expected arrays in the names of fcn_jax, got a state_dict in PyTorch's")
    twins = [name for name, twin in found.family.twins.items() if twin == found.spec.name]
    if model_name not in (found.spec.name, *twins):
        raise CheckpointError(expected=f"the arrays of {model_name}", got=f"those of {found.spec.name}")
    return to_source(params, found.spec)
