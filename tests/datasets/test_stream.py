"""The stream of batches: the same from threads and workers, one clear error, and nothing left behind.

Starting workers takes seconds, so what concerns them is tested in three scripts, run as a user runs them.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fcn_jax.datasets.augmentation import Augmentation
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.stream import BatchStream, portable
from tests.datasets.random_pictures import RandomPictures, assert_same

ROOT = Path(__file__).parents[2]
SMALL = Augmentation(base_size=24, crop_size=(21, 26))


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize(("first", "last"), [(0, 9), (4, 9), (123456, 123459), (5, 5)])
def test_threads_give_the_batches_in_order(threads, first, last):
    batches = Batches(RandomPictures(7), batch_size=3, seed=1, augmentation=SMALL)
    with batches.stream(first, last, threads=threads) as stream:
        streamed = list(stream)
        assert list(stream) == []
    assert len(streamed) == last - first
    for step, batch in enumerate(streamed, start=first):
        assert_same(batch, batches.batch(step))


def test_the_order_holds_when_later_steps_are_ready_first():
    def prepare(step):
        time.sleep(0.02 if step % 3 == 0 else 0)
        return {"step": np.array([step])}

    with BatchStream(prepare, 0, 20, threads=4) as stream:
        assert [batch["step"].item() for batch in stream] == list(range(20))


def test_batches_are_prepared_ahead_and_no_further_than_memory_allows():
    prepared = []

    def prepare(step):
        prepared.append(step)
        return {"step": np.array([step])}

    with BatchStream(prepare, 0, 1000, threads=2) as stream:
        next(stream)
        time.sleep(0.2)
        assert 3 <= len(prepared) <= 4  # the first, and threads + 1 ahead
    time.sleep(0.05)
    assert len(prepared) <= 4


def test_after_closing_there_is_no_batch_and_no_thread():
    stream = Batches(RandomPictures(7), batch_size=3, seed=1).stream(0, 1000, threads=2)
    next(stream)
    stream.close()
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("fcn_jax batches") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_error_comes_in_its_turn_and_as_it_is():
    batches = Batches(RandomPictures(7, damaged=3), batch_size=1, seed=1)
    turn = [batches.indices(step).item() for step in range(7)].index(3)
    stream = batches.stream(0, 100, threads=3)
    for _ in range(turn):
        next(stream)
    with pytest.raises(
        DatasetError, match=r"^pictures/noise_3.png: cannot be read as a picture: it is noise$"
    ):
        next(stream)
    assert list(stream) == []


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(first)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyError("lost"), KeyError),
        (Unpicklable("lost", 1), RuntimeError),
        (DatasetError("lost"), DatasetError),
    ],
)
def test_errors_can_leave_a_worker(raised, expected):
    """What cannot be pickled would be lost on the way."""
    try:
        raise raised
    except Exception as error:
        arrived = pickle.loads(pickle.dumps(portable(error)))
    assert type(arrived) is expected
    assert "lost" in str(arrived)
    text = "".join([str(arrived), *getattr(arrived, "__notes__", [])])
    assert ("in test_errors_can_leave_a_worker" in text) is (expected is not DatasetError)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((3, 2), {}, "expected 0 <= first_step <= last_step, got first_step=3, last_step=2"),
        ((-1, 2), {}, "expected 0 <= first_step <= last_step, got first_step=-1, last_step=2"),
        ((0, 2), {"workers": -1}, "workers: expected at least 0, got -1"),
        ((0, 2), {"threads": 0}, "threads: expected at least 1, got 0"),
    ],
)
def test_arguments_that_make_no_sense(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        Batches(RandomPictures(7), batch_size=3, seed=1).stream(*arguments, **settings)


# A dataset of the script's own, and an array in JAX inside the worker.
COMPARE = """
import multiprocessing
import jax, numpy as np
from fcn_jax.datasets.augmentation import Augmentation
from fcn_jax.datasets.batches import Batches
from tests.datasets.random_pictures import RandomPictures, assert_same

class Mine(RandomPictures):
    def __getitem__(self, index):
        if multiprocessing.parent_process() is not None:
            assert {each.platform for each in jax.devices()} == {"cpu"} == {jax.config.jax_platforms}
        return super().__getitem__(index)

