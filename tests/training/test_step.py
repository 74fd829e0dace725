"""One compiled step: parts of a batch, averages, what it refuses, and what it saves. Values: tests/parity."""

import functools
import io
import math
import re
from contextlib import redirect_stdout

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals

import fcn_jax
from fcn_jax.errors import SettingError
from fcn_jax.models import FCN
from fcn_jax.models.arrays import Structure
from fcn_jax.models.heads import FCNHead
from fcn_jax.models.resnet import ResNet
from fcn_jax.training.objective import Objective
from fcn_jax.training.state import TrainState
from tests.models.drawn import drawn
from tests.training.small import NUM_CLASSES, small_batch, small_model, small_training
from weights_converter import ModelSpec


def largest_error(ours: dict, reference: dict) -> float:
    """Gives the largest difference of any array over the largest value of that array."""
    assert ours.keys() == reference.keys()
    return max(
        float(np.abs(ours[name] - value).max() / np.abs(value).max()) for name, value in reference.items()
    )


@functools.cache
def compiled(accumulate: int = 1, average: float = 0.9):
    """Makes objective, state and step, with batch norm and averages, once for all tests: copy the state."""
    return small_training(small_model(), average=average, accumulate=accumulate)


def started(accumulate: int = 1):
    """Gives the state after a first step, and the step."""
    _, state, step = compiled(accumulate)
    state, metrics = step(copied(state), small_batch(4), 0)
    assert metrics["applied"]
    return state, step


def copied(state: TrainState) -> TrainState:
    """Copies a state, so that a step does not use it up."""
    return jax.tree.map(jnp.copy, state)


def assert_same_state(one: TrainState, other: TrainState) -> None:
    """Compares two states bit for bit."""

    def numbers(array):
        return jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(numbers(a), numbers(b)), one, other)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("parts", "loss"), [(2, {}), (4, {"class_weights": (1, 2, 3, 4, 5)}), (4, {"reduction": "sum"})]
)
def test_parts_make_the_step_of_the_whole_batch(parts, loss):
    """One of the images is all void, so the parts have unlike numbers of pixels."""
    model = small_model(jnp.float64, norm=False, dropout=0.0)
    batch = small_batch(8, dtype=np.float64)
    valid = [(batch["labels"][part::parts] != 255).sum() for part in range(parts)]
    assert len(set(valid)) > 1
    _, state, step = small_training(model, loss=loss)
    _, same_state, in_parts = small_training(model, loss=loss, accumulate=parts)
    for number in range(2):
        state, expected = step(state, batch, number)
        same_state, metrics = in_parts(same_state, batch, number)
        for name in ("loss", "gradient_norm", "lr"):
            assert abs(metrics[name] / expected[name] - 1) < 1e-12, name  # seen: 7e-16
    assert same_state.step == 2
    assert largest_error(same_state.params, state.params) < 1e-12  # seen: 1e-15


@pytest.mark.slow
def test_batch_norm_and_dropout_see_the_parts_one_after_another():
    objective, state, in_parts = compiled(accumulate=2)
    batch, rest = small_batch(4), state.rest
    for part in (slice(0, None, 2), slice(1, None, 2)):
        half = {name: values[part] for name, values in batch.items()}
        _, (rest, _) = jax.jit(objective)(state.params, rest, half, (1.0,))
    state, _ = in_parts(copied(state), batch, 0)
    for name in ("bn1.mean", "bn1.var", "bn2.mean", "bn2.var"):
        np.testing.assert_allclose(state.rest[name], rest[name], rtol=1e-5)
    assert state.rest["dropout.rngs.count"] == rest["dropout.rngs.count"] == 2


def test_a_batch_that_does_not_divide():
    _, state, in_parts = small_training(small_model(norm=False), accumulate=4)
    with pytest.raises(SettingError, match="expected a batch that divides into 4 equal parts, got 6 images"):
        in_parts(state, small_batch(6), 0)


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.15, 0.9])
def test_averages_are_a_loops(decay):
    """A decay of 0.15 is reached after a step, one of 0.9 is not reached in four."""
    _, state, step = compiled(average=decay)
    state = copied(state)
    expected = {name: np.array(value, np.float64) for name, value in state.average.items()}
    for number in range(4):
        state, _ = step(state, small_batch(2, seed=number), number)
        share = min(decay, (1 + number) / (10 + number))
        for name, value in expected.items():
            now = np.array((state.params | state.rest)[name], np.float64)
            expected[name] = share * value + (1 - share) * now
    assert largest_error(state.average, expected) < 1e-6  # seen: 1.2e-7
    now = {name: (state.params | state.rest)[name] for name in expected}
    assert largest_error(state.average, now) > 1e-3


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_step_out_of_turn_does_nothing(accumulate, number):
    state, step = started(accumulate)
    before = copied(state)
    state, metrics = step(state, small_batch(4, seed=1), number)
    assert not metrics["applied"]
    assert_same_state(state, before)
    state, metrics = step(state, small_batch(4, seed=1), 1)
    assert metrics["applied"]
    assert state.step == 2


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("bad", ["images", "labels", "gradient"])
def test_after_a_loss_that_is_no_number_nothing_changes_any_more(accumulate, bad):
    state, step = started(accumulate)
    batch = small_batch(4, seed=1)
    if bad == "images":
        batch["images"][1, 2, 3, 0] = np.nan
    elif bad == "labels":
        batch["labels"][0, -1, -1] = NUM_CLASSES
    else:  # a finite loss whose gradient is too large to be squared
        huge = {"classifier.kernel": state.params["classifier.kernel"] * 1e25}
        state = state._replace(params=state.params | huge)
    before = copied(state)
    state, metrics = step(state, batch, 1)
    assert not metrics["applied"]
    assert jnp.isfinite(metrics["loss"]) == (bad == "gradient")
    assert_same_state(state, before)
    for number in (2, 3):  # steps that were already under way
        state, metrics = step(state, small_batch(4, seed=number), number)
        assert not metrics["applied"]
    assert_same_state(state, before)


