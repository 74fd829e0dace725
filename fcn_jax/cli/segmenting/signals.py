"""Ctrl-C and SIGTERM while files are written: what is under way is finished and written down first."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


class Stop:
    """Turns Ctrl-C and SIGTERM into KeyboardInterrupt and `Terminated`, but not inside `held` blocks."""

    def __init__(self) -> None:
        self._came: int | None = None
        self._held = 0
        self._finishing = False

    def ask(self, number: int, frame: object = None) -> None:
        """Handles a signal: raises now, or when the `held` block ends."""
        self._came = self._came or number
        self._raise_if_allowed()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block no signal raises.

        At its end one that came before raises too, in case JAX has swallowed its exception in a callback.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self._raise_if_allowed()

    def finish(self) -> None:
        """From here on no signal raises any more: what is left to do is short."""
        self._finishing = True

    def _raise_if_allowed(self) -> None:
        if self._came is None or self._held or self._finishing:
            return
        raise Terminated if self._came == signal.SIGTERM else KeyboardInterrupt


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Listens to Ctrl-C and SIGTERM while the block runs.

    A signal that the process was started to ignore stays ignored. Outside the main thread Python takes no
    handlers.
    """
    stop = Stop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop.ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
