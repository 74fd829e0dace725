"""Converts a tree to plain arrays by name, as files hold them, and back.

A name comes from the path in the tree, so it does not depend on the classes of an optimizer's state. Random
keys are stored as their bits.
"""

from typing import Any

import jax
import jax.numpy as jnp

from fcn_jax.errors import ArrayError, WrongTypeError

Arrays = dict[str, jax.Array]
Like = jax.Array | jax.ShapeDtypeStruct


def named_arrays(tree: Any) -> dict[str, Any]:
    """Names the arrays of a tree by their paths, in the tree's order: {"moments/0/mu/conv1.kernel": array}.

    Args:
      tree: dicts, sequences, named tuples and other pytrees of arrays, or of `jax.ShapeDtypeStruct`s.

    Raises:
      WrongTypeError: a leaf is something else, such as a NumPy array or a Python number; or its numbers are
        complex or smaller than a byte.
      ArrayError: two arrays get the same name.
    """
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not isinstance(leaf, Like):
            raise WrongTypeError(
                subject=name,
                expected="a jax.Array",
                got=type(leaf).__name__,
                hint="try jax.numpy.asarray",
            )
        if not _can_be_stored(leaf.dtype):
            raise WrongTypeError(
                subject=name,
                expected="real numbers of whole bytes or random keys",
                got=str(leaf.dtype),
            )
        if name in named:
            raise ArrayError(
                expected="one array of each name", got=f"two of {name!r}", hint="rename one of their keys"
            )
        named[name] = leaf
    return named


def stored_form(array: jax.Array) -> jax.Array:
    """Returns an array as it is digested and stored: the bits of random keys, else the array itself."""
    return jax.random.key_data(array) if _is_key(array.dtype) else array


def stored_like(like: Like) -> jax.ShapeDtypeStruct:
    """Returns shape, dtype and sharding of the stored form of an array like this one."""
    stored = jax.eval_shape(stored_form, jax.ShapeDtypeStruct(like.shape, like.dtype))
    sharding = like.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(stored.shape, stored.dtype, sharding=sharding)


def from_stored(stored: jax.Array | None, like: Like) -> jax.Array:
    """Makes an array like `like` from its stored form; that is None for an array without elements."""
    form = stored_like(like)
    if stored is None:
        empty: jax.Array = jax.jit(lambda: jnp.zeros(form.shape, form.dtype), out_shardings=form.sharding)()
        stored = empty
    if not _is_key(like.dtype):
        return stored
    return jax.device_put(jax.random.wrap_key_data(stored, impl=_key_impl(like)), form.sharding)


def _key_impl(like: Like) -> Any:
    """Returns `jax.random.key_impl` of the dtype. It needs keys, so this traces it with abstract ones."""
    found = []
    key = jax.ShapeDtypeStruct(like.shape, like.dtype)
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), key)
    return found[0]


def _is_key(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _can_be_stored(dtype: Any) -> bool:
    if _is_key(dtype) or dtype == jnp.bool_:
        return True
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).bits % 8 == 0
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits % 8 == 0
