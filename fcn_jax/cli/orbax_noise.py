"""Keeps Orbax's messages from the terminal, for commands that train; each failure is an error as well.

If Orbax cannot write, as on a full disk, its threads log tracebacks. It also abandons coroutines, and Python
warns about them by the hundred. This module changes settings of the process. A library must not do that; a
command owns its process.
"""

import contextlib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

ORBAX = os.path.join("orbax", "checkpoint")


@contextlib.contextmanager
def orbax_hushed() -> Iterator[None]:
    """Drops other packages' log messages, and warnings about Orbax's abandoned coroutines, in the block.

    After an error it keeps dropping them: the warnings continue while the process ends.
    """
    handler, hook, filters = logging.NullHandler(), sys.unraisablehook, warnings.catch_warnings()
    logging.getLogger().addHandler(handler)  # with a handler at the root, logging does not print by itself
    if not isinstance(hook, _Hook):
        sys.unraisablehook = _Hook(hook)
    filters.__enter__()
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    yield
    filters.__exit__(None, None, None)
    sys.unraisablehook = hook
    logging.getLogger().removeHandler(handler)


class _Hook:
    """Passes unraisable errors to the hook before, except those of Orbax's abandoned coroutines."""

    def __init__(self, before: Callable[[Any], Any]):
        self.before = before

    def __call__(self, unraisable: Any) -> None:
        coroutine = unraisable.object
        if inspect.iscoroutine(coroutine) and ORBAX in coroutine.cr_code.co_filename:
            return
        if (
            str(unraisable.exc_value) != "Event loop is closed"
        ):  # TensorStore wakes a loop that Orbax has closed
            self.before(unraisable)
