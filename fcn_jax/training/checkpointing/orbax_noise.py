"""Keeping Orbax's talk from the terminal: what goes wrong is raised as an error, and that is enough.

Orbax logs warnings and errors of its own. And when it cannot read one array it abandons the coroutines that
read the others: each of them complains, at length, when it is collected or when its read ends too late.
"""

import contextlib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator

ORBAX = os.path.join("orbax", "checkpoint")


def hush_orbax() -> None:
    """Drops, from now on, what Orbax logs and what its abandoned coroutines complain of. All else passes."""
    for name in ("absl", None):  # itself, and by way of logging.warning
        logging.getLogger(name).addFilter(_not_by_orbax)  # a filter that is there already is not added
    logging.getLogger("asyncio").addFilter(_not_about_abandoned_reads)
    if not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)


@contextlib.contextmanager
def no_coroutine_warnings() -> Iterator[None]:
    """Ignores, within the block, that coroutines were never awaited."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        yield


def _not_by_orbax(record: logging.LogRecord) -> bool:
    return ORBAX not in record.pathname


def _not_about_abandoned_reads(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return "exception was never retrieved" not in message or not (
        ORBAX in message or "tensorstore" in message
    )


class _Hook:
    """Gives errors that nobody can catch to the hook before; not those of Orbax's abandoned coroutines."""

    def __init__(self, before):
        self.before = before

    def __call__(self, unraisable) -> None:
        coroutine = unraisable.object
        if inspect.iscoroutine(coroutine) and ORBAX in coroutine.cr_code.co_filename:
            return
        if not _read_ended_too_late(unraisable):
            self.before(unraisable)


def _read_ended_too_late(unraisable) -> bool:
    """Whether TensorStore, called by no Python code, tried to wake a loop that Orbax has closed."""
    if str(unraisable.exc_value) != "Event loop is closed" or unraisable.exc_traceback is None:
        return False
    caller = unraisable.exc_traceback.tb_frame.f_code.co_filename
    return "uvloop" in caller or "asyncio" in caller
