"""Ending a run from outside: Ctrl-C and SIGTERM let the step under way finish and its state be saved."""

import contextlib
import signal
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
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            if multihost_utils.reached_preemption_sync_point(step):
                self.signal = signal.SIGTERM
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
        return 0 if self.signal is None else 128 + int(self.signal)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Listens to Ctrl-C and SIGTERM while the block runs. A second Ctrl-C interrupts at once.

    On several hosts SIGTERM is left to JAX, which carries it to all of them.
    """
    stop = Stop()

    def ask(number: int, frame) -> None:
        if stop.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = signal.Signals(number)

    signals = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
