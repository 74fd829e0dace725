"""Losses beside cross-entropy: their published definitions, what they leave out, and what they refuse.

`tests/stored/smp_losses.npz` has what segmentation_models_pytorch computes, made by
`python -m tests.parity.store_losses`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.training.losses import (
    boundary_cross_entropy,
    cross_entropy,
    dice_loss,
    focal_loss,
    jaccard_loss,
    lovasz_loss,
    near_boundary,
    ohem_cross_entropy,
    read_loss,
    tversky_loss,
)
from tests.smp_losses import CASES, drawn, stored
from tests.training import losses_by_numpy

SIZE = (2, 9, 7)
WEIGHTS = (0.3, 1.7, 0.9, 2.4, 0.1)
LOSSES = {  # name: (ours, the definition, whether it takes class weights for one logit)
    "ce": (cross_entropy, losses_by_numpy.cross_entropy, True),
    "focal": (
        functools.partial(focal_loss, gamma=1.5),
        functools.partial(losses_by_numpy.focal, gamma=1.5),
        True,
    ),
    "dice": (dice_loss, functools.partial(losses_by_numpy.tversky, alpha=0.5, beta=0.5), False),
    "jaccard": (jaccard_loss, functools.partial(losses_by_numpy.tversky, alpha=1, beta=1), False),
    "tversky": (
        functools.partial(tversky_loss, alpha=0.3, beta=0.7),
        functools.partial(losses_by_numpy.tversky, alpha=0.3, beta=0.7),
        False,
    ),
    "lovasz": (lovasz_loss, losses_by_numpy.lovasz, False),
}
ALL = {name: loss for name, (loss, *_) in LOSSES.items()} | {
    "ohem": ohem_cross_entropy,
    "boundary": boundary_cross_entropy,
}


@functools.cache
def pixels(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws logits and labels, void in places; the last of several classes is in no label."""
    random = np.random.RandomState(num_classes)
    labels = random.randint(0, 2 if num_classes == 1 else num_classes - 1, SIZE)
    labels[0, :3] = 255
    labels[1, 4] = 255
    return 3 * random.standard_normal((*SIZE, num_classes)), labels


@pytest.mark.parametrize("num_classes", [1, 5])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.usefixtures("float64")
def test_losses_are_as_published(name, num_classes):
    ours, published, _ = LOSSES[name]
    logits, labels = pixels(num_classes)
    assert (
        abs(ours(jnp.asarray(logits), jnp.asarray(labels)) - published(logits, labels)) < 1e-12
    )  # seen: 7e-15


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.usefixtures("float64")
def test_weights_of_the_classes(name):
    ours, published, binary = LOSSES[name]
    for num_classes, weights in [(5, WEIGHTS), *([(1, (0.4, 3.0))] if binary else [])]:
        logits, labels = pixels(num_classes)
        found = ours(jnp.asarray(logits), jnp.asarray(labels), class_weights=weights)
        assert abs(found - published(logits, labels, weights=weights)) < 1e-12  # seen: 7e-15


@pytest.mark.usefixtures("float64")
def test_the_mean_over_the_classes_that_occur():
    logits, labels = pixels(5)
    found = dice_loss(jnp.asarray(logits), jnp.asarray(labels), present=True)
    assert abs(found - losses_by_numpy.tversky(logits, labels, 0.5, 0.5, present=True)) < 1e-12
    np.testing.assert_allclose(found, dice_loss(jnp.asarray(logits), jnp.asarray(labels)) * 5 / 4, rtol=1e-12)


@pytest.mark.parametrize("num_classes", [1, 5])
@pytest.mark.parametrize(("threshold", "least"), [(0.7, 0.0), (0.05, 0.0), (0.05, 0.5), (0.3, 1.0)])
@pytest.mark.usefixtures("float64")
def test_the_hardest_pixels(num_classes, threshold, least):
    logits, labels = pixels(num_classes)
    found = ohem_cross_entropy(jnp.asarray(logits), jnp.asarray(labels), threshold=threshold, least=least)
    assert abs(found - losses_by_numpy.ohem(logits, labels, threshold, least)) < 1e-12  # seen: 7e-15


