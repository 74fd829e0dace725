"""A run as a library sees it: begun, stopped, gone on with; and what befalls its folder.

What needs processes of their own, kills above all, is in tests/scripts/test_train.py.
"""

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import fcn_jax
from fcn_jax.algorithms.gradients import convolve_by_product_both_ways
from fcn_jax.datasets import DatasetError, Sample, Scenes
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.stream import WorkerError
from fcn_jax.errors import CheckpointError, SettingError
from fcn_jax.evaluation import ConfusionMatrix
from fcn_jax.training import DivergedError, OutputError, Run
from fcn_jax.training.checkpointing.checkpoints import Checkpoints, CheckpointsNotSaved
from fcn_jax.training.evaluations import best_of
from tests.training.tiny_run import (
    assert_same_weights,
    kinds,
    metrics,
    stopping_after,
    tiny_config,
    tiny_run,
)
from weights_converter import load_model_file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing befell; not to be changed."""
    output = tmp_path_factory.mktemp("whole")
    assert tiny_run(output).train() == 0
    return output


@pytest.fixture
def finished(tmp_path, whole):
    """A copy to change."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def steps(output):
    return Checkpoints(output / "checkpoints").steps()


def test_what_a_run_leaves(whole):
    assert kinds(whole) == ["train"] * 3 + ["eval"] + ["train"] * 3 + ["eval"]
    assert sorted(path.name for path in (whole / "sheets").iterdir()) == [
        "step0000003.png",
        "step0000006.png",
    ]
    assert steps(whole) == [4, 6]
    for name in ("curves.png", "config.json", "best.safetensors", "last.safetensors"):
        assert (whole / name).stat().st_size > 0
    best = json.loads(load_model_file(whole / "best.safetensors").metadata["evaluation"])
    scored = {line["step"]: line["mean_iou"] for line in metrics(whole) if line["kind"] == "eval"}
    assert (best["step"], best["mean_iou"]) == best_of(scored)
    model = fcn_jax.load_model(whole / "last.safetensors")
    assert model.categories == Scenes.categories
    np.testing.assert_array_equal(model.meta.colours()[1], Scenes(1).palette[1])  # the dataset's own
    assert model.spec.fc_features == 8


@pytest.mark.slow
def test_progress_is_counted(tmp_path):
    counts = []
    run = tiny_run(tmp_path, on_progress=lambda *count: counts.append(count), steps=2, eval_every=9)
    assert run.train() == 0
    assert counts == [(0, 2), (1, 2), (2, 2)]
    assert len(run.losses) == run.done == run.steps == 2
    assert run.record.keys() == {"loss", "lr", "gradient_norm", "images_per_second"}


def test_training_uses_the_algorithms_of_its_platform_and_the_model_stays_plain(tmp_path):
    with tiny_run(tmp_path) as run:
        run.prepare()
        trained = run.objective.structure.merge(run.state.params | run.state.rest)
        assert trained.score_fr.conv_general_dilated is convolve_by_product_both_ways  # on a CPU
        assert run.model.score_fr.conv_general_dilated is not convolve_by_product_both_ways


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, whole, number, caplog):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    for step in (1, 4):
        run = tiny_run(tmp_path, on_progress=stopping_after(step, number))
        assert run.train() == 128 + number
        assert steps(tmp_path)[-1] == run.done in (step, step + 1)  # the step under way was finished
        assert (tmp_path / "last.safetensors").exists()
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    with caplog.at_level("INFO", "fcn_jax"):
        assert tiny_run(tmp_path).train() == 0
    assert caplog.messages[-1].startswith("done: best mean IoU")
    for name in ("best.safetensors", "last.safetensors"):
        assert_same_weights(whole / name, tmp_path / name)
    assert metrics(tmp_path) == metrics(whole)


def test_other_classes_are_named_before_their_arrays_differ(finished):
    class Fewer(Scenes):
        categories = Scenes.categories[:-1]

    run = Run(tiny_config(finished), train_set=Fewer(6, (40, 50)), val_set=Fewer(3, (33, 47), seed=1))
    with pytest.raises(DatasetError, match=r"expected the classes that this run began with \(background, "):
        run.train()


@pytest.mark.slow
def test_what_may_change_between_starts(tmp_path, whole):
    tiny_run(tmp_path, on_progress=stopping_after(3)).train()
    assert tiny_run(tmp_path, checkpoint_every=5, keep=1, workers=1).train() == 0
    assert_same_weights(whole / "last.safetensors", tmp_path / "last.safetensors")


