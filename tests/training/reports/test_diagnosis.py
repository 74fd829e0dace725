"""What is said of a step that is not finite: the cause that was put there is named, with what to do."""

import numpy as np
import pytest

from fcn_jax.training.reports.diagnosis import diagnose, inspect, summarize
from fcn_jax.training.step import split_batch
from tests.training.small import small_batch, small_model, small_training

GOOD = {
    "step": 7,
    "lr": 0.1,
    "losses": [1.0, 0.9, 0.8, 0.7],
    "loss": float("nan"),
    "logits": {"out": np.ones((1, 2, 2, 3), np.float32)},
    "labels": np.zeros((1, 2, 2), np.uint8),
    "num_classes": 3,
    "gradients": {"conv.kernel": np.ones(3, np.float32)},
    "parameters": {"conv.kernel": np.ones(3, np.float32)},
    "pictures": ["dog", "cat"],
}
BAD = {"conv.kernel": np.array([1, np.nan, 1], np.float32)}


SUMMARIZED = ("loss", "logits", "gradients", "parameters")


def said(**changes):
    facts = GOOD | changes
    found = summarize(*(facts.pop(name) for name in SUMMARIZED))
    return "; ".join(diagnose(found, **facts))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": np.full((1, 2, 2), 9, np.uint8)}, ["beyond the 3 classes: 9", "correct the labels"]),
        (
            {"parameters": BAD},
            ["not finite among the parameters: conv.kernel", "the update before it was too"],
        ),
        ({"parameters": BAD, "losses": []}, ["losses before it: none", "start from other weights"]),
        ({"labels": np.full((1, 2, 2), -1)}, ["beyond the 3 classes: -1", "correct the labels"]),
        ({"gradients": {"conv.kernel": np.full(3, 3e38, np.float32)}}, ["finite numbers: inf", "diverges"]),
        ({"gradients": {"conv.kernel": np.full(4, 1e30, np.float32)}}, ["finite numbers: 2e+30"]),
        ({"gradients": {f"conv{i}.kernel": BAD["conv.kernel"] for i in range(5)}}, ["and 2 more (5 of 5)"]),
        (
            {"gradients": {"conv.kernel": np.full(4, 5e3)}, "loss": 1.0},
            [
                "norm of the gradients' finite numbers: 1e+04",
                "in a second computation, loss, logits and gradients are finite",
                "training diverges",
            ],
        ),
        ({"gradients": BAD}, ["not finite among the gradients: conv.kernel", "try a lower {lr}"]),
        ({"losses": [1.0, 1.0, 1.0, 1.0, 90.0, 900.0]}, ["90, 900", "training diverges"]),
        ({"logits": {"out": np.full((1, 1, 1, 3), np.inf)}}, ["not finite among the logits: out"]),
        ({}, ["step 7", "dog, cat", "learning rate 0.1", 'largest logit of "out": 1']),
    ],
)
def test_the_cause_is_named(change, expected):
    text = said(**change)
    for part in expected:
        assert part in text


def test_a_rise_is_seen_after_a_long_fall():
    fall = [*np.linspace(3, 0.1, 500)]
    assert "was rising" not in said(losses=fall)
    text = said(losses=[*fall, 0.4, 0.9])
    assert "the loss was rising: the median of the last 20 is 0.15" in text
    assert "training diverges" in text


def test_void_is_no_wrong_label():
    assert "beyond" not in said(labels=np.full((1, 2, 2), 255, np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_computed_once_more_is_the_step(count):
    objective, state, step = small_training(small_model(dropout=0.0), accumulate=count)
    batch = small_batch(4)
    parts = split_batch(batch, count)
    found = inspect(objective, state.params, state.rest, batch, parts)
    assert all(good for flags in found.finite.values() for good in flags.values())
    _, metrics = step(state, batch, 0)
    np.testing.assert_allclose(found.loss, metrics["loss"], rtol=1e-6)
    np.testing.assert_allclose(found.gradient_norm, metrics["gradient_norm"], rtol=1e-6)


@pytest.mark.slow
def test_one_bad_part_is_seen():
    objective, state, _ = small_training(small_model())
    batch = small_batch(4)
    batch["images"][0, 3, 3] = np.nan
    found = inspect(objective, state.params, state.rest, batch, split_batch(batch, 2))
    assert found.finite["logits"] == {"aux": False, "out": False}
    assert not found.finite["gradients"]["conv1.kernel"]
    assert all(found.finite["parameters"].values())
    assert all(0 < value < np.inf for value in found.largest.values())
