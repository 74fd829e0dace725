"""The stored arrays still equal what torchvision computes."""

import numpy as np
import pytest

from tests.parity import store
from tests.stored_arrays import VARIANTS, stored


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_stored_arrays_are_torchvisions(name):
    """They come from another processor, on which torch rounds differently: seen 1.5e-14."""
    for key, array in store.compute(name).items():
        np.testing.assert_allclose(stored()[key], array, rtol=1e-12, atol=1e-13 * np.abs(array).max())


def test_the_stored_preset_is_torchvisions():
    np.testing.assert_array_equal(stored()["preset"], store.preset())
