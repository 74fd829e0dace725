"""Keeping Orbax's talk from the terminal, for commands that train: what goes wrong in it is an error as well.

Where Orbax cannot write, as on a full disk, its threads log tracebacks, and it abandons coroutines, which
complain by the hundred while the other writes end. A library must not touch what this touches; a command owns
its process.
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
    """Drops, in the block, what other packages log, and what Orbax's abandoned coroutines complain of.

    After an error it stays so: the complaints go on while the process ends.
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
    """Gives errors that nobody can catch to the hook before; not those of Orbax's abandoned coroutines."""

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
