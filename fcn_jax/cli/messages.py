"""What is said of a failure at the command line."""

import jax

EXPECTED = (ValueError, OSError, ImportError, MemoryError, jax.errors.JaxRuntimeError)
"""Failures with a message for people. Anything else is a bug, and its traceback is wanted."""

_TERMS = {
    "pass transforms=SemanticSegmentation(resize_size=...) with a smaller size": "choose a smaller --resize",
    "try tile=": "try --tile ",
    "choose a smaller tile": "choose a smaller --tile",
    "raise PIL.Image.MAX_IMAGE_PIXELS": "give a larger --max-pixels",
    "pass its path in place of the name": "give its path as --weights",
    "pass the file's path in place of the name": "give the file's path as --weights",
}
"""Advice of the library, and the same in terms of the command line."""


def in_words(error: BaseException) -> str:
    """Says what went wrong: the file first, and no Python."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"  # without "[Errno 2]"
    for library, command_line in _TERMS.items():
        text = text.replace(library, command_line)
    return text