def test_metrics_are_of_the_state_before():
    objective, state, step = small_training(small_model(dropout=0.0))
    batch = small_batch(2)
    denominator = objective.denominator(state.params, batch["labels"])
    differentiate = jax.jit(jax.value_and_grad(objective, has_aux=True))
    (loss, _), gradients = differentiate(state.params, state.rest, batch, denominator)
    state, metrics = step(state, batch, 0)
    assert metrics.keys() == {"loss", "lr", "gradient_norm", "applied"}
    norm = math.sqrt(sum(float(np.square(np.asarray(g, np.float64)).sum()) for g in gradients.values()))
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-6)
    np.testing.assert_allclose(metrics["lr"], 0.05, rtol=1e-6)
    _, metrics = step(state, batch, 1)
    np.testing.assert_allclose(metrics["lr"], 0.05 * 0.9**0.9, rtol=1e-6)
    assert metrics["loss"] < loss


def test_the_given_state_is_used_up():
    state, step = started()
    step(state, small_batch(4), 1)
    assert all(array.is_deleted() for array in jax.tree.leaves(state))


@pytest.mark.slow
def test_in_bfloat16_parameters_statistics_and_loss_stay_float32():
    model = small_model(dtype=jnp.bfloat16)
    objective, state, step = small_training(model)
    _, (_, logits) = jax.eval_shape(objective, state.params, state.rest, small_batch(2), (1.0,))
    assert logits["out"].dtype == jnp.float32
    dtypes = jax.tree.map(lambda array: array.dtype, state)
    for number in range(2):
        state, metrics = step(state, small_batch(2), number)
        assert metrics["applied"]
        assert metrics["loss"].dtype == jnp.float32
    assert jax.tree.map(lambda array: array.dtype, state) == dtypes
    assert {array.dtype for array in state.params.values()} == {jnp.dtype(jnp.float32)}
    assert state.rest["bn1.var"].dtype == jnp.float32


def test_frozen_kernels_are_left_alone():
    state, _ = started()
    np.testing.assert_array_equal(state.rest["gate"], compiled()[1].rest["gate"])


def recomputing(backbone: str) -> tuple[Objective, Objective, tuple]:
    """Makes the objective of a network without and with remat, and its arguments, in float64."""

    def build():
        settings = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        if backbone == "vgg":
            widths = {"features": (4, 6, 8, 10, 12), "fc_features": 16}
            return fcn_jax.get_model("fcn8s_vgg16", num_classes=NUM_CLASSES, **widths, **settings)
        spec = ModelSpec(name="fcn_resnet50", num_classes=NUM_CLASSES)
        return FCN(spec, ResNet((1, 2, 1, 1), **settings), FCNHead(2048, NUM_CLASSES, **settings))

    model = drawn(build)
    for _, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.BatchStat):
            variable.set_value(jnp.ones(variable.shape))
    model.train()
    params, rest = Structure(model).split(model)
    objectives = []
    for remat in (False, True):
        model.backbone.remat = remat
        objectives.append(Objective(structure=Structure(model), num_classes=NUM_CLASSES))
    return *objectives, (params, rest, small_batch(2, dtype=np.float64), (1.0,))


def saved_bytes(objective: Objective, params, *others) -> int:
    """Adds up what the forward pass keeps for the backward pass, apart from what it was given."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        print_saved_residuals(lambda params: objective(params, *others)[0], params)
    total = 0
    for line in printed.getvalue().splitlines():
        bits, shape = re.match(r"[a-z]+(\d*)\[([\d,]*)\]", line).groups()
        if "from the argument" not in line and "from a constant" not in line:
            total += int(bits or 8) // 8 * math.prod(int(length) for length in shape.split(",") if length)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg", "resnet"])
@pytest.mark.usefixtures("float64")
def test_recomputing_blocks_saves_memory_and_changes_nothing(backbone):
    plain, recomputed, arguments = recomputing(backbone)
    share = saved_bytes(recomputed, *arguments) / saved_bytes(plain, *arguments)
    assert 0 < share < 0.5  # seen: 0.23

    (expected_loss, (expected_rest, _)), expected = jax.jit(jax.value_and_grad(plain, has_aux=True))(
        *arguments
    )
    (loss, (rest, _)), gradients = jax.jit(jax.value_and_grad(recomputed, has_aux=True))(*arguments)
    assert abs(loss / expected_loss - 1) < 1e-13  # seen: 0
    assert largest_error(gradients, expected) < 1e-11  # seen: 0
    for name, value in expected_rest.items():
        if not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(rest[name], value, rtol=1e-12, err_msg=name)
