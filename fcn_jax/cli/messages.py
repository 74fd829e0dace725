"""Words errors for the command line, and shows the library's messages on standard error."""

import contextlib
import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator

from fcn_jax.errors import FCNError

NAMES = {
    'aux="drop"': "--aux drop",
    "strict=False": "--not-strict",
    "key": "--key",
    "PIL.Image.MAX_IMAGE_PIXELS": "--max-pixels",
    "align_corners": "--align-corners",
    "aux": "--aux",
    "bands": "--bands",
    "batch_size": "--batch-size",
    "categories": "--categories",
    "classes": "--classes",
    "dtype": "--dtype",
    "flip": "--flip",
    "folder": "--data-dir",
    "foreground": "--foreground",
    "halo": "--halo",
    "in_channels": "--in-channels",
    "input": "--input",
    "model": "--model",
    "model_name": "--model",
    "platforms": "--platforms",
    "preset": "--preset",
    "resize_size": "--resize",
    "scales": "--scales",
    "size": "--size",
    "split": "--split",
    "stride": "--stride",
    "tile": "--tile",
    "values": "--values",
    "void": "--void",
    "weights": "--weights",
    "window": "--window",
    "workers": "--workers",
    "write": "--write",
    "zero_is_void": "--zero-is-void",
}
"""{argument of the library: option of the command line}."""


def explain(error: BaseException) -> str | None:
    """Explains an error in one message, the file first; None for a bug."""
    text = _words(error)
    return None if text is None else shown(text, lines=True)


def shown(text: str, *, lines: bool = False) -> str:
    """Escapes what would act on a terminal: control characters, and marks that turn the direction of text.

    Args:
      text: such as the name of a file.
      lines: whether line breaks and tabs may stay.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        letter.encode("unicode_escape").decode() if _acts(letter) and letter not in kept else letter
        for letter in text
    )


def _acts(letter: str) -> bool:
    turns = "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069"
    return turns or unicodedata.category(letter) == "Cc"


def say(text: str) -> None:
    """Prints a line on standard error, with the name of the command."""
    print(f"fcn-jax: {shown(text, lines=True)}", file=sys.stderr)


def drop_output() -> None:
    """Sends buffered output to the null device, so that Python does not report a second error at exit."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _words(error: BaseException) -> str | None:
    if isinstance(error, FCNError):
        return error.words(NAMES)
    full = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)  # JAX's word
    if full or isinstance(error, MemoryError):
        detail = str(error).partition("\n")[0]
        return "there is not enough memory" + (f": {detail}" if detail else "")
    if isinstance(error, OSError):
        places = [error.filename, error.filename2]
        place = " -> ".join(os.fsdecode(name) for name in places if isinstance(name, str | bytes))
        text = error.strerror or str(error) or type(error).__name__  # without "[Errno 2]"
        return f"{place}: {text}" if place else text
    return None


class _StandardError(logging.Handler):
    """Writes messages to the current `sys.stderr`, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        lead = f"fcn-jax: {record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(f"{lead}{shown(record.getMessage(), lines=True)}", file=sys.stderr)


@contextlib.contextmanager
def library_messages_shown() -> Iterator[None]:
    """Inside the block, prints both packages' log messages and hides Pillow's warnings about files."""
    handler = _StandardError()
    loggers = [logging.getLogger(name) for name in ("fcn_jax", "weights_converter")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)
