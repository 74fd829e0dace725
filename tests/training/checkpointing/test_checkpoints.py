"""What is restored is what was saved, bit for bit; what cannot be saved is an error."""

import contextlib
import resource
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.errors import ArrayError, SettingError, WrongTypeError
from fcn_jax.training.checkpointing import step_files
from fcn_jax.training.checkpointing.checkpoints import Checkpoints, CheckpointsNotSaved
from fcn_jax.training.checkpointing.manifest import CheckpointsDiffer
from tests.training.checkpointing.saved import a_tree, assert_equal, save_two_steps


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    """Steps that are not to be changed."""
    return save_two_steps(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def folder(tmp_path, two_steps):
    """A copy to change."""
    return Path(shutil.copytree(two_steps, tmp_path / "checkpoints"))


def test_every_dtype_there_and_back(tmp_path, float64):
    rng = np.random.default_rng(0)
    tree = {}
    for dtype in map(jnp.dtype, [jnp.int8, jnp.uint16, jnp.int64, jnp.bfloat16, jnp.float32, jnp.float64]):
        # Any bits: NaNs with payloads, infinities, subnormal numbers.
        bits = rng.integers(0, 256, (2, 3, 5, dtype.itemsize), np.uint8)
        tree[dtype.name] = jnp.asarray(bits.view(dtype)[..., 0])
    tree["shapes"] = [jnp.int32(-3), jnp.zeros((0, 2)), jnp.array([True, False]), jnp.zeros((1, 1, 1))]
    tree["zeros"] = jnp.array([0.0, -0.0, np.nan, -np.nan, np.inf, 5e-324])
    tree["keys"] = [jax.random.key(1), jax.random.split(jax.random.key(2, impl="rbg"), (2, 3))]
    with Checkpoints(tmp_path / "new" / "folder") as checkpoints:
        checkpoints.save(0, tree)
        restored = checkpoints.restore(tree)
    assert (restored.step, restored.facts) == (0, {})
    assert_equal(restored.tree, tree)


def test_newest_step_and_its_facts(two_steps):
    like = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), a_tree())
    checkpoints = Checkpoints(two_steps)
    restored = checkpoints.restore(like)
    assert (restored.step, restored.facts, checkpoints.skipped) == (2, {"epoch": 2}, [])
    assert_equal(restored.tree, a_tree(2))


def test_no_steps(tmp_path):
    (tmp_path / "3.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "4").touch()
    (tmp_path / "notes").mkdir()
    for folder in (tmp_path, tmp_path / "absent"):
        with Checkpoints(folder) as checkpoints:
            assert checkpoints.restore(a_tree()) is None
            assert checkpoints.steps() == []
    assert not (tmp_path / "absent").exists()


def test_the_newest_stay_and_remains_of_killed_runs_go(folder):
    remains = folder / "9.orbax-checkpoint-tmp" / "arrays"
    remains.mkdir(parents=True)
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.restore(a_tree()).step == 2
        assert remains.exists()  # it might be another run's
        checkpoints.save(3, a_tree(3))
        checkpoints.save(5, a_tree(5))
        assert checkpoints.steps() == [3, 5]
    assert sorted(path.name for path in folder.iterdir()) == ["3", "5"]
    assert_equal(Checkpoints(folder).restore(a_tree()).tree, a_tree(5))


@pytest.mark.parametrize("step", [1, 2])
def test_steps_go_up(folder, step):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, a_tree(3))
        with pytest.raises(SettingError, match=rf"{folder}: expected a step after 3, .* got {step}; restore"):
            checkpoints.save(step, a_tree())
        with pytest.raises(SettingError, match="expected a step after 3, the newest there, got 3"):
            checkpoints.save(3, a_tree())
    assert_equal(Checkpoints(folder).restore(a_tree()).tree, a_tree(3))


