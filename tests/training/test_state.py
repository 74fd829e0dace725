"""The way from a model to arrays by name and back."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.models.arrays import Structure, fill_model
from fcn_jax.models.layers import Fixed
from fcn_jax.training.state import create_state, evaluated_arrays
from fcn_jax.weights.loading import named_variables
from tests.seeded import seeded_paper_state_dict, seeded_state_dict
from tests.training.small import small_batch, small_model, small_training


@pytest.fixture(scope="module", params=["fcn_resnet50", "fcn8s_vgg16"])
def model(request):
    if request.param == "fcn8s_vgg16":
        model = fcn_jax.get_model(request.param, weights=seeded_paper_state_dict(request.param))
    else:
        model = fcn_jax.get_model(request.param, weights=seeded_state_dict(request.param, 5))
    model.train()
    return model


def assert_equal(one: dict, other: dict) -> None:
    """Compares arrays by name, keys of random streams too, bit for bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value, expected = jax.random.key_data(value), jax.random.key_data(other[name])
        else:
            expected = other[name]
        assert value.dtype == expected.dtype, name
        np.testing.assert_array_equal(value, expected, err_msg=name)


def test_every_array_has_one_place(model):
    variables = {".".join(map(str, path)): value for path, value in nnx.to_flat_state(nnx.state(model))}
    structure = Structure(model)
    params, rest = structure.split(model)
    assert params.keys().isdisjoint(rest)
    assert params.keys() | rest.keys() == variables.keys()
    assert named_variables(model).keys() <= variables.keys()
    assert set(params) == {name for name, value in variables.items() if isinstance(value, nnx.Param)}
    kinds = {type(variables[name]) for name in rest}
    others = {nnx.BatchStat} if "backbone.bn1.mean" in rest else {Fixed}
    assert kinds == {nnx.RngKey, nnx.RngCount} | others
    assert set(structure.averaged) == {
        name for name, value in variables.items() if isinstance(value, nnx.Param | nnx.BatchStat)
    }


def test_arrays_go_into_a_model_and_come_back(model):
    structure = Structure(model)
    params, rest = structure.split(model)
    params = {name: value + number for number, (name, value) in enumerate(params.items())}
    merged = structure.merge(params | rest)
    assert type(merged) is type(model)
    assert merged.categories == model.categories
    for ours, arrays in zip(structure.split(merged), (params, rest), strict=True):
        assert_equal(ours, arrays)
    paths = {path: type(value) for path, value in nnx.to_flat_state(nnx.state(model))}
    assert {path: type(value) for path, value in nnx.to_flat_state(nnx.state(merged))} == paths


@pytest.mark.slow
def test_a_merged_model_computes_the_same():
    model = small_model(dropout=0.0)
    images = small_batch(2)["images"]
    expected = nnx.jit(lambda model, images: model(images))(nnx.clone(model), images)
    structure = Structure(model)
    params, rest = structure.split(model)
    logits = nnx.jit(lambda model, images: model(images))(structure.merge(params | rest), images)
    for head in ("out", "aux"):
        np.testing.assert_array_equal(logits[head], expected[head])


@pytest.mark.slow
def test_the_state_is_a_copy():
    model = small_model()
    before = {name: np.array(variable[...]) for name, variable in named_variables(model).items()}
    _, state, step = small_training(model, average=0.9)
    state, _ = step(state, small_batch(2), 0)
    assert state.step == 1
    for name, variable in named_variables(model).items():
        np.testing.assert_array_equal(variable[...], before[name])
        if name != "gate":
            assert not np.array_equal((state.params | state.rest)[name], before[name]), name


def test_streams_of_dropout_go_on_from_step_to_step():
    objective, state, _ = small_training(small_model(norm=False))
    batch = small_batch(2)
    loss_of = jax.jit(objective)
    losses, rest = [], state.rest
    for number in range(3):
        assert rest["dropout.rngs.count"] == number
        loss, (rest, _) = loss_of(state.params, rest, batch, (1.0,))
        losses.append(float(loss))
    assert len(set(losses)) == 3
    again, _ = loss_of(state.params, state.rest, batch, (1.0,))
    assert float(again) == losses[0]


def test_averages_start_at_the_models_own_arrays():
    model = small_model()
    structure = Structure(model)
    params, rest = structure.split(model)
    state = create_state(model, optax.identity(), average=True)
    assert set(state.average) == set(params) | {"bn1.mean", "bn1.var", "bn2.mean", "bn2.var"}
    assert_equal(state.average, {name: (params | rest)[name] for name in state.average})
    assert create_state(model, optax.identity()).average == {}


def test_averages_are_what_is_evaluated():
    model = small_model()
    state = create_state(model, optax.identity(), average=True)
    average = {name: value + 1 for name, value in state.average.items()}
    arrays = evaluated_arrays(state._replace(average=average))
    assert arrays.keys() == state.params.keys() | state.rest.keys()
    assert_equal(arrays, state.params | state.rest | average)
    plain = create_state(model, optax.identity())
    assert_equal(evaluated_arrays(plain), plain.params | plain.rest)


def test_a_model_gets_the_arrays_that_are_named_and_keeps_the_others():
    model = small_model()
    params, rest = Structure(model).split(model)
    given = {
        "conv1.kernel": params["conv1.kernel"] + 1,
        "bn2.var": rest["bn2.var"] * 3,
        "unknown": jnp.ones(2),
    }
    fill_model(model, given)
    after = Structure(model).split(model)
    expected = params | rest | {name: given[name] for name in ("conv1.kernel", "bn2.var")}
    assert_equal(after[0] | after[1], expected)
