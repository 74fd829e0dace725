"""The loss where PyTorch has no answer or another, and its errors; values are compared in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.training.losses import cross_entropy, fcn_loss, loss_denominator

NUM_CLASSES = 4
SIZE = (2, 5, 3)


@pytest.fixture
def logits():
    values = np.random.RandomState(0).standard_normal((*SIZE, NUM_CLASSES))
    return jnp.asarray(3 * values, jnp.float32)


@pytest.fixture
def labels():
    return np.random.RandomState(1).randint(0, NUM_CLASSES, SIZE).astype(np.uint8)


def loop(logits, labels, ignore_label, weights=(1.0,) * NUM_CLASSES) -> float:
    """Adds up the pixels one by one."""
    total, count = 0.0, 0.0
    for scores, label in zip(
        np.asarray(logits, np.float64).reshape(-1, NUM_CLASSES), labels.ravel(), strict=True
    ):
        if label != ignore_label:
            total += weights[label] * (np.log(np.exp(scores).sum()) - scores[label])
            count += weights[label]
    return total / count


@pytest.mark.parametrize("ignore_label", [255, 3, 77])
def test_the_mean_is_over_the_pixels_that_have_a_class(logits, labels, ignore_label):
    labels[0, :2] = ignore_label
    labels[1, 4, 1] = ignore_label
    loss = cross_entropy(logits, labels, ignore_label=ignore_label)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, loop(logits, labels, ignore_label), rtol=1e-6)  # seen: 9e-8


def test_weighted_pixels_count_by_their_weight(logits, labels):
    labels[0, 3] = 255
    weights = (0.25, 3.0, 0.0, 1.5)
    loss = cross_entropy(logits, labels, class_weights=weights)
    np.testing.assert_allclose(loss, loop(logits, labels, 255, weights), rtol=1e-6)  # seen: 3e-9


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_a_valid_pixel_loss_and_gradient_are_zero(logits, labels, reduction, smoothing):
    labels[:] = 255
    loss, gradient = jax.value_and_grad(cross_entropy)(
        logits, labels, reduction=reduction, label_smoothing=smoothing
    )
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_classes_without_weight_alone_give_zero(logits, labels):
    labels[:] = 2
    loss, gradient = jax.value_and_grad(cross_entropy)(logits, labels, class_weights=(1, 1, 0, 1))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@pytest.mark.parametrize("label", [NUM_CLASSES, 254, -1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_label_outside_the_classes_gives_nan(logits, labels, label, reduction):
    labels = labels.astype(np.int32)
    assert jnp.isfinite(cross_entropy(logits, labels, reduction=reduction))
    labels[1, 2, 0] = label
    assert jnp.isnan(cross_entropy(logits, labels, reduction=reduction))


def test_bfloat16_logits_are_computed_in_float32(logits, labels):
    half = logits.astype(jnp.bfloat16)
    loss, gradient = jax.value_and_grad(cross_entropy)(half, labels)
    assert loss.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    assert loss == cross_entropy(half.astype(jnp.float32), labels)


def test_the_sum_is_divided_by_the_images(logits, labels):
    labels[0] = 255
    mean = cross_entropy(logits, labels)
    total = cross_entropy(logits, labels, reduction="sum")
    np.testing.assert_allclose(total, mean * 15 / 2, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 0.25)])
def test_parts_of_a_batch_add_up_to_its_loss(logits, labels, reduction, weights):
    labels[0, 1:] = 255
    settings = {"class_weights": weights, "reduction": reduction}
    denominator = loss_denominator(labels, NUM_CLASSES, **settings)
    parts = [
        cross_entropy(logits[part], labels[part], denominator=denominator, **settings)
        for part in (slice(0, 1), slice(1, 2))
    ]
    np.testing.assert_allclose(sum(parts), cross_entropy(logits, labels, **settings), rtol=1e-6)


def test_more_pixels_than_float32_can_count_one_by_one():
    labels = np.zeros((1, 4097, 4097), np.uint8)  # 2**24 + 8193 pixels
    labels[0, 0, 0] = 255
    count = jax.jit(loss_denominator, static_argnums=1)(labels, 1)
    assert int(count) == 4097**2 - 1


def test_heads_are_weighed(logits, labels):
    heads = {"out": logits, "aux": -logits}
    out, aux = cross_entropy(logits, labels), cross_entropy(-logits, labels)
    np.testing.assert_allclose(fcn_loss(heads, labels), out + 0.5 * aux, rtol=1e-6)
    np.testing.assert_allclose(fcn_loss(heads, labels, aux_weight=2.0), out + 2 * aux, rtol=1e-6)
    assert fcn_loss({"out": logits}, labels) == out


@pytest.mark.parametrize(
    "shapes",
    [((2, 5, 3, 4), (2, 3, 5)), ((2, 5, 3), (2, 5)), ((5, 3, 4), (5, 3)), ((2, 5, 3, 4), (2, 5, 3, 1))],
)
def test_shapes_that_do_not_fit(shapes):
    logits, labels = shapes
    with pytest.raises(ArrayError, match=r"expected logits .* and labels"):
        cross_entropy(jnp.zeros(logits), jnp.zeros(labels, jnp.int32))


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_label_smoothing_out_of_range(logits, labels, share):
    with pytest.raises(SettingError, match=r"label_smoothing: expected a share in \[0, 1\), got"):
        cross_entropy(logits, labels, label_smoothing=share)


def test_an_unknown_reduction(logits, labels):
    with pytest.raises(SettingError, match='reduction: expected "mean" or "sum", got \'none\''):
        cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("weights", [(1.0, 2.0), [[1.0, 2.0, 3.0, 4.0]], 1.0])
def test_class_weights_of_another_length(logits, labels, weights):
    with pytest.raises(ArrayError, match="class_weights: expected 4 numbers, got shape"):
        cross_entropy(logits, labels, class_weights=weights)