if __name__ == "__main__":
    small = Augmentation(base_size=24, crop_size=(21, 26))
    batches = Batches(Mine(7), batch_size=3, seed=1, augmentation=small)
    for workers, first, last in ((1, 5, 6), (2, 3, 9)):
        with batches.stream(first, last, workers=workers) as stream:
            streamed = list(stream)
        assert len(streamed) == last - first
        for step, batch in enumerate(streamed, start=first):
            assert_same(batch, batches.batch(step))
            assert type(batch["images"]) is np.ndarray
    print(len(multiprocessing.active_children()))
    left = batches.stream(0, 10**6, workers=1)  # not closed: Python ends all the same
    next(left)
"""

FAIL = """
import multiprocessing, os, signal
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.dataset import DatasetError
from fcn_jax.datasets.stream import WorkerError
from tests.datasets.random_pictures import RandomPictures

def error_of(dataset, do=lambda: None):
    stream = Batches(dataset, batch_size=1, seed=2).stream(0, 10**6, workers=2)
    try:
        next(stream)
        do()
        for _ in stream:
            pass
    except Exception as error:
        assert multiprocessing.active_children() == []
        return error

if __name__ == "__main__":
    error = error_of(RandomPictures(5, damaged=3))
    assert type(error) is DatasetError, error
    assert str(error) == "pictures/noise_3.png: cannot be read as a picture: it is noise"
    kill = lambda: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    error = error_of(RandomPictures(5), kill)
    assert type(error) is WorkerError and "has ended: killed by SIGKILL" in str(error), error
"""

UNGUARDED = """
from fcn_jax.datasets.batches import Batches
from tests.datasets.random_pictures import RandomPictures

next(Batches(RandomPictures(5), batch_size=1, seed=2).stream(0, 9, workers=1))
"""

ENDLESS = """
import multiprocessing, signal, time
from fcn_jax.datasets.batches import Batches
from tests.datasets.random_pictures import RandomPictures

if __name__ == "__main__":
    # A shell without job control starts what runs in the background deaf to Ctrl-C; children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stream = Batches(RandomPictures(7), batch_size=3, seed=1).stream(0, 10**9, workers=2)
    print("starting", flush=True)
    for step, _ in enumerate(stream):
        time.sleep(0.05)  # here, most likely, it will be interrupted
        if step % 5 == 2:
            print(*sorted(child.pid for child in multiprocessing.active_children()), flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a script in a process group of its own, to be sent signals as a terminal sends them."""
    started = []

    def start_script(code):
        path = tmp_path / "script.py"
        path.write_text(code)
        command = [sys.executable, "-W", "error", path]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes))
        return started[-1]

    yield start_script
    for script in started:
        with contextlib.suppress(ProcessLookupError):  # nothing of the group is left, as it should be
            os.killpg(script.pid, signal.SIGKILL)
        script.communicate()


@pytest.mark.slow
def test_workers_give_the_same_batches(start):
    assert start(COMPARE).communicate(timeout=120) == ("0\n", "")


@pytest.mark.slow
def test_errors_in_workers(start):
    assert start(FAIL).communicate(timeout=120) == ("", "")


@pytest.mark.slow
def test_a_script_without_a_guard_gets_advice(start):
    _, errors = start(UNGUARDED).communicate(timeout=120)
    assert 'must put its work under `if __name__ == "__main__":`' in errors.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_script_and_not_before(start, sent):
    script = start(ENDLESS)
    assert script.stdout.readline() == "starting\n"
    workers = [int(pid) for pid in script.stdout.readline().split()]
    assert len(workers) == 2
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    for _ in range(3):
        assert [int(pid) for pid in script.stdout.readline().split()] == workers
    if sent == signal.SIGKILL:
        script.kill()
    else:
        os.killpg(script.pid, sent)
    _, errors = script.communicate(timeout=30)
    assert script.returncode == -sent
    if sent == signal.SIGINT:
        assert errors.count("Traceback") == 1, errors
        assert errors.endswith("\nKeyboardInterrupt\n"), errors
    deadline = time.monotonic() + 10
    while any(map(runs, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_of_the_group_while_workers_start_is_heard_by_the_script_alone(start):
    script = start(ENDLESS)
    assert script.stdout.readline() == "starting\n"
    time.sleep(np.random.default_rng().uniform(0, 1.5))  # another moment each time
    os.killpg(script.pid, signal.SIGINT)
    _, errors = script.communicate(timeout=60)
    assert script.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1, errors
    assert errors.endswith("\nKeyboardInterrupt\n"), errors


def runs(pid):
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
