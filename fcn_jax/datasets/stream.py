"""Batches prepared ahead of their use, in order: in threads, or in worker processes.

A script that uses workers needs `if __name__ == "__main__":` around what it does, as always in Python where
processes are spawned: each worker imports the script to find the classes that it defines.

Workers leave Ctrl-C and SIGTERM to the process that trains, from their first moment on; they touch no GPU;
and they end when that process ends, however it ends. A worker that is killed is one clear error.
"""

import atexit
import collections
import multiprocessing
import os
import pickle
import queue
import signal
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import numpy as np

from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.errors import FCNError, SettingError

Prepare = Callable[[int], dict[str, np.ndarray]]


class WorkerError(FCNError, RuntimeError):
    """A process that prepares batches has ended before its time."""


class BatchStream(Iterator[dict[str, np.ndarray]]):
    """`prepare(step)` for each step in turn, some of them ahead of time. Also a context manager.

    Args:
      prepare: a function of the step that gives arrays by name; with workers it is pickled for them.
      first_step: the first.
      last_step: where to stop; itself left out.
      workers: processes that prepare, a batch at a time each; 0 prepares in threads of this process.
      threads: without workers, how many batches to prepare at a time; by default one for each core, and 16
        at most.

    Raises:
      SettingError: a number out of its range.
      WorkerError: while iterating, a worker has ended.
    """

    def __init__(
        self,
        prepare: Prepare,
        first_step: int,
        last_step: int,
        *,
        workers: int = 0,
        threads: int | None = None,
    ):
        if not 0 <= first_step <= last_step:
            raise SettingError(
                expected="0 <= first_step <= last_step", got=f"first_step={first_step}, last_step={last_step}"
            )
        if workers < 0:
            raise SettingError(subject="workers", expected="at least 0", got=str(workers))
        if threads is None:
            threads = min(16, _cores())
        if threads < 1:
            raise SettingError(subject="threads", expected="at least 1", got=str(threads))
        self._prepare = prepare
        self._steps = iter(range(first_step, last_step))
        self._ahead = workers or threads
        self._coming: collections.deque[Future] = collections.deque()
        self._threads = ThreadPoolExecutor(self._ahead, "fcn_jax batches")
        self._workers = _Workers(prepare, workers) if workers else None
        self._end = weakref.finalize(self, _end, self._threads, self._workers)
        self._end.atexit = False  # that may come after multiprocessing has begun to wait for the workers
        atexit.register(self._end)

    def __next__(self) -> dict[str, np.ndarray]:
        if not self._end.alive:
            raise StopIteration
        try:
            if self._workers is not None:
                self._workers.start()
                prepare = self._workers.prepare
            else:
                prepare = self._prepare
            while len(self._coming) <= self._ahead and (step := next(self._steps, None)) is not None:
                self._coming.append(self._threads.submit(prepare, step))
            if not self._coming:
                raise StopIteration
            return self._coming.popleft().result()
        except BaseException:  # the end, an error, or Ctrl-C
            self.close()
            raise

    def __enter__(self) -> "BatchStream":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads and the workers. What was not fetched is dropped; iterating is over."""
        self._coming.clear()
        self._end()
        atexit.unregister(self._end)


def _end(threads: ThreadPoolExecutor, workers: "_Workers | None") -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    if workers is not None:
        workers.kill()
    threads.shutdown()


class _Workers:
    """Processes that prepare steps for the threads that ask them, each for one thread at a time."""

    def __init__(self, prepare: Prepare, count: int):
        self._pickled, self._count = pickle.dumps(prepare), count
        self._processes: list[SpawnProcess] = []
        self._idle: queue.SimpleQueue[tuple[SpawnProcess, Connection]] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the processes, at the first call."""
        context = multiprocessing.get_context("spawn")
        if self._processes:
            return
        with _signals_held_back():
            for number in range(self._count):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work,
                    args=(theirs, self._pickled),
                    name=f"fcn_jax batches {number}",
                    daemon=True,
                )
                self._processes.append(process)
                process.start()
                theirs.close()  # so that the end of the worker is the end of the pipe
                self._idle.put((process, ours))

    def prepare(self, step: int) -> dict[str, np.ndarray]:
        """Has a step prepared by the next worker that is idle."""
        process, connection = self._idle.get()
        try:
            connection.send(step)
            done, result = connection.recv()
        except (EOFError, OSError):
            process.join(5)
            raise WorkerError(
                f"a worker process that prepares batches has ended: {_how_it_ended(process.exitcode)}",
                hint="start again with the same settings, which goes on where the run was saved; if memory "
                "is short, choose fewer {workers}",
            ) from None
        finally:
            self._idle.put((process, connection))
        if not done:
            raise result
        return result

    def kill(self) -> None:
        """Ends the processes at once, and with them the waiting of the threads that ask them."""
        for process in self._processes:
            if process.pid is not None:
                process.kill()
        for process in self._processes:
            if process.pid is not None:
                process.join()


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "its pipe is closed"
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return (
        f"exit status {code}, with its reason above; a script that uses workers needs "
        '`if __name__ == "__main__":` around what it does'
    )


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Lets processes start with Ctrl-C and SIGTERM blocked; to this one they come after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which unblocks these signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, pickled: bytes) -> None:
    """Prepares steps, in a worker, until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # where they could not be blocked
        signal.signal(number, signal.SIG_IGN)
    import jax  # the package has imported it already

    jax.config.update("jax_platforms", "cpu")
    try:
        prepare = pickle.loads(pickled)
        while True:
            step = connection.recv()
            try:
                result = True, prepare(step)
            except Exception as error:
                result = False, portable(error)
            connection.send(result)
    except (EOFError, OSError):  # the process that trains has ended
        os._exit(1)


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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
