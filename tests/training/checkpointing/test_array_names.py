"""Trees as arrays by name and back, without files."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.errors import ArrayError, WrongTypeError
from fcn_jax.training.checkpointing.array_names import from_stored, named_arrays, stored_form, stored_like


class State(NamedTuple):
    params: dict
    moments: tuple


def test_names_follow_from_paths_in_the_order_of_the_tree():
    arrays = [jnp.full(2, number) for number in range(4)]
    tree = State({"b.kernel": arrays[1], "a.kernel": arrays[0]}, (arrays[2], [arrays[3]]))
    named = named_arrays(tree)
    assert list(named) == ["params/a.kernel", "params/b.kernel", "moments/0", "moments/1/0"]
    assert [int(array[0]) for array in named.values()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (np.zeros(2), r"a/0: expected a jax.Array, got ndarray; try jax.numpy.asarray"),
        (3, "a/0: expected a jax.Array, got int"),
        (
            jnp.zeros(2, jnp.complex64),
            "a/0: expected real numbers of whole bytes or random keys, got complex64",
        ),
        (jnp.zeros(2, jnp.int4), "a/0: expected real numbers of whole bytes .* got int4"),
        (jnp.zeros(2, jnp.float4_e2m1fn), "got float4_e2m1fn"),
    ],
)
def test_other_leaves(leaf, message):
    with pytest.raises(WrongTypeError, match=message):
        named_arrays({"a": [leaf]})


def test_two_arrays_of_one_name():
    with pytest.raises(ArrayError, match="expected one array of each name, got two of 'a/b'"):
        named_arrays({"a": {"b": jnp.zeros(1)}, "a/b": jnp.zeros(1)})


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_random_keys_there_and_back(impl, shape):
    keys = jax.random.split(jax.random.key(5, impl=impl), shape)
    like = jax.ShapeDtypeStruct(keys.shape, keys.dtype)
    stored = stored_form(keys)
    assert (stored.shape, stored.dtype) == (stored_like(like).shape, jnp.uint32)
    back = from_stored(stored if keys.size else None, like)
    assert (back.shape, back.dtype, back.sharding) == (keys.shape, keys.dtype, stored_like(like).sharding)
    np.testing.assert_array_equal(jax.random.key_data(back), stored)