def test_a_run_that_is_done_has_nothing_left_to_do(finished, whole):
    assert tiny_run(finished).train() == 0
    assert metrics(finished) == metrics(whole)
    assert tiny_run(finished, eval_limit=1).train() == 0
    assert kinds(finished)[-2:] == ["eval", "eval"]  # other scores


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"seed": 4, "lr": 2e-3},
            SettingError,
            "other settings (lr: was 0.001, is 0.002; seed: was 0, is 4)",
        ),
        ({"pictures": 7}, DatasetError, "expected the pictures that this run began with, got others"),
        ({"resume": "never"}, SettingError, "there is a run in this folder already"),
    ],
)
@pytest.mark.parametrize("config", ["there", "deleted"])
def test_another_run_in_the_folder(finished, whole, changes, kind, message, config):
    if config == "deleted":
        (finished / "config.json").unlink()
    with pytest.raises(kind) as error:
        tiny_run(finished, **changes).train()
    assert str(error.value).startswith(f"{finished}: ")
    assert message in str(error.value)
    assert_same_weights(whole / "last.safetensors", finished / "last.safetensors")


def test_a_run_must_be_there(tmp_path):
    with pytest.raises(SettingError, match="resume: expected a checkpoint to resume from, got none"):
        tiny_run(tmp_path, resume="must").train()


def test_one_run_at_a_time(tmp_path):
    def state():
        return {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}

    with tiny_run(tmp_path) as first:
        first.open_folder()
        before = state()
        with pytest.raises(OutputError, match=f"{tmp_path}: another run is writing to this folder; wait"):
            tiny_run(tmp_path).train()
        assert state() == before
    with tiny_run(tmp_path) as second:
        second.open_folder()


def test_remains_of_killed_runs_are_removed(finished):
    remains = [
        finished / ".best.0123456789abcdef.partial.safetensors",
        finished / "sheets" / ".step0000003.0123456789abcdef.partial.png",
    ]
    for path in remains:
        path.touch()
    assert tiny_run(finished).train() == 0
    assert not any(path.exists() for path in remains)


@pytest.mark.slow
def test_a_signal_during_an_evaluation_leaves_it_to_the_next_start(tmp_path, monkeypatch):
    update = ConfusionMatrix.update

    def ask(self, labels, predictions):
        signal.raise_signal(signal.SIGTERM)
        update(self, labels, predictions)

    with monkeypatch.context() as patch:
        patch.setattr(ConfusionMatrix, "update", ask)
        assert tiny_run(tmp_path, steps=1).train() == 143
    assert kinds(tmp_path) == ["train"]
    assert (tmp_path / "last.safetensors").exists()
    assert not (tmp_path / "best.safetensors").exists()
    assert tiny_run(tmp_path, steps=1).train() == 0
    assert kinds(tmp_path) == ["train", "eval"]
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_with_a_diagnosis(tmp_path):
    wild = tiny_run(tmp_path, optimizer="sgd", lr=1e25)
    with pytest.raises(DivergedError) as error:
        wild.train()
    message = str(error.value)
    assert message.startswith(f"step {wild.done} gave a loss or a gradient that is not finite")
    assert "pictures in its batch: scene_" in message
    assert f"give {tmp_path / 'last.safetensors'} as weights" in message
    assert steps(tmp_path)[-1] == wild.done  # saved as it was before that step


class Void(Scenes):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample(sample.image, np.full_like(sample.labels, 255))


def test_a_validation_set_without_a_class(tmp_path):
    run = Run(
        tiny_config(tmp_path, steps=1), train_set=Scenes(2, (40, 50)), val_set=Void(2, (33, 47), seed=1)
    )
    assert run.train() == 0
    assert metrics(tmp_path)[-1]["mean_iou"] is None
    assert (tmp_path / "best.safetensors").exists()


def test_classes_must_be_the_same_in_both_sets(tmp_path):
    others = Scenes(2, (33, 47))
    others.categories = ("one", "two")
    run = Run(tiny_config(tmp_path), train_set=Scenes(2, (40, 50)), val_set=others)
    with pytest.raises(DatasetError, match=r"expected a validation set with .* got one, two"):
        run.train()


# What befalls the files beside the checkpoints


@pytest.mark.parametrize("damage", [b"{", b"\xff\x00", b"[]"])
def test_a_damaged_config_is_moved_aside(finished, caplog, damage):
    (finished / "config.json").write_bytes(damage)
    assert tiny_run(finished).train() == 0
    assert (finished / "config-damaged.json").read_bytes() == damage
    assert f"{finished / 'config.json'}: damaged (" in caplog.text
    assert (finished / "config.json").read_bytes() != damage
    (finished / "config.json").write_bytes(damage)
    with pytest.raises(SettingError, match="seed: was 0, is 1"):  # the checkpoint knows
        tiny_run(finished, seed=1).train()


def test_damaged_metrics_are_moved_aside(finished, whole, caplog):
    path = finished / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:2], b"noise\n", *lines[3:]])
    path.write_bytes(damaged)
    assert tiny_run(finished).train() == 0
    assert (finished / "metrics-damaged.jsonl").read_bytes() == damaged
    assert path.read_bytes().splitlines(keepends=True) == [*lines[:2], *lines[3:]]
    assert "no record of a run in line 3" in caplog.text
    assert_same_weights(whole / "best.safetensors", finished / "best.safetensors")


