"""Schedules at their ends, groups by name, and one update each, worked out by NumPy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.errors import SettingError
from fcn_jax.models.arrays import Structure
from fcn_jax.training.optimizers import (
    GROUPS,
    Groups,
    adamw,
    learning_rate,
    read_factors,
    scale_by_name,
    sgd,
    with_factors,
)

PLAIN = Groups(scale=lambda name: 1.0, decays=lambda name: True)


def at(schedule: optax.Schedule, *steps: int) -> list[float]:
    return [float(schedule(jnp.asarray(step, jnp.int32))) for step in steps]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("poly", [0.4, 0.4 * 0.5**0.9, 0.4 * 0.1**0.9, 0, 0]),
        ("cosine", [0.4, 0.2, 0.2 * (1 + np.cos(0.9 * np.pi)), 0, 0]),
        ("constant", [0.4] * 5),
    ],
)
def test_schedules_at_both_ends_and_after(kind, expected):
    schedule = learning_rate(kind, 0.4, 10)
    np.testing.assert_allclose(at(schedule, 0, 5, 9, 10, 1000), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["poly", "cosine", "constant"])
def test_the_warmup_comes_first_and_the_rest_is_the_schedule(kind):
    schedule = learning_rate(kind, 0.4, 14, warmup_steps=4)
    np.testing.assert_allclose(at(schedule, 0, 1, 3), [0.004, 0.103, 0.301], rtol=1e-5)  # seen: 2e-6
    rest = learning_rate(kind, 0.4, 10)
    np.testing.assert_allclose(
        at(schedule, 4, 9, 13, 14, 99), at(rest, 0, 5, 9, 10, 95), rtol=1e-6, atol=1e-9
    )


def test_the_power_of_poly():
    np.testing.assert_allclose(at(learning_rate("poly", 1.0, 4, power=2.0), 1), [0.75**2], rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_in_float64_the_learning_rate_is_exact():
    schedule = learning_rate("poly", 0.02, 13, warmup_steps=3)
    assert schedule(jnp.asarray(9, jnp.int32)).dtype == jnp.float64
    np.testing.assert_allclose(at(schedule, 1, 9), [0.02 * 0.34, 0.02 * 0.4**0.9], rtol=1e-15)  # seen: 0


def test_an_unknown_schedule():
    with pytest.raises(SettingError, match=r"schedule: expected .*, got 'step'"):
        learning_rate("step", 0.1, 10)


@pytest.mark.parametrize("warmup_steps", [-1, 10, 11])
def test_a_warmup_that_does_not_fit(warmup_steps):
    message = f"warmup: expected fewer steps than the training has, got {warmup_steps} of 10 steps"
    with pytest.raises(SettingError, match=message):
        learning_rate("poly", 0.1, 10, warmup_steps=warmup_steps)


def parameters(name: str, **settings) -> dict[str, tuple[int, ...]]:
    """Gives the shapes of a model's parameters, without making them."""
    if name.startswith("fcn_resnet"):
        settings |= {"aux_loss": True, "weights_backbone": None}
    model = nnx.eval_shape(lambda: fcn_jax.get_model(name, rngs=nnx.Rngs(0), **settings))
    shapes = {".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(model))}
    return {path: shapes[path] for path in Structure(model).param_paths}


@pytest.fixture(scope="module")
def resnet():
    return parameters("fcn_resnet50")


@pytest.fixture(scope="module")
def alexnet():
    return parameters("fcn32s_alexnet")


def test_torchvisions_groups(resnet):
    groups = GROUPS["torchvision"]
    fast = [name for name in resnet if groups.scale(name) == 10]
    assert fast == [name for name in resnet if name.startswith("aux_classifier.")]
    assert len(fast) == 5  # a convolution, batch norm's scale and bias, the scores' kernel and bias
    assert {groups.scale(name) for name in resnet} == {1.0, 10.0}
    assert all(map(groups.decays, resnet))


def test_the_papers_groups(alexnet):
    groups = GROUPS["paper"]
    assert [name for name in alexnet if groups.scale(name) == 2] == [
        n for n in alexnet if n.endswith(".bias")
    ]
    for name, shape in alexnet.items():
        assert groups.scale(name) == (1 if len(shape) == 4 else 2)
        assert groups.decays(name) == (len(shape) == 4)


def test_the_papers_alexnet_says_so_of_one_bias_alone(alexnet):
    groups = GROUPS["paper-alexnet"]
    assert [name for name in alexnet if groups.scale(name) != 1] == ["score_fr.bias"]
    assert groups.scale("score_fr.bias") == 2
    assert [name for name in alexnet if not groups.decays(name)] == ["score_fr.bias"]


def test_kernels_alone_decay(resnet):
    groups = GROUPS["kernels"]
    for name, shape in resnet.items():
        assert groups.decays(name) == (len(shape) == 4)
        assert groups.scale(name) == 1


PARAMS = {"a.kernel": np.float32([1.0, -2.0]), "b.bias": np.float32([3.0])}
FIRST = {"a.kernel": np.float32([0.5, 0.25]), "b.bias": np.float32([-1.0])}
SECOND = {"a.kernel": np.float32([-2.0, 4.0]), "b.bias": np.float32([0.5])}
GROUPED = Groups(
    scale=lambda name: 3.0 if name == "b.bias" else 1.0, decays=lambda name: name.endswith(".kernel")
)


def halving(step):
    return 0.1 / (1 + step)


def test_sgd_keeps_the_learning_rate_out_of_the_momentum():
    optimizer = sgd(PARAMS, halving, groups=GROUPED, momentum=0.9, weight_decay=0.01)
    moments = optimizer.init(PARAMS)
    updates, moments = optimizer.update(FIRST, moments, PARAMS)
    np.testing.assert_allclose(updates["a.kernel"], [-0.1 * 0.51, -0.1 * 0.23], rtol=1e-6)
    np.testing.assert_allclose(updates["b.bias"], [-0.3 * -1.0], rtol=1e-6)
    updates, _ = optimizer.update(SECOND, moments, PARAMS)
    np.testing.assert_allclose(
        updates["a.kernel"], [-0.05 * (-1.99 + 0.9 * 0.51), -0.05 * (3.98 + 0.9 * 0.23)], rtol=1e-6
    )
    np.testing.assert_allclose(updates["b.bias"], [-0.15 * (0.5 - 0.9)], rtol=1e-5)


def test_adamws_decay_is_apart_from_its_gradient():
    optimizer = adamw(PARAMS, halving, groups=GROUPED, weight_decay=0.01)
    updates, _ = optimizer.update(FIRST, optimizer.init(PARAMS), PARAMS)
    # The first step of Adam goes by the sign of the gradient.
    np.testing.assert_allclose(updates["a.kernel"], [-0.1 * 1.01, -0.1 * 0.98], rtol=1e-5)
    np.testing.assert_allclose(updates["b.bias"], [0.3], rtol=1e-5)


@pytest.mark.parametrize("make", [lambda *a, **k: sgd(*a, momentum=0.0, **k), adamw], ids=["sgd", "adamw"])
def test_clipping_is_of_the_whole_gradient_and_before_the_decay(make):
    norm = float(np.sqrt(0.5**2 + 0.25**2 + 1))
    clipped = make(PARAMS, halving, groups=PLAIN, weight_decay=0.01, clip=norm / 4)
    unclipped = make(PARAMS, halving, groups=PLAIN, weight_decay=0.01)
    quarter = {name: value / 4 for name, value in FIRST.items()}
    ours, _ = clipped.update(FIRST, clipped.init(PARAMS), PARAMS)
    expected, _ = unclipped.update(quarter, unclipped.init(PARAMS), PARAMS)
    for name in PARAMS:
        np.testing.assert_allclose(ours[name], expected[name], rtol=1e-5)

    wide = make(PARAMS, halving, groups=PLAIN, weight_decay=0.01, clip=2 * norm)
    ours, _ = wide.update(FIRST, wide.init(PARAMS), PARAMS)
    expected, _ = unclipped.update(FIRST, unclipped.init(PARAMS), PARAMS)
    for name in PARAMS:
        np.testing.assert_array_equal(ours[name], expected[name])


def test_each_parameter_has_its_scale():
    optimizer = scale_by_name({"a.kernel": 2.0, "b.bias": -1.0})
    updates, _ = optimizer.update(FIRST, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["a.kernel"], [1.0, 0.5])
    np.testing.assert_array_equal(updates["b.bias"], [1.0])


def test_factors_of_parts_multiply_the_groups(alexnet):
    factors = read_factors(["backbone=0.1", "backbone.fc=2", "score_fr=10"])
    groups = with_factors(GROUPS["paper"], factors, alexnet)
    assert groups.scale("backbone.conv1.kernel") == 0.1
    assert groups.scale("backbone.fc6.bias") == 2 * 2.0  # the longest beginning, and the group's own factor
    assert groups.scale("score_fr.kernel") == 10
    assert not groups.decays("score_fr.bias")


@pytest.mark.parametrize("texts", [["backbone"], ["=2"], ["backbone=0"], ["a=1", "a=2"], ["a=inf"], ["a=b"]])
def test_factors_that_make_no_sense(texts):
    with pytest.raises(SettingError, match=r"lr_factors: expected .* such as backbone=0.1, each once, got"):
        read_factors(texts)


def test_a_factor_of_no_parameter(alexnet):
    with pytest.raises(SettingError, match=r"lr_factors: expected .* such as backbone, score_fr, got 'head'"):
        with_factors(GROUPS["paper"], {"head": 2.0}, alexnet)
