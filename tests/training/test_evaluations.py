"""Which evaluations count, and which weights are the best of them."""

import json
import math

import pytest

import fcn_jax
from fcn_jax.datasets import Scenes
from fcn_jax.training.evaluations import Evaluations, best_of, evenly, same_scoring
from fcn_jax.training.output import RunFolder
from fcn_jax.training.setup import build_model
from tests.training.tiny_run import tiny_config


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    scenes = Scenes(1)
    return build_model(tiny_config(tmp_path_factory.mktemp("unused")), scenes.categories, scenes.palette)


@pytest.fixture
def evaluations(model, tmp_path):
    return Evaluations(model, Scenes(3, (33, 47)), tiny_config(tmp_path), RunFolder(tmp_path), (0, 1))


def evaluated(step, score, pictures=2):
    return {"step": step, "mean_iou": score, "pictures": pictures, "split": "val", "size": "original"}


def save_best(evaluations, model, step, score, pictures=2):
    facts = json.dumps(evaluated(step, score, pictures))
    fcn_jax.save_weights(model, evaluations.folder.best, facts={"evaluation": facts})


def test_scores_of_before_are_those_taken_in_the_same_way():
    taken = [(2, 0.3, 5), (4, 0.9, 9), (6, None, 5), (8, 0.3, 5), (10, 0.5, 5)]
    scored = same_scoring([evaluated(*each) for each in taken], {"pictures": 5}, 8)
    assert list(scored) == [2, 6, 8]
    assert math.isnan(scored[6])
    assert best_of(scored) == (2, 0.3)  # the first of equals
    assert best_of({6: math.nan}).step == 6


def test_pictures_are_evenly_spread():
    assert evenly(9, None) == list(range(9))
    assert evenly(9, 3) == [0, 4, 8]
    assert evenly(9, 1) == [0]
    assert evenly(2, 5) == [0, 1]


def test_the_best_weights_know_their_score(evaluations, model, caplog):
    """Whatever the checkpoint and the metrics know, or do not."""
    save_best(evaluations, model, 3, 0.5)
    evaluations.restore([], 6)
    assert evaluations.best == (3, 0.5)
    evaluations.restore([evaluated(6, 0.4)], 6)
    assert (evaluations.best, evaluations.scored) == ((3, 0.5), {6: 0.4})
    assert evaluations.facts() == [evaluated(6, 0.4)]
    assert caplog.messages == []


def test_weights_of_another_scoring_do_not_count(evaluations, model, caplog):
    save_best(evaluations, model, 3, 0.5, pictures=3)
    evaluations.restore([evaluated(3, 0.5, 3)], 6)
    assert (evaluations.best, evaluations.scored) == (None, {})
    assert caplog.messages == []


def test_best_weights_of_an_older_version(evaluations, model):
    fcn_jax.save_weights(model, evaluations.folder.best)
    evaluations.restore([evaluated(3, 0.5), evaluated(6, 0.4)], 6)
    assert evaluations.best == (3, 0.5)


def test_lost_weights_are_reported_or_written_again(evaluations, model, caplog):
    evaluations.restore([evaluated(3, 0.5), evaluated(6, 0.4)], 6)
    assert not evaluations.best_is_at_hand(6)
    assert evaluations.best is None
    assert "held the only copy of the weights after step 3 (mean IoU 0.5000)" in caplog.text
    evaluations.restore([evaluated(3, 0.4), evaluated(6, 0.5)], 6)
    assert evaluations.best_is_at_hand(6)
    evaluations.save_best_again(model, 6)
    assert evaluations.best == (6, 0.5)
    evaluations.restore([evaluated(3, 0.4), evaluated(6, 0.5)], 6)
    assert not evaluations.best_is_at_hand(6)
