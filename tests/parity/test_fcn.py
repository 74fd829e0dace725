"""The whole network against torchvision's, with random weights and random batch-norm statistics.

The figures in the comments are the largest seen, on a CPU with jax 0.10.2 and torch 2.13.0.
"""

import jax
import numpy as np
import pytest

from tests.parity.short import short_fcn, short_torch_fcn
from tests.parity.sides import from_torch, jax_fcn, relative_error, to_torch, torch, torch_fcn
from tests.seeded import seeded_images

VARIANTS = ["fcn_resnet50", "fcn_resnet101"]
SIZES = [(2, 33, 47), (3, 8, 9), (1, 1, 1), (2, 1, 40), (1, 16, 24)]


def forward(model, images):
    return jax.jit(lambda model, images: model(images))(model, images)


@pytest.mark.usefixtures("float64")
def test_the_logits_of_every_size_equal_torchvisions_in_float64():
    """A short network suffices, because it has all kinds of block that depend on the size."""
    reference = short_torch_fcn()
    model = short_fcn(reference)
    for size in SIZES:
        images = seeded_images(*size)
        with torch.no_grad():
            expected = reference(to_torch(images))
        got = forward(model, images)
        assert set(got) == set(expected) == {"out", "aux"}
        for head, logits in expected.items():
            assert got[head].dtype == np.float64
            assert relative_error(got[head], from_torch(logits)) < 1e-12, (size, head)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.usefixtures("float64")
def test_the_logits_equal_torchvisions_in_float64(name):
    images = seeded_images(2, 33, 47)
    with torch.no_grad():
        expected = torch_fcn(name)(to_torch(images))
    got = forward(jax_fcn(name), images)
    assert set(got) == set(expected) == {"out", "aux"}
    for head, logits in expected.items():
        assert got[head].dtype == np.float64
        assert relative_error(got[head], from_torch(logits)) < 1e-12, head  # seen: 3e-15


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_the_logits_equal_torchvisions_in_float32(name):
    images = seeded_images(1, 97, 130)
    with torch.no_grad():
        expected = torch_fcn(name)(to_torch(images.astype(np.float32)))
    got = forward(jax_fcn(name, dtype=np.float32), images.astype(np.float32))
    for head, logits in expected.items():
        logits = from_torch(logits)
        assert got[head].dtype == np.float32
        assert relative_error(got[head], logits) < 1e-5, head  # seen: 2e-6
        top = np.sort(logits, axis=-1)
        clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(logits).max()
        labels = np.asarray(got[head]).argmax(-1)
        np.testing.assert_array_equal(labels[clear], logits.argmax(-1)[clear])
