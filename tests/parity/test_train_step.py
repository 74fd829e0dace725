"""One step in training mode against torchvision's: gradients of the training loss, and running statistics.

Dropout is off on both sides, since the two draw different masks.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.checkpoints import named_variables
from tests.parity.sides import jax_fcn, relative_error, to_torch, torch, torch_fcn
from tests.seeded import seeded_images
from weights_converter.engine import to_ours

IGNORE = 255


def seeded_labels(images: np.ndarray, num_classes: int) -> np.ndarray:
    labels = np.random.RandomState(1).randint(0, num_classes, images.shape[:3])
    labels[:, :3] = IGNORE
    return labels


def torch_loss(logits, labels):
    loss = torch.nn.functional.cross_entropy
    return loss(logits["out"], labels, ignore_index=IGNORE) + 0.5 * loss(
        logits["aux"], labels, ignore_index=IGNORE
    )


def cross_entropy(logits, labels):
    mask = labels != IGNORE
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, jnp.where(mask, labels, 0)[..., None], axis=-1)[..., 0]
    return -jnp.where(mask, picked, 0).sum() / mask.sum()


def jax_loss(model, images, labels):
    logits = model(images)
    return cross_entropy(logits["out"], labels) + 0.5 * cross_entropy(logits["aux"], labels)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn_resnet101"])
@pytest.mark.usefixtures("float64")
def test_gradients_and_running_statistics_are_torchs(name):
    images = seeded_images(2, 33, 47)
    labels = seeded_labels(images, 5)

    reference = torch_fcn(name).train()
    reference.classifier[3].p = reference.aux_classifier[3].p = 0.0
    expected_loss = torch_loss(reference(to_torch(images)), torch.from_numpy(labels).long())
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