def test_without_the_metrics_the_best_weights_stay_the_best(finished, whole, caplog):
    best = load_model_file(whole / "best.safetensors").metadata["evaluation"]
    (finished / "metrics.jsonl").unlink()
    run = tiny_run(finished)
    assert run.train() == 0
    assert kinds(finished) == []  # the checkpoint knows that the last step was scored
    assert "metrics.jsonl is missing" in caplog.text
    assert load_model_file(finished / "best.safetensors").metadata["evaluation"] == best
    assert f'"step": {run.evaluations.best.step}' in best


@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_the_best_weights_are_written_again_where_they_are_at_hand(tmp_path, caplog, damage):
    once = {"steps": 2, "eval_every": 9}  # so that the last step's weights are the best
    assert tiny_run(tmp_path, **once).train() == 0
    best = tmp_path / "best.safetensors"
    before = best.read_bytes()
    if damage == "deleted":
        best.unlink()
    else:
        best.write_bytes(before[:-100])
    assert tiny_run(tmp_path, **once).train() == 0
    assert f"{best} was missing: written again with the weights after step 2" in caplog.text
    assert (tmp_path / "best-damaged.safetensors").exists() == (damage == "cut")
    assert best.read_bytes() == before


def test_lost_best_weights_are_reported(finished, caplog):
    (finished / "best.safetensors").unlink()
    assert tiny_run(finished).train() == 0
    assert (
        "best.safetensors is missing: it held the only copy of the weights after step 3 (mean IoU 0.1"
        in caplog.text
    )
    assert not (finished / "best.safetensors").exists()


def test_litter_of_two_damages_has_two_names(finished):
    for name in ("config-damaged.json", "config-damaged-2.json"):
        (finished / "config.json").write_text("{")
        assert tiny_run(finished).train() == 0
        assert (finished / name).exists()


# What goes wrong on the way


@contextlib.contextmanager
def small_disk(size):
    """Files cannot grow past a size, as on a full disk; pytest may write to a file, so not in a fixture."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def train(run, size):
    """Trains on a disk that is full from the first step on."""
    run.prepare()
    with small_disk(size):
        for batch in run.batches():
            run.step(batch)
            if run.evaluation_due:
                run.evaluate()
            if run.checkpoint_due:
                run.save()
        run.finish()


@pytest.mark.slow
# Where Orbax cannot write, it abandons coroutines.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("size", "kind", "place"),
    [
        (300, OutputError, "metrics.jsonl"),
        (3_000, CheckpointsNotSaved, "checkpoints"),
        (30_000, CheckpointError, "last.safetensors"),
    ],
)
def test_a_full_disk_is_one_error_that_names_the_place(tmp_path, whole, size, kind, place):
    changes = {"eval_every" if place == "checkpoints" else "checkpoint_every": 9}
    with pytest.raises(kind) as error, tiny_run(tmp_path, **changes) as run:
        train(run, size)
    assert str(error.value).startswith(f"{tmp_path / place}: ")
    assert "File too large" in str(error.value)
    assert tiny_run(tmp_path).train() == 0
    assert metrics(tmp_path) == metrics(whole)
    assert_same_weights(whole / "last.safetensors", tmp_path / "last.safetensors")


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "sheets").touch()
    with pytest.raises(
        OutputError, match=f"{tmp_path / 'sheets'}: cannot be written: File exists; check that"
    ):
        tiny_run(tmp_path, steps=1).train()


@pytest.mark.slow
def test_a_killed_worker_is_one_error_and_its_last_step_is_saved(tmp_path, whole):
    def kill(done, total):
        if done == 3:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    run = tiny_run(tmp_path, workers=1, on_progress=kill, checkpoint_every=9)
    with pytest.raises(
        WorkerError, match=r"has ended: killed by SIGKILL.*; start again with the same settings"
    ):
        run.train()
    assert steps(tmp_path) == [run.done]
    assert run.done >= 3
    assert tiny_run(tmp_path).train() == 0
    assert_same_weights(whole / "last.safetensors", tmp_path / "last.safetensors")
    assert metrics(tmp_path) == metrics(whole)


class Damaged(Scenes):
    def __getitem__(self, index):
        if index == 4:
            raise DatasetError("cannot be read", "four.png")
        return super().__getitem__(index)


def test_a_damaged_picture_is_one_error_and_the_last_step_is_saved(tmp_path):
    run = Run(tiny_config(tmp_path), train_set=Damaged(6, (40, 50)), val_set=Scenes(3, (33, 47), seed=1))
    turn = next(step for step in range(3) if 4 in run_order(step))
    with pytest.raises(DatasetError, match=r"four.png: cannot be read"):
        run.train()
    assert run.done == turn
    assert steps(tmp_path)[-1:] == [turn][: turn > 0]


def run_order(step):
    return Batches(Scenes(6, (40, 50)), batch_size=2, seed=0).indices(step)
