"""Gradients of the training loss and running statistics after one step, against torchvision's.

Dropout is off, because the two frameworks draw different masks.
"""

import pytest
from flax import nnx

from fcn_jax.weights.loading import named_variables
from tests.losses import jax_loss, seeded_labels
from tests.parity.sides import jax_fcn, relative_error, to_torch, torch, torch_fcn, torch_loss
from tests.seeded import seeded_images
from weights_converter.conversion import to_ours


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_and_running_statistics_equal_torchs():
    """With one of the whole networks, because the other has the same blocks, and more of them."""
    name = "fcn_resnet50"
    images = seeded_images(2, 33, 47)
    labels = seeded_labels(images, 5)

    reference = torch_fcn(name).train()
    reference.classifier[3].p = reference.aux_classifier[3].p = 0.0
    expected_loss = torch_loss(reference(to_torch(images)), torch.from_numpy(labels))
    expected_loss.backward()
    expected = {key: value.numpy() for key, value in reference.state_dict().items()}
    expected_gradients = expected | {key: p.grad.numpy() for key, p in reference.named_parameters()}

    model = jax_fcn(name)
    model.train()
    model.classifier.dropout.rate = model.aux_classifier.dropout.rate = 0.0
    loss, gradients = nnx.jit(nnx.value_and_grad(jax_loss))(model, images, labels)

    assert abs(float(loss) - expected_loss.item()) / expected_loss.item() < 1e-12  # seen: 4e-16
    expected_gradients = to_ours(expected_gradients).params
    for path, gradient in nnx.to_flat_state(gradients):
        path = ".".join(map(str, path))
        assert relative_error(gradient[...], expected_gradients[path]) < 1e-10, path  # seen: 9e-14

    expected = to_ours(expected).params
    changed = 0
    for path, variable in named_variables(model).items():
        if isinstance(variable, nnx.BatchStat):
            assert relative_error(variable[...], expected[path]) < 1e-12, path  # seen: 2e-14
            changed += 1
    assert changed == len([path for path in expected if path.endswith((".mean", ".var"))])
