"""The paper's networks against the PyTorch modules of paper_sides.py, with random weights.

Transposed convolutions are random and dense too, because bilinear kernels would hide a flip or a swap.

The figures in the comments are the largest seen, on a CPU with jax 0.10.2 and torch 2.13.0.
"""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.losses import cross_entropy, seeded_labels
from tests.parity.paper_sides import (
    MODULES,
    NAMES,
    NUM_CLASSES,
    draw,
    filled_jax,
    filled_torch,
    jax_paper,
    to_our_params,
    torch_paper,
)
from tests.parity.sides import from_torch, relative_error, to_torch, torch
from tests.seeded import seeded_images
from weights_converter import ModelSpec

CONTAINED = ("fcn32s_vgg16", "fcn16s_vgg16")  # fcn8s_vgg16 has all of their layers
CASES = [
    *(pytest.param(name, (2, 33, 47), marks=[pytest.mark.slow] * (name in CONTAINED)) for name in NAMES),
    *((name, (1, 1, 1)) for name in ("fcn8s_atonce_vgg16", "fcn32s_alexnet")),
    *(
        pytest.param(name, (1, 375, 500), marks=pytest.mark.slow)
        for name in ("fcn8s_vgg16", "fcn32s_alexnet")
    ),
]


def forward(model, images):
    return jax.jit(lambda model, images: model(images))(model, images)


@pytest.mark.parametrize(("name", "size"), CASES)
@pytest.mark.usefixtures("float64")
def test_the_logits_equal_pytorchs_in_float64(name, size):
    images = seeded_images(*size)
    with torch.no_grad():
        expected = torch_paper(name)(to_torch(images))
    got = forward(jax_paper(name), images)
    assert set(got) == {"out"}
    assert got["out"].dtype == np.float64
    assert relative_error(got["out"], from_torch(expected)) < 1e-12  # seen: 4e-15


@pytest.mark.parametrize("name", NAMES)
def test_the_logits_equal_pytorchs_in_float32(name):
    images = seeded_images(1, 97, 130).astype(np.float32)
    with torch.no_grad():
        expected = from_torch(torch_paper(name, torch.float32)(to_torch(images, torch.float32)))
    logits = np.asarray(forward(jax_paper(name, np.float32), images)["out"])
    assert logits.dtype == np.float32
    assert relative_error(logits, expected) < 1e-5  # seen: 1.4e-6
    top = np.sort(expected, axis=-1)
    clear = top[..., -1] - top[..., -2] > 1e-4 * np.abs(expected).max()
    np.testing.assert_array_equal(logits.argmax(-1)[clear], expected.argmax(-1)[clear])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fcn8s_atonce_vgg16", "fcn32s_alexnet"]
)  # between them these have every layer
@pytest.mark.usefixtures("float64")
def test_the_gradients_equal_pytorchs(name):
    images = seeded_images(1, 33, 47)
    labels = seeded_labels(images, NUM_CLASSES)
    reference = torch_paper(name)
    logits = reference(to_torch(images))
    expected_loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), ignore_index=255)
    expected_loss.backward()
    expected = to_our_params({key: p.grad.numpy() for key, p in reference.named_parameters()})

    model = jax_paper(name, learn_upsampling="intermediate")
    loss_of = nnx.value_and_grad(lambda model: cross_entropy(model(images)["out"], labels))
    loss, gradients = nnx.jit(loss_of)(model)

    assert abs(float(loss) - expected_loss.item()) / expected_loss.item() < 1e-12  # seen: 5e-16
    gradients = {".".join(map(str, path)): g[...] for path, g in nnx.to_flat_state(gradients)}
    for path, gradient in gradients.items():
        assert relative_error(gradient, expected[path]) < 1e-10, path  # seen: 7e-15
    assert set(gradients) == set(expected) - {f"{model.variant.last.name}.kernel"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn8s_vgg16", "fcn32s_alexnet"])
def test_the_logits_equal_pytorchs_at_full_width(name):
    """Sums have their real lengths, up to 25,088 products in fc6, which has an eighth of its outputs here."""
    with torch.device("meta"):
        module = MODULES[name](fc_features=512)
    arrays = draw(module, np.float32)
    images = seeded_images(1, 33, 47).astype(np.float32)
    with torch.no_grad():
        expected = filled_torch(module, arrays)(to_torch(images, torch.float32))
    got = forward(filled_jax(ModelSpec(name=name, num_classes=21, fc_features=512), arrays), images)["out"]
    assert got.shape == (1, 33, 47, 21)
    assert relative_error(got, from_torch(expected)) < 1e-5  # seen: 1.0e-6
