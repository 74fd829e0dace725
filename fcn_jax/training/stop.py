"""Ending a run from outside: Ctrl-C and SIGTERM let the step under way finish and its state be saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import jax


class Stop:
    """Whether a signal has asked the run to end.

    Attributes:
      signal: the one that came, or None.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None

    def requested(self, step: int) -> bool:
        """Tells whether to end before this step; on several hosts all of them agree on the step."""
        if jax.process_count() == 1:
            return self.signal is not None
        from jax.experimental import multihost_utils

        agreed = multihost_utils.reached_preemption_sync_point(step)
        if agreed and self.signal is None:
            self.signal = signal.SIGTERM
        return agreed

    def requested_here(self) -> bool:
        """Tells, between two steps, whether to end at once; on several hosts that waits for the next step."""
        return jax.process_count() == 1 and self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 0 if self.signal is None else 128 + int(self.signal)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Listens to Ctrl-C and SIGTERM while the block runs. A second Ctrl-C interrupts at once.

    On several hosts SIGTERM is left to JAX, which carries it to all of them; Ctrl-C at one is passed on so.
    In another thread than the main one, where Python takes no signals, nothing is listened to.
    """
    stop = Stop()
    several = jax.process_count() > 1

    def ask(number: int, frame) -> None:
        if stop.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = signal.Signals(number)
        if number == signal.SIGINT:
            # Not by print, which cannot be called while a print of the program's own is under way.
            os.write(2, b"stopping after this step; Ctrl-C again stops at once and saves nothing\n")
        if several:
            os.kill(os.getpid(), signal.SIGTERM)

    signals = [signal.SIGINT] if several else [signal.SIGINT, signal.SIGTERM]
    if threading.current_thread() is not threading.main_thread():
        signals = []
    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
