"""Whatever changes in an array changes its digest. Where it lies does not: see test_checkpoint_devices.py."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.training.checkpointing.digests import _sums, digests

WHOLE = [jnp.uint8, jnp.int8, jnp.int16, jnp.uint32, jnp.int32]
FLOATS = [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float8_e4m3fn]
WIDE = [jnp.float64, jnp.int64, jnp.uint64]

pytestmark = pytest.mark.usefixtures("float64")


def drawn(dtype, shape, seed=0):
    """Random bits as numbers of a dtype: NaNs, infinities and subnormal numbers among them."""
    size = np.dtype(dtype).itemsize
    raw = np.random.default_rng(seed).integers(0, 256, (*shape, size), dtype=np.uint8)
    return raw.view(dtype)[..., 0]


@pytest.mark.parametrize("dtype", [*WHOLE, *FLOATS, *WIDE], ids=lambda dtype: dtype.__name__)
def test_every_bit_counts(dtype):
    whole = drawn(dtype, (3, 5))
    tree = {"whole": jnp.asarray(whole)}
    for bit in range(whole.nbytes * 8):
        flipped = np.frombuffer(whole.tobytes(), np.uint8).copy()
        flipped[bit // 8] ^= 1 << bit % 8
        tree[f"bit {bit}"] = jnp.asarray(flipped.view(dtype).reshape(whole.shape))
    found = digests(tree)
    assert len(set(found.values())) == len(tree)
    assert digests({"again": jnp.asarray(whole.copy())}) == {"again": found["whole"]}


def test_every_boolean_counts():
    trues = np.zeros((3, 5), bool)
    tree = {"none": jnp.asarray(trues)}
    for place in range(trues.size):
        tree[str(place)] = jnp.asarray(np.arange(trues.size).reshape(trues.shape) == place)
    assert len(set(digests(tree).values())) == len(tree)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32, jnp.float64])
def test_every_swap_counts(dtype):
    whole = np.arange(12).astype(dtype).reshape(3, 4)
    tree = {"whole": jnp.asarray(whole)}
    for first, second in itertools.combinations(range(whole.size), 2):
        swapped = whole.copy()
        swapped.flat[[first, second]] = whole.flat[[second, first]]
        tree[f"{first} {second}"] = jnp.asarray(swapped)
    tree["rows reversed"] = jnp.asarray(whole[::-1])
    assert len(set(digests(tree).values())) == len(tree)


def test_the_halves_of_a_wide_number_have_places():
    low, high = np.array([7, 7 << 32], np.uint64)
    assert len(set(digests([jnp.asarray(low), jnp.asarray(high)]).values())) == 2


def test_shape_length_and_dtype_count():
    shapes = [(), (1,), (6,), (2, 3), (3, 2), (1, 6), (5,), (0,), (0, 2), (2, 0)]
    dtypes = [*WHOLE, *FLOATS, *WIDE, jnp.bool_]
    tree = [jnp.zeros(shape, jnp.uint8) for shape in shapes]
    tree += [jnp.zeros(2, dtype) for dtype in dtypes]
    found = digests(tree)
    assert len(set(found.values())) == len(tree)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in found.values())


def test_signs_of_zero_and_nans_count():
    bits = np.array([0x00000000, 0x80000000, 0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7FA00000], np.uint32)
    tree = [jnp.asarray(value) for value in bits.view(np.float32)]
    assert len(set(digests(tree).values())) == len(bits)


def test_random_keys():
    tree = {
        "0": jax.random.key(0),
        "1": jax.random.key(1),
        "bits of 0": jax.random.key_data(jax.random.key(0)),
        "rbg": jax.random.key(0, impl="rbg"),
        "unsafe_rbg": jax.random.key(0, impl="unsafe_rbg"),
        "two": jax.random.split(jax.random.key(0), 2),
        "none": jax.random.split(jax.random.key(0), 0),
    }
    assert len(set(digests(tree).values())) == len(tree)


def test_digests_are_those_of_the_first_version():
    """Files are checked against these numbers: whoever changes them has to raise the format's number."""
    tree = {
        "float32": jnp.arange(1000, dtype=jnp.float32).reshape(8, 125),
        "float64": jnp.arange(6, dtype=jnp.float64),
        "bool": jnp.array([True, False, True]),
        "key": jax.random.key(3),
    }
    assert digests(tree) == {
        "bool": "6883aff1c032dcdd",
        "float32": "e695051c15ec6296",
        "float64": "bc725767ad04118d",
        "key": "764e63f84c4e720a",
    }


def test_no_memory_beside_the_array():
    for dtype in (jnp.float32, jnp.float64, jnp.uint8):
        array = jnp.zeros((1000, 129), dtype)
        analysis = _sums.lower(array).compile().memory_analysis()
        assert analysis.temp_size_in_bytes < 1000  # seen: 0
