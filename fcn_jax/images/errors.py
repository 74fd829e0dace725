"""The error of a picture, and the remarks on pictures that are read by a rule."""

import logging

from fcn_jax.errors import FCNError

logger = logging.getLogger(__name__)

TOLD: set[str] = set()
"""The kinds of remarks that were made."""


class ImageError(FCNError, ValueError):
    """A picture cannot be read or used."""


def tell_once(kind: str, text: str, name: str) -> None:
    """Logs how a picture was read, the first time that something of its kind comes.

    Args:
      kind: pictures of one kind share a remark.
      text: what was done.
      name: of the picture.
    """
    if kind not in TOLD:
        TOLD.add(kind)
        logger.warning("%s: %s; others like it are not named", name, text)
