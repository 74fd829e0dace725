"""Writes files in threads while the next pictures are computed; hands over in order what was written."""

import collections
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import NamedTuple

from fcn_jax.cli.messages import explain
from fcn_jax.cli.segmenting.outcomes import Outcome
from fcn_jax.cli.segmenting.signals import Stop

WRITERS = min(4, os.cpu_count() or 1)
"""Threads that draw and write; compression and most of the drawing release Python's lock."""
MOST_WAITING = 2 * WRITERS
MOST_PIXELS = 2**26
"""Results wait for a thread only while they have no more pixels than this together: 0.8 GB."""


class Written(NamedTuple):
    """What became of a picture in the end.

    Attributes:
      outcome: without its result, which fills memory.
      entry: what `save` returned; None after an error.
      error: of the picture or of the writing.
    """

    outcome: Outcome
    entry: dict | None
    error: Exception | None


class _Waiting(NamedTuple):
    outcome: Outcome
    pixels: int
    entry: Future[dict] | None

    @property
    def is_done(self) -> bool:
        return self.entry is None or self.entry.done()

    def written(self) -> Written:
        """Returns what became of it; a bug is raised."""
        error = self.outcome.error
        if self.entry is not None:
            failure = self.entry.exception()
            if failure is None:
                return Written(self.outcome, self.entry.result(), None)
            if not isinstance(failure, Exception) or explain(failure) is None:
                raise failure
            error = failure
        return Written(self.outcome, None, error)


def write_all(
    outcomes: Iterable[Outcome],
    save: Callable[[Outcome], dict],
    *,
    record: Callable[[Written], None],
    show: Callable[[Written], None],
    stop: Stop,
) -> None:
    """Saves every result in one of `WRITERS` threads.

    Args:
      outcomes: asked for the next one only when there is room. Signals may interrupt it.
      save: called in a thread for each outcome with a result.
      record: called in order, for every outcome that is settled, also after an interruption: then for those
        whose writing had begun; the others are dropped.
      show: called after `record`, but no more after an interruption or an error.
      stop: signals wait while something is handed over; after an interruption they are ignored.

    Raises:
      Exception: what `outcomes`, `record`, `show` raised, or a bug in `save`.
    """
    queue: collections.deque[_Waiting] = collections.deque()
    pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="fcn_jax writer")

    def settle_first() -> None:
        written = queue.popleft().written()
        record(written)
        show(written)

    try:
        for outcome in outcomes:
            pixels = 0 if outcome.result is None else outcome.result.labels.size
            while queue and _is_full(queue, pixels):
                _settle_next(queue, settle_first, stop.held())
            with stop.held():
                entry = None if outcome.result is None else pool.submit(save, outcome)
                queue.append(_Waiting(outcome._replace(result=None), pixels, entry))
                del outcome
                while queue and queue[0].is_done:
                    settle_first()
        while queue:
            _settle_next(queue, settle_first, stop.held())
    except BaseException:
        stop.finish()
        pool.shutdown(wait=True, cancel_futures=True)
        for waiting in queue:
            if waiting.entry is None or not waiting.entry.cancelled():
                record(waiting.written())
        raise
    pool.shutdown()


def _is_full(queue: collections.deque[_Waiting], pixels: int) -> bool:
    return len(queue) >= MOST_WAITING or sum(each.pixels for each in queue) + pixels > MOST_PIXELS


def _settle_next(
    queue: collections.deque[_Waiting], settle_first: Callable[[], None], held: AbstractContextManager
) -> None:
    """Waits for the first in the queue, which signals may interrupt, then settles it, which they may not."""
    if queue[0].entry is not None:
        wait([queue[0].entry])
    with held:
        settle_first()
