"""Value and gradient of the training loss against PyTorch's, in float64."""

import jax
import numpy as np
import pytest

from fcn_jax.training.losses import cross_entropy, fcn_loss
from tests.parity.sides import from_torch, relative_error, to_torch, torch, torch_loss
from tests.seeded import seeded_images

pytestmark = pytest.mark.usefixtures("float64")

NUM_CLASSES = 5
SIZE = (2, 11, 7)
WEIGHTS = (0.3, 1.7, 0.9, 2.4, 0.1)


def drawn_logits(seed: int = 0) -> np.ndarray:
    """Draws logits far enough apart that some pixels are confident."""
    return 6 * np.random.RandomState(seed).standard_normal((*SIZE, NUM_CLASSES))


def drawn_labels(ignore_label: int, classes: int = NUM_CLASSES) -> np.ndarray:
    """Draws labels; in one image a third of the pixels is void, in the other one row."""
    random = np.random.RandomState(1)
    labels = random.randint(0, classes, SIZE)
    labels[0][random.uniform(size=SIZE[1:]) < 1 / 3] = ignore_label
    labels[1, 4] = ignore_label
    return labels


def compare(ours, theirs, logits: np.ndarray) -> None:
    """Compares value and gradient of two losses, each a function of logits."""
    value, gradient = jax.value_and_grad(ours)(logits)
    tensor = to_torch(logits).requires_grad_()
    expected = theirs(tensor)
    expected.backward()
    assert relative_error(value, expected.detach()) < 1e-14  # seen: 1e-15
    assert relative_error(gradient, from_torch(tensor.grad)) < 1e-13  # seen: 5e-16


@pytest.mark.parametrize("ignore_label", [255, -1, 2])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_the_mean_equals_torchs(ignore_label, weights, smoothing):
    labels = drawn_labels(ignore_label)

    def ours(logits):
        return cross_entropy(
            logits, labels, ignore_label=ignore_label, class_weights=weights, label_smoothing=smoothing
        )

    def theirs(logits):
        return torch.nn.functional.cross_entropy(
            logits,
            torch.from_numpy(labels),
            weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
            ignore_index=ignore_label,
            label_smoothing=smoothing,
        )

    compare(ours, theirs, drawn_logits())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_the_sum_equals_torchs_sum_over_the_number_of_images(weights):
    """Caffe's SoftmaxWithLoss with `normalize: false` divides only by the number of images."""
    labels = drawn_labels(255)

    def theirs(logits):
        weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
        total = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(labels), weight=weight, ignore_index=255, reduction="sum"
        )
        return total / len(labels)

    compare(
        lambda logits: cross_entropy(logits, labels, class_weights=weights, reduction="sum"),
        theirs,
        drawn_logits(),
    )


def test_the_heads_are_weighted_like_torchvisions():
    labels = drawn_labels(255)
    auxiliary = drawn_logits(seed=3)
    out = drawn_logits()

    compare(
        lambda logits: fcn_loss({"out": logits, "aux": auxiliary}, labels),
        lambda logits: torch_loss({"out": logits, "aux": to_torch(auxiliary)}, torch.from_numpy(labels)),
        out,
    )
    compare(
        lambda logits: fcn_loss({"out": out, "aux": logits}, labels),
        lambda logits: torch_loss({"out": to_torch(out), "aux": logits}, torch.from_numpy(labels)),
        auxiliary,
    )


def test_huge_logits_overflow_on_neither_side():
    images = seeded_images(*SIZE)
    logits = 1e4 * np.concatenate([images, images[..., :2]], axis=-1)
    labels = drawn_labels(255)
    compare(
        lambda logits: cross_entropy(logits, labels),
        lambda logits: torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), ignore_index=255),
        logits,
    )