def test_arrays_may_be_donated_at_once(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda array: array + 1, tree), donate_argnums=0)
    tree = {"large": jnp.zeros(10**6), "small": jnp.zeros(3)}
    with Checkpoints(tmp_path) as checkpoints:
        for number in range(5):
            checkpoints.save(number, tree)
            tree = step(tree)
            restored = checkpoints.restore(tree)
            assert restored.step == number
            assert all((array == number).all() for array in restored.tree.values())


def test_another_model_is_not_damage(two_steps):
    like = a_tree()
    like["params"]["conv1.bias"] = jnp.zeros(4, jnp.bfloat16)
    with pytest.raises(CheckpointsDiffer) as error:
        Checkpoints(two_steps).restore(like)
    assert str(error.value).startswith(f"{two_steps / '2'}: expected the arrays of the current model")
    assert "params/conv1.bias (saved float32 (3,), here bfloat16 (4,))" in str(error.value)


@pytest.mark.parametrize("failure", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")])
def test_a_failing_machine_is_not_damage(two_steps, monkeypatch, failure):
    def read(*arguments):
        raise ValueError("wrapped") from failure

    monkeypatch.setattr(step_files, "read_arrays", read)
    with pytest.raises(ValueError, match="wrapped"):
        Checkpoints(two_steps).restore(a_tree())


@contextlib.contextmanager
def small_disk():
    """Files cannot grow past 20 kB, as on a full disk; pytest may write to a file, so not in a fixture."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_again(checkpoints):
    checkpoints.save(4, a_tree(4))


@pytest.mark.parametrize("then", [Checkpoints.wait, Checkpoints.close, Checkpoints.steps, save_again])
def test_a_full_disk_is_told_by_the_next_call(folder, then):
    checkpoints = Checkpoints(folder)
    with small_disk():
        checkpoints.save(3, {"large": jnp.asarray(np.random.default_rng(0).normal(size=30_000))})
        with pytest.raises(CheckpointsNotSaved, match=rf"{folder}: step 3 could not be saved: .*too large"):
            then(checkpoints)
    assert checkpoints.steps() == [1, 2]


def test_after_a_full_disk(folder):
    checkpoints = Checkpoints(folder)
    with small_disk():
        checkpoints.save(3, {"large": jnp.asarray(np.random.default_rng(0).normal(size=30_000))})
        with pytest.raises(CheckpointsNotSaved):
            checkpoints.wait()
    with checkpoints:
        assert checkpoints.restore(a_tree()).step == 2
        checkpoints.save(3, a_tree(3))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["file", "file/folder"])
def test_a_folder_that_cannot_be_made(tmp_path, name):
    (tmp_path / "file").touch()
    with (
        Checkpoints(tmp_path / name) as checkpoints,
        pytest.raises(
            CheckpointsNotSaved, match=rf"{tmp_path / name}: step 1 could not be saved: NotADirectory"
        ),
    ):
        checkpoints.save(1, a_tree())


def test_bad_arguments(tmp_path):
    with pytest.raises(SettingError, match="keep: expected at least 1 step, got 0"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(SettingError, match="expected a folder, got the URL gs://bucket/run; mount it"):
        Checkpoints("gs://bucket/run")
    with Checkpoints(tmp_path / "new") as checkpoints:
        for tree in ({}, {"empty": jnp.zeros((0, 3))}):
            with pytest.raises(ArrayError, match="expected a tree of jax arrays to save, got one without"):
                checkpoints.save(1, tree)
        with pytest.raises(WrongTypeError, match="facts: expected what JSON can hold"):
            checkpoints.save(1, a_tree(), {"array": jnp.zeros(2)})
        with pytest.raises(WrongTypeError, match=r"a: expected a jax.Array, got ndarray"):
            checkpoints.save(1, {"a": np.zeros(2)})
        with pytest.raises(WrongTypeError, match=r"a: expected a jax.Array, got ndarray"):
            checkpoints.restore({"a": np.zeros(2)})
    assert not (tmp_path / "new").exists()
