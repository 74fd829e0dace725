"""Pillow's limit on pixels, for the readers beside Pillow."""

from PIL import Image

from fcn_jax.images.errors import ImageError

TRUST = "if you trust the file, crop it first or raise {PIL.Image.MAX_IMAGE_PIXELS}"


def check_pixels(width: int, height: int) -> None:
    """Raises ImageError for more pixels than Pillow would read: twice `PIL.Image.MAX_IMAGE_PIXELS`."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise ImageError(
            f"Image size ({width * height} pixels) exceeds limit of {int(2 * limit)} pixels", hint=TRUST
        )