@pytest.mark.parametrize("num_classes", [1, 5])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.usefixtures("float64")
def test_the_pixels_near_a_boundary(num_classes, width):
    logits, labels = pixels(num_classes)
    labels = np.where(np.arange(SIZE[2]) < 4, labels, 0)  # on the right no boundary is near
    labels[:, :, -2:] = 0
    near = near_boundary(jnp.asarray(labels), width)
    assert not near[:, :, -1].any()
    assert near.any()
    found = boundary_cross_entropy(jnp.asarray(logits), jnp.asarray(labels), width=width)
    assert abs(found - losses_by_numpy.boundary(logits, labels, width)) < 1e-12  # seen: 7e-15


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("float64")
def test_losses_are_those_of_segmentation_models_pytorch(case):
    """Values and gradients that it computed in float64."""
    num_classes = CASES[case]
    kind, _, mode = case.partition("/")
    logits, labels = drawn(num_classes)
    ours = {
        "dice": dice_loss,
        "jaccard": jaccard_loss,
        "tversky": functools.partial(tversky_loss, alpha=0.3, beta=0.7),
        "focal": functools.partial(focal_loss, gamma=2.0, one_vs_rest=True),
        "lovasz": lovasz_loss,
    }[kind]
    value, gradient = jax.value_and_grad(ours)(jnp.asarray(logits), jnp.asarray(labels))
    expected = stored()[f"{kind}/{mode}/value"], stored()[f"{kind}/{mode}/gradient"]
    assert abs(value - expected[0]) < 1e-12  # seen: 7e-15
    assert np.abs(gradient - expected[1]).max() < 1e-12 * np.abs(expected[1]).max()  # seen: 7e-15


@functools.cache
def graded(name: str):
    """The loss and its gradient, compiled once for all tests."""
    return jax.jit(jax.value_and_grad(ALL[name]))


