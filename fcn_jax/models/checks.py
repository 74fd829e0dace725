"""Checks of the input that every model shares."""

import jax
import jax.numpy as jnp

from fcn_jax.errors import ArrayError, WrongTypeError


def image_size(images: jax.Array) -> tuple[int, int]:
    """Returns (H, W) of images or maps (N, H, W, C)."""
    _, height, width, _ = images.shape
    return height, width


def check_images(images: jax.Array, in_channels: int = 3) -> None:
    """Checks that images are a non-empty float array (N, H, W, in_channels).

    Raises:
      WrongTypeError: `images` is not an array.
      ArrayError: it has another shape or dtype.
    """
    expected = f"images (N, H, W, {in_channels}), float, normalized by weights.transforms()"
    if not hasattr(images, "dtype"):
        hint = "for a picture use fcn_jax.Segmenter(model)(picture)"
        raise WrongTypeError(expected=expected, got=type(images).__name__, hint=hint)
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    hint = None
    if len(shape) == 3:
        hint = "for one image add a batch axis: images[None]"
    elif len(shape) == 4 and shape[-1] != in_channels and shape[1] == in_channels:
        hint = "that looks channels-first: images.transpose(0, 2, 3, 1)"
    elif len(shape) == 4 and shape[-1] == in_channels and 0 not in shape:
        if jnp.issubdtype(dtype, jnp.floating):
            return
        hint = "pass pictures through the transforms first"
    empty = ", which is empty" if 0 in shape else ""
    raise ArrayError(expected=expected, got=f"{dtype} {shape}{empty}", hint=hint)
