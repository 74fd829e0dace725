"""Adapts the first convolution of weights for red, green and blue to pictures with other channels.

The rule, for C channels in the order of the files (red, green, blue first):

  mean  the first three keep their kernels, each further one gets their mean; all are multiplied by 3 / C,
        so that the response to channels that are alike stays as large. With C < 3 each channel gets the mean
        times 3 / C.
  zero  the first three keep their kernels, the others get zeros: at first the network sees what it saw
        before.

Weights of Caffe's order (blue, green, red) come into the order of the files on the way.
"""

import dataclasses
from typing import Literal

import numpy as np

from fcn_jax.errors import CheckpointError, SettingError
from weights_converter import Conversion

Adapt = Literal["require", "mean", "zero"]
FIRST = (
    "conv1_1.kernel",
    "stem.conv1.kernel",
    "conv1.kernel",
)  # of VGG16, of a deep stem, of others


def adapted(conversion: Conversion, channels: int, adapt: Adapt, *, bgr: bool) -> Conversion:
    """Returns weights for pictures with `channels` channels.

    Args:
      conversion: of a network or a classifier.
      channels: of the model.
      adapt: the rule, see the module; "require" refuses weights of other channels.
      bgr: whether the weights expect blue, green, red, as Caffe's do.

    Raises:
      CheckpointError: the weights have other channels, and are not of three or are not to be adapted.
      SettingError: the rule is unknown, or cannot be kept.
    """
    if adapt not in ("require", "mean", "zero"):
        raise SettingError(subject="adapt", expected="'require', 'mean' or 'zero'", got=repr(adapt))
    has = conversion.spec.in_channels
    if has == channels:
        return conversion
    if adapt == "require" or has != 3:
        raise CheckpointError(
            expected=f"weights for {channels} channels",
            got=f"weights for {has}",
            path=conversion.path,
            hint='pass {adapt}="mean" or "zero" to adapt the first convolution' if has == 3 else None,
        )
    prefix = "" if conversion.spec.is_classifier else "backbone."
    name = next(f"{prefix}{each}" for each in FIRST if f"{prefix}{each}" in conversion.params)
    kernel = adapt_kernel(conversion.params[name], channels, adapt, bgr=bgr)
    return dataclasses.replace(
        conversion,
        spec=dataclasses.replace(conversion.spec, in_channels=channels),
        params=conversion.params | {name: kernel},
    )


def adapt_kernel(kernel: np.ndarray, channels: int, adapt: Adapt, *, bgr: bool) -> np.ndarray:
    """Adapts a kernel (h, w, 3, out) to (h, w, channels, out), by the rule `adapt`.

    Args:
      bgr: whether its channels are blue, green, red.

    Raises:
      SettingError: "zero" with fewer than three channels.
    """
    if adapt == "zero" and channels < 3:
        raise SettingError(subject="adapt", expected="'mean' for fewer than three channels", got=repr(adapt))
    kernel = kernel[:, :, ::-1] if bgr else kernel
    mean = kernel.mean(2, keepdims=True, dtype=np.float64).astype(kernel.dtype)
    if channels < 3:
        return (np.repeat(mean, channels, 2) * (3 / channels)).astype(kernel.dtype)
    further = np.repeat(mean if adapt == "mean" else np.zeros_like(mean), channels - 3, 2)
    adapted = np.concatenate([kernel, further], 2)
    return (adapted * (3 / channels)).astype(kernel.dtype) if adapt == "mean" else adapted
