"""Prepares batches ahead of their use, in order, in threads or in worker processes.

A script that uses workers must put its work under `if __name__ == "__main__":`, as always when Python spawns
processes: each worker imports the script to find the classes that it defines.

Workers ignore Ctrl-C and SIGTERM from their start; the training process handles them. Workers use no GPU.
They end with the training process, even if that is killed. A killed worker raises one clear error.
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
    """A worker process ended too early."""


class BatchStream(Iterator[dict[str, np.ndarray]]):
    """`prepare(step)` for each step in turn, some of them ahead of time. Also a context manager.

    Args:
      prepare: a function that returns a step's arrays by name; it is pickled for workers.
      first_step: the first step.
      last_step: the first step that is left out.
      workers: number of processes; each prepares one batch at a time. 0 prepares in threads of this process.
      threads: number of threads, if there are no workers; by default one for each core, at most 16.

    Raises:
      SettingError: a number out of its range.
      WorkerError: a worker ended (while iterating).
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
        self._end.atexit = False  # its own exit hook may run after multiprocessing waits for the workers
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
        """Ends the threads, the workers and the iteration. Drops batches that were not fetched."""
        self._coming.clear()
        self._end()
        atexit.unregister(self._end)


def _end(threads: ThreadPoolExecutor, workers: "_Workers | None") -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    if workers is not None:
        workers.kill()
    threads.shutdown()


class _Workers:
    """Worker processes. Each prepares a step for one thread at a time."""

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
                theirs.close()  # so that the pipe ends when the worker ends
                self._idle.put((process, ours))

    def prepare(self, step: int) -> dict[str, np.ndarray]:
        """Prepares a step in the next idle worker."""
        process, connection = self._idle.get()
        try:
            connection.send(step)
            done, result = connection.recv()
        except (EOFError, OSError):
            process.join(5)
            raise WorkerError(
                f"a worker process that prepares batches has ended: {_how_it_ended(process.exitcode)}",
                hint="start again with the same settings to resume from the last checkpoint; if memory is "
                "short, choose fewer {workers}",
            ) from None
        finally:
            self._idle.put((process, connection))
        if not done:
            raise result
        return result

    def kill(self) -> None:
        """Kills the processes, and so ends the wait of the threads that use them."""
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
        return f"killed by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
    return (
        f"exit status {code}, with its reason above; a script that uses workers must put its work under "
        '`if __name__ == "__main__":`'
    )


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Starts processes with Ctrl-C and SIGTERM blocked. This process receives them after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock these signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, pickled: bytes) -> None:
    """Prepares steps, in a worker, until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # on systems that cannot block them
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
    """Makes an error that can be pickled; a note in it keeps the traceback, which pickling would lose."""
    if isinstance(error, DatasetError):  # its message says everything
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
