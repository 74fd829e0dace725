"""Whatever befalls files or run, what is restored is what was saved, at that step or at one before."""

import gc
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.training.checkpointing import step_files
from fcn_jax.training.checkpointing.checkpoints import Checkpoints, CheckpointsDamaged
from tests.training.checkpointing.saved import a_tree, assert_equal, save_two_steps

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """Steps that are not to be changed."""
    return save_two_steps(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def folder(tmp_path, two_steps):
    """A copy to change."""
    return Path(shutil.copytree(two_steps, tmp_path / "checkpoints"))


def flip(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def largest(folder):
    return max(folder.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())


@pytest.mark.slow
def test_every_file_flipped_cut_or_gone(tmp_path, two_steps, capfd, caplog):
    """Either the older step is restored, with a message, or the newest, unharmed. And Orbax is not heard."""
    steps = []
    files = [path.relative_to(two_steps) for path in (two_steps / "2").rglob("*") if path.is_file()]
    for number, (name, damage) in enumerate(
        (name, how) for name in files for how in (flip, cut, Path.unlink)
    ):
        folder = Path(shutil.copytree(two_steps, tmp_path / str(number)))
        damage(folder / name)
        caplog.clear()
        checkpoints = Checkpoints(folder)
        restored = checkpoints.restore(a_tree())
        assert_equal(restored.tree, a_tree(restored.step))
        assert restored.facts == {"epoch": restored.step}
        assert caplog.messages == checkpoints.skipped
        if restored.step == 1:
            assert caplog.messages[0].startswith(f"{folder / '2'}: skipped step 2, which is damaged: ")
        steps.append(restored.step)
    assert len(files) == 10
    assert steps.count(1) >= 11  # seen: 12 of 30; the others are not needed to read the arrays
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_flipped_bits_among_the_numbers(folder):
    path = largest(folder / "2")
    for place in np.random.default_rng(0).integers(1000, path.stat().st_size - 1000, 14):
        flip(path, int(place))
        checkpoints = Checkpoints(folder)
        restored = checkpoints.restore(a_tree())
        assert_equal(restored.tree, a_tree(restored.step))
        assert restored.step == 1  # Orbax alone reads other numbers, 14 times of 14
        flip(path, int(place))
    assert Checkpoints(folder).restore(a_tree()).step == 2


def test_a_damaged_step_is_moved_aside_when_it_comes_again(folder, caplog):
    with Checkpoints(folder) as checkpoints:
        for name in ("damaged-2", "damaged-2-2"):
            flip(largest(folder / "2"))
            restored = checkpoints.restore(a_tree())
            assert restored.step == 1
            assert_equal(restored.tree, a_tree(1))
            assert "numbers differ from the saved ones in" in caplog.messages[-1]
            assert checkpoints.steps() == [1, 2]
            checkpoints.save(2, a_tree(2), {"again": True})
            assert caplog.messages[-1] == f"{folder / '2'}: moved to {name}, since it is damaged"
            assert (folder / name / "arrays").is_dir()
            restored = checkpoints.restore(a_tree())
            assert (restored.step, restored.facts) == (2, {"again": True})
    assert len(caplog.messages) == 4


def test_a_damaged_step_does_not_count_among_the_newest(folder):
    cut(folder / "2" / "arrays" / "manifest.ocdbt")
    shutil.copytree(folder / "2", folder / "4")
    with Checkpoints(folder, keep=1) as checkpoints:
        assert checkpoints.restore(a_tree()).step == 1
        assert len(checkpoints.skipped) == 2
        checkpoints.save(2, a_tree(2))
        assert checkpoints.restore(a_tree()).step == 2
        assert checkpoints.steps() == [2]
    assert sorted(path.name for path in folder.iterdir()) == ["2", "damaged-2", "damaged-4"]


def test_a_renamed_step(folder):
    (folder / "2").rename(folder / "7")
    checkpoints = Checkpoints(folder)
    assert checkpoints.restore(a_tree()).step == 1
    assert "7: skipped step 7, which is damaged: its arrays belong to step 2" in checkpoints.skipped[0]


def test_a_failed_read_leaves_nothing_behind_that_complains(folder, capfd, caplog):
    """Orbax's own reading abandons coroutines, which complain when they are collected."""
    cut(largest(folder / "2"))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        gc.disable()
        try:
            assert Checkpoints(folder).restore(a_tree()).step == 1
            time.sleep(0.2)
        finally:
            gc.enable()
        gc.collect()
    assert heard == []
    assert capfd.readouterr().err == ""
    assert [record.name for record in caplog.records] == ["fcn_jax.training.checkpointing.checkpoints"]


def test_hosts_come_to_one_end(two_steps, monkeypatch):
    """Where another host cannot read a step, this one passes it over too."""
    others = iter([False, True, True])
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        step_files.multihost_utils, "process_allgather", lambda whole: np.array([whole, next(others)])
    )
    checkpoints = Checkpoints(two_steps)
    assert checkpoints.restore(a_tree()).step == 1
    assert checkpoints.skipped[0].endswith("damaged: another host cannot read it")


def test_no_whole_step(folder):
    shutil.rmtree(folder / "1" / "arrays")
    (folder / "2" / "_CHECKPOINT_METADATA").unlink()
    with pytest.raises(CheckpointsDamaged) as error:
        Checkpoints(folder).restore(a_tree())
    first, *others = str(error.value).splitlines()
    assert first.startswith(f"{folder}: expected a step that is whole, got 2 damaged; restore one")
    assert others[0] == f"{folder / '2'}: skipped step 2, which is damaged: it has no manifest"
    assert others[1].startswith(f"{folder / '1'}: skipped step 1, which is damaged: ")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


SAVING = """
import sys
import jax.numpy as jnp
from fcn_jax.training.checkpointing.checkpoints import Checkpoints

tree = {f"array {number}": jnp.zeros(1000) for number in range(20)}
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    restored = checkpoints.restore(tree)
    step = restored.step if restored else 0
    while True:
        step += 1
        checkpoints.save(step, {name: array + step for name, array in tree.items()}, {"step": step})
        print(step, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    like = {f"array {number}": jnp.zeros(1000) for number in range(20)}
    before = 0
    for wait in np.random.default_rng().uniform(0, 0.2, 4):
        command = [sys.executable, "-W", "error", "-c", SAVING, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            announced = [int(run.stdout.readline()) for _ in range(2)][-1]
            time.sleep(wait)
            run.send_signal(signal.SIGKILL)
            announced = int(([announced, *run.stdout.read().split()])[-1])
            assert b"Traceback" not in run.stderr.read()  # Orbax logs what the process before left behind
        checkpoints = Checkpoints(tmp_path)
        restored = checkpoints.restore(like)
        assert before < announced - 1 <= restored.step <= announced + 1
        assert restored.facts == {"step": restored.step}
        assert all((array == restored.step).all() for array in restored.tree.values())
        assert checkpoints.skipped == []
        before = restored.step
