"""What every model asks of its input, and says when it is not so."""

import jax
import jax.numpy as jnp


def check_num_classes(num_classes: int) -> None:
    """Raises ValueError unless there is at least one class."""
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes: expected a number of at least 1, got {num_classes!r}")


def check_images(images: jax.Array) -> None:
    """Raises TypeError or ValueError unless images are an array (N, H, W, 3), not empty, of a float dtype."""
    expected = "expected images (N, H, W, 3), float, normalized by weights.transforms()"
    if not hasattr(images, "dtype"):
        got = type(images).__name__
        raise TypeError(f"{expected}; got {got}. For a picture use fcn_jax.Segmenter(model)(picture)")
    shape, dtype = jnp.shape(images), jnp.result_type(images)
    got = f"{expected}; got {dtype} {shape}"
    if len(shape) == 3:
        raise ValueError(f"{got}. For one image add a batch axis: images[None]")
    if len(shape) == 4 and shape[-1] != 3 and shape[1] == 3:
        raise ValueError(f"{got}. That looks channels-first: images.transpose(0, 2, 3, 1)")
    if len(shape) != 4 or shape[-1] != 3:
        raise ValueError(got)
    if 0 in shape:
        raise ValueError(f"{got}, which is empty")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{got}. Pass pictures through the transforms first")
