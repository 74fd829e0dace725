"""Ends a run on Ctrl-C or SIGTERM: the step under way finishes, and the run saves its state."""

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
        """Returns whether to end before this step; several hosts agree on the step."""
        if jax.process_count() == 1:
            return self.signal is not None
        from jax.experimental import multihost_utils

        agreed = multihost_utils.reached_preemption_sync_point(step)
        if agreed and self.signal is None:
            self.signal = signal.SIGTERM
        return agreed

    def requested_here(self) -> bool:
        """Returns whether to end at once, between two steps. Several hosts wait for the next step."""
        return jax.process_count() == 1 and self.signal is not None

    @property
    def exit_code(self) -> int:
        """The exit status that shells expect after a signal: 130 for Ctrl-C, 143 for SIGTERM."""
        return 0 if self.signal is None else 128 + int(self.signal)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Listens to Ctrl-C and SIGTERM while the block runs. A second Ctrl-C interrupts at once.

    On several hosts JAX passes a SIGTERM on to all of them; Ctrl-C on one host becomes a SIGTERM. Outside the
    main thread Python takes no signal handlers, so signals do not end the run there.
    """
    stop = Stop()
    several = jax.process_count() > 1

    def ask(number: int, frame) -> None:
        if stop.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = signal.Signals(number)
        if number == signal.SIGINT:
            # Not by print: it raises an error if the signal interrupts another print.
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