@pytest.mark.parametrize("num_classes", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_void_pixels_change_nothing_and_wrong_labels_give_nan(name, num_classes):
    logits, labels = pixels(num_classes)
    logits = jnp.asarray(logits, jnp.float32)
    value, gradient = graded(name)(logits, labels)
    other = jnp.where((labels == 255)[..., None], 7.0, logits)
    assert graded(name)(other, labels)[0] == value
    assert not gradient[labels == 255].any()
    wrong = labels.copy()
    wrong[1, 0, 0] = 5 if num_classes == 5 else 2
    assert jnp.isnan(graded(name)(logits, wrong)[0])
    value, gradient = graded(name)(logits, np.full_like(labels, 255))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("num_classes", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_bfloat16_is_computed_in_float32_and_large_logits_stay_finite(name, num_classes):
    logits, labels = pixels(num_classes)
    for scale in (1.0, 1e4):
        half = jnp.asarray(scale * logits, jnp.bfloat16)
        value, gradient = graded(name)(half, labels)
        assert value.dtype == jnp.float32
        assert value == graded(name)(half.astype(jnp.float32), labels)[0]
        assert jnp.isfinite(value)
        assert gradient.dtype == jnp.bfloat16
        assert jnp.isfinite(gradient).all()


def test_labels_may_be_numpys_own_integers():
    logits, labels = pixels(5)
    assert labels.dtype == np.int64
    logits = jnp.asarray(logits, jnp.float32)
    assert cross_entropy(logits, labels) == cross_entropy(logits, labels.astype(np.uint8))


def test_no_foreground_at_all():
    logits, _ = pixels(1)
    logits, labels = jnp.asarray(logits), np.zeros(SIZE, np.uint8)
    assert dice_loss(logits, labels) == 0  # it looks at the foreground alone
    assert lovasz_loss(logits, labels) == pytest.approx(float(1 + logits.max()))  # the worst pixel


def test_a_sum_of_losses():
    logits, labels = (jnp.asarray(each) for each in pixels(5))
    loss = read_loss("0.5*ce + tversky:alpha=0.3,beta=0.7+2*dice:present=1")
    expected = (
        0.5 * cross_entropy(logits, labels, class_weights=WEIGHTS, label_smoothing=0.1)
        + tversky_loss(logits, labels, alpha=0.3, beta=0.7, class_weights=WEIGHTS)
        + 2 * dice_loss(logits, labels, present=True, class_weights=WEIGHTS)
    )
    found = loss(logits, labels, class_weights=WEIGHTS, label_smoothing=0.1, reduction="mean")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("text", ["ce", "focal:gamma=1", "ce+2*boundary:width=1"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_parts_of_a_batch_add_up_to_its_loss(text, reduction):
    logits, labels = (jnp.asarray(each) for each in pixels(5))
    settings = {"class_weights": WEIGHTS, "reduction": reduction}
    loss = read_loss(text)
    denominators = loss.denominators(labels, 5, dtype=jnp.float32, **settings)
    parts = [
        loss(logits[part], labels[part], denominators=denominators, **settings)
        for part in (slice(1), slice(1, 2))
    ]
    np.testing.assert_allclose(sum(parts), loss(logits, labels, **settings), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "loss: expected losses joined by .+, got ''"),
        ("ce+", "loss: expected losses joined by .+, got ''"),
        ("mse", "each one of ce, focal, boundary, ohem, .*, got 'mse'"),
        ("ce:gamma=2", "loss: expected ce without settings, got 'gamma=2'"),
        ("focal:alpha=2", "loss: expected a setting of focal, one of gamma, got 'alpha=2'"),
        ("focal:gamma=x", "loss: expected a number of at least 0, got 'gamma=x'"),
        ("boundary:width=1.5", "loss: expected a whole number for width, got 'width=1.5'"),
        ("dice:present=2", "loss: expected 0 or 1 for present, got 'present=2'"),
        ("-1*ce", "loss: expected a weight above 0"),
        ("0*ce", "loss: expected a weight above 0"),
    ],
)
def test_text_that_is_no_loss(text, message):
    with pytest.raises(SettingError, match=message):
        read_loss(text)


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("ce+dice", {"reduction": "sum"}, "reduction: dice is no sum over pixels; choose reduction"),
        (
            "ce+lovasz",
            {"accumulate": 2},
            "accumulate: lovasz is of a whole batch and cannot be computed in parts",
        ),
        ("focal", {"label_smoothing": 0.1}, "label_smoothing: only ce smooths labels, not focal"),
        ("dice", {"class_weights": True, "binary": True}, "class_weights: dice of one logit has one class"),
    ],
)
def test_what_a_loss_cannot_do(text, changes, message):
    settings = {
        "reduction": "mean",
        "label_smoothing": 0.0,
        "class_weights": False,
        "accumulate": 1,
        "binary": False,
    }
    read_loss(text).check(**settings)
    with pytest.raises(SettingError, match=message):
        read_loss(text).check(**settings | changes)


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        (focal_loss, {"gamma": -1}, "focal: gamma: expected a number of at least 0, got -1"),
        (tversky_loss, {"alpha": -0.1}, "tversky: alpha, beta: expected numbers of at least 0"),
        (ohem_cross_entropy, {"threshold": 0}, "ohem: threshold: expected a probability above 0"),
        (ohem_cross_entropy, {"least": 2}, "ohem: least: expected a share from 0 to 1"),
        (boundary_cross_entropy, {"width": 0}, "boundary: width: expected a number of pixels, got 0"),
    ],
)
def test_settings_out_of_range(loss, settings, message):
    logits, labels = pixels(5)
    with pytest.raises(SettingError, match=message):
        loss(jnp.asarray(logits), jnp.asarray(labels), **settings)


@pytest.mark.parametrize("name", ALL)
def test_shapes_that_do_not_fit(name):
    with pytest.raises(ArrayError, match=r"expected logits .* and labels"):
        ALL[name](jnp.zeros((2, 5, 3, 4)), jnp.zeros((2, 3, 5), jnp.int32))
    with pytest.raises(ArrayError, match=r"class_weights: expected 2 numbers, got shape \(4,\)"):
        ALL[name](jnp.zeros((2, 5, 3, 1)), jnp.zeros((2, 5, 3), jnp.int32), class_weights=(1, 2, 3, 4))
