"""Algorithms that must give the very bits of the layers they stand for."""

import itertools

import jax
import numpy as np
import pytest

from fcn_jax.inference.algorithms import SeparateMaxPool, add_rectified_once
from fcn_jax.models.resnet import MaxPool, add_rectified


def test_rectified_sums_are_the_same_bits():
    random = np.random.default_rng(0)
    special = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38]
    pairs = np.array(list(itertools.product(special, repeat=2)), np.float32)
    x = np.concatenate([pairs[:, 0], random.standard_normal(10_000, np.float32)])
    shortcut = np.concatenate([pairs[:, 1], random.standard_normal(10_000, np.float32)])
    expected, result = jax.jit(add_rectified)(x, shortcut), jax.jit(add_rectified_once)(x, shortcut)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (8, 8), (13, 6), (30, 31)])
def test_pooling_in_two_directions_is_the_same(size):
    x = np.random.default_rng(0).standard_normal((2, *size, 3), np.float32) - 3  # padding must not win
    np.testing.assert_array_equal(jax.jit(SeparateMaxPool())(x), jax.jit(MaxPool())(x))
