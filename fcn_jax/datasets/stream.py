"""Batches prepared ahead of their use, in order, by Grain: in threads, or in worker processes.

Grain keeps the order. What is added here is manners: an error in a worker is raised once, as it was there;
workers leave Ctrl-C and SIGTERM to the process that trains, touch no GPU, and end when it ends, however it
ends; and a script needs no `if __name__ == "__main__":` to have workers.
"""

import collections
import contextlib
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fcn_jax.datasets.dataset import DatasetError


class BatchStream(Iterator):
    """`prepare(step)` for each step in turn, some of them ahead of time. Also a context manager.

    Args:
      prepare: a function of the step that gives arrays by name; with workers it is pickled for them.
      first_step: the first.
      last_step: where to stop; itself left out.
      workers: processes that prepare; 0 for threads of this one.
      threads: how many steps each process prepares at a time; see `Batches.stream`.

    Raises:
      ImportError: Grain is not installed.
      ValueError: a number out of its range.
    """

    def __init__(
        self,
        prepare: Callable[[int], dict[str, np.ndarray]],
        first_step: int,
        last_step: int,
        *,
        workers: int = 0,
        threads: int | None = None,
    ):
        if not 0 <= first_step <= last_step:
            raise ValueError(f"expected 0 <= first_step <= last_step, got {first_step} and {last_step}")
        if workers < 0:
            raise ValueError(f"workers: expected at least 0, got {workers}")
        if threads is None:
            threads = min(16, max(1, _cores() // max(1, workers)))
        if threads < 1:
            raise ValueError(f"threads: expected at least 1, got {threads}")
        grain = _import_grain()
        steps = grain.MapDataset.range(first_step, last_step).map(_Guarded(prepare))
        ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
        steps = steps.to_iter_dataset(ahead)
        if workers:
            options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1)
            steps = steps.mp_prefetch(options, worker_init_fn=_begin_worker)
            # Through pipes, not shared memory, of which a container often has less than a batch needs.
            through_pipes = grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)
            steps = grain.experimental.WithOptionsIterDataset(steps, through_pipes)
        self._workers = workers
        self._steps = steps
        self._running: list = []  # Grain's iterator, once it began
        self._first: collections.deque = collections.deque()
        self._end = weakref.finalize(self, _end, self._running)  # also when Python ends and nobody closed

    def __next__(self) -> dict[str, np.ndarray]:
        if not self._end.alive:
            raise StopIteration
        try:
            if not self._running:
                self._begin()
            prepared = self._first.popleft() if self._first else next(self._running[0])
            if isinstance(prepared, _Failure):
                raise prepared.error
        except BaseException:  # the end, an error, or Ctrl-C
            self.close()
            raise
        return prepared

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads and the workers. What was not fetched is dropped; iterating is over."""
        self._first.clear()
        self._end()
        if self._workers:
            # Otherwise Grain's semaphores are collected at any time, such as while other workers start, when
            # CPython 3.13 cannot unregister them and complains.
            gc.collect()

    def _begin(self) -> None:
        self._running.append(iter(self._steps))
        with _main_hidden():
            # Grain starts the workers from other threads; all have begun when each has given something.
            self._first.extend(itertools.islice(self._running[0], self._workers))


def _end(running: list) -> None:
    while running:
        running.pop().close()


class _Failure:
    """What a worker gives instead of raising, for Grain would mix its own frames into the error."""

    def __init__(self, error: Exception):
        self.error = error


class _Guarded:
    """`prepare`, with an error as a result."""

    def __init__(self, prepare: Callable[[int], Any]):
        self.prepare = prepare

    def __call__(self, step: int) -> Any:
        try:
            return self.prepare(step)
        except Exception as error:
            return _Failure(error) if _in_this_process() else _Failure(portable(error))


def portable(error: Exception) -> Exception:
    """Makes an error that can go to another process, where its traceback cannot follow."""
    if isinstance(error, DatasetError):  # says everything itself
        return DatasetError(str(error))
    where = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"in a worker: {where}")
    error.add_note(where)
    return error


def _in_this_process() -> bool:
    return multiprocessing.parent_process() is None


def _begin_worker(index: int, count: int) -> None:
    """Sets a worker up, in the worker, before it unpickles what it will prepare."""
    import jax  # Grain has imported it already

    jax.config.update("jax_platforms", "cpu")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def end_with_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextlib.contextmanager
def _main_hidden():
    """Lets processes start without running the main script once more, as they otherwise do to find its names.

    They need none: Grain pickles what the script itself defines by value.
    """
    main = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    try:
        vars(main).pop("__file__", None)
        main.__spec__ = None
        yield
    finally:
        vars(main).update(hidden)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _import_grain():
    try:
        import grain
        from absl import flags
    except ImportError as error:
        raise ImportError(
            "preparing batches ahead needs Grain, which is not installed: pip install 'fcn_jax[train]'"
        ) from error
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain 0.2.18 asks its flags when it starts workers, and raises if not
    return grain
