"""A small state to save, and steps that have been saved."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcn_jax.training.checkpointing.checkpoints import Checkpoints


class Moments(NamedTuple):
    mu: dict
    count: jax.Array


def a_tree(seed=0):
    """Small arrays, and one large enough for a file of its own."""
    key = jax.random.key(seed)
    params = {"conv1.kernel": jax.random.normal(key, (7, 9, 50)), "conv1.bias": jnp.full(3, float(seed))}
    return {"params": params, "moments": (Moments(dict(params), jnp.int32(seed)),), "key": key}


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.dtype, one.shape, one.sharding) == (other.dtype, other.shape, other.sharding)
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def save_two_steps(folder):
    """Saves steps 1 and 2, which hold a_tree(1) and a_tree(2)."""
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, a_tree(step), {"epoch": step})
    return folder
