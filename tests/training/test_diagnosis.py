"""What is said of a step that gave no number: the cause that was put there is named, with what to do."""

import numpy as np
import pytest

from fcn_jax.training.diagnosis import diagnose

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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": np.full((1, 2, 2), 9, np.uint8)}, ["beyond the 3 classes: 9", "mend the labels"]),
        (
            {"parameters": BAD},
            ["not finite among the parameters: conv.kernel", "the update before it was too"],
        ),
        ({"parameters": BAD, "losses": []}, ["losses before it: none", "start from other weights"]),
        ({"labels": np.full((1, 2, 2), -1)}, ["beyond the 3 classes: -1", "mend the labels"]),
        ({"gradients": {"conv.kernel": np.full(3, 1e200)}}, ["as far as finite: inf", "training diverges"]),
        ({"gradients": {f"conv{i}.kernel": BAD["conv.kernel"] for i in range(5)}}, ["and 2 more (5 of 5)"]),
        (
            {"gradients": {"conv.kernel": np.full(4, 5e3)}, "loss": 1.0},
            [
                "norm of the gradients, as far as finite: 1e+04",
                "computed once more, loss, logits and gradients are finite",
                "training diverges",
            ],
        ),
        ({"gradients": BAD}, ["not finite among the gradients: conv.kernel", "try a lower --lr"]),
        ({"losses": [1.0, 1.0, 1.0, 1.0, 90.0, 900.0]}, ["90, 900", "training diverges"]),
        ({"logits": {"out": np.full((1, 1, 1, 3), np.inf)}}, ["not finite among the logits: out"]),
        ({}, ["step 7", "dog, cat", "learning rate 0.1", 'largest logit of "out": 1']),
    ],
)
def test_the_cause_is_named(change, expected):
    text = diagnose(**(GOOD | change))
    for part in expected:
        assert part in text


def test_a_rise_is_seen_after_a_long_fall():
    fall = [*np.linspace(3, 0.1, 500)]
    assert "was rising" not in diagnose(**(GOOD | {"losses": fall}))
    text = diagnose(**(GOOD | {"losses": [*fall, 0.4, 0.9]}))
    assert "the loss was rising: the median of the last 20 is 0.15" in text
    assert "training diverges" in text


def test_void_is_no_wrong_label():
    assert "beyond" not in diagnose(**(GOOD | {"labels": np.full((1, 2, 2), 255, np.uint8)}))
