"""Losses and final weights of ten training steps against PyTorch's, in float64.

The PyTorch side is written out here: torchvision's recipe follows `references/segmentation/train.py`, the
paper's recipe follows its solver and net definitions. Dropout is off, because the two frameworks draw
different masks.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms import choice, gradients
from fcn_jax.models.arrays import Structure
from fcn_jax.training.objective import Objective
from fcn_jax.training.optimizers import GROUPS, learning_rate, sgd
from fcn_jax.training.state import create_state
from fcn_jax.training.step import make_train_step
from tests.losses import seeded_labels
from tests.parity.paper_sides import jax_paper, to_our_params, torch_paper
from tests.parity.short import short_arrays, short_fcn, short_torch_fcn
from tests.parity.sides import relative_error, to_torch, torch, torch_loss
from tests.seeded import seeded_images

STEPS = 10
NUM_CLASSES = 5


def batches(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draws a new batch for each step: images of odd sizes, and labels with void pixels."""
    for seed in range(STEPS):
        images = seeded_images(count, 33, 47, seed)
        yield images, np.roll(seeded_labels(images, NUM_CLASSES), seed, axis=1)


def train_torch(model, optimizer, scheduler, loss_of, count: int) -> list[float]:
    losses = []
    for images, labels in batches(count):
        loss = loss_of(model(to_torch(images)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.fixture
def winograd_everywhere(monkeypatch):
    """Lets it take part in narrow networks on small maps."""
    monkeypatch.setattr(choice, "WINOGRAD_CHANNELS_IN_TRAINING", 1)
    monkeypatch.setattr(gradients, "FEW", 0)


def train_jax(model: nnx.Module, schedule, settings: dict, loss: dict, count: int):
    """Trains as a run does, with every algorithm for training; returns the losses and the last state."""
    choice.choose_for_training(model, jax.default_backend())
    winograd = gradients.convolve_by_winograd_both_ways
    convs = [layer for _, layer in nnx.iter_modules(model) if isinstance(layer, nnx.Conv)]
    assert any(layer.conv_general_dilated is winograd for layer in convs)
    model.train()
    structure = Structure(model)
    optimizer = sgd(structure.param_paths, schedule, **settings)
    objective = Objective(structure=structure, num_classes=NUM_CLASSES, settings=loss)
    step = make_train_step(objective, optimizer, schedule)
    state = create_state(model, optimizer)
    losses = []
    for number, (images, labels) in enumerate(batches(count)):
        batch = {"images": jnp.asarray(images), "labels": jnp.asarray(labels)}
        state, metrics = step(state, batch, number)
        assert metrics["applied"]
        losses.append(float(metrics["loss"]))
    return losses, state


def largest_difference(ours: list[float], theirs: list[float]) -> float:
    """Returns the largest relative difference between the losses of two runs; losses must change."""
    ours, theirs = np.array(ours), np.array(theirs)
    assert len(ours) == len(theirs) == STEPS
    assert theirs.max() > 1.05 * theirs.min(), theirs
    return float((np.abs(ours - theirs) / theirs).max())


@pytest.mark.slow
@pytest.mark.usefixtures("float64", "winograd_everywhere")
def test_ten_steps_of_torchvisions_recipe():
    lr = 0.02
    reference = short_torch_fcn().train()
    reference.classifier[3].p = reference.aux_classifier[3].p = 0.0
    before, model = short_arrays(reference), short_fcn(reference)
    groups = [
        {"params": list(reference.backbone.parameters())},
        {"params": list(reference.classifier.parameters())},
        {"params": list(reference.aux_classifier.parameters()), "lr": lr * 10},
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / STEPS) ** 0.9)
    expected_losses = train_torch(reference, optimizer, scheduler, torch_loss, count=2)
    expected = short_arrays(reference)

    model.classifier.dropout.rate = model.aux_classifier.dropout.rate = 0.0
    schedule = learning_rate("poly", lr, STEPS)
    settings = {"groups": GROUPS["torchvision"], "momentum": 0.9, "weight_decay": 1e-4}
    losses, state = train_jax(model, schedule, settings, {}, count=2)

    assert largest_difference(losses, expected_losses) < 1e-12  # seen: 1e-15
    arrays = state.params | state.rest
    for name, array in expected.items():
        assert relative_error(arrays[name], array) < 1e-12, name  # seen: 1.1e-14
        assert relative_error(before[name], array) > 1e-5, name  # it moved


@pytest.mark.slow
@pytest.mark.usefixtures("float64", "winograd_everywhere")
def test_ten_steps_of_the_papers_recipe():
    lr = 1e-5
    reference = torch_paper("fcn8s_vgg16").train()
    reference.dropout.p = 0.0
    named = dict(reference.named_parameters())
    fixed = [name for name in named if name.startswith("upscore")]
    for name in fixed:
        named.pop(name).requires_grad_(False)
    before = {key: value.numpy().copy() for key, value in reference.state_dict().items()}
    groups = [
        {"params": [value for name, value in named.items() if name.endswith(".weight")]},
        {
            "params": [value for name, value in named.items() if name.endswith(".bias")],
            "lr": lr * 2,
            "weight_decay": 0.0,
        },
    ]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.99, weight_decay=5e-4)

    def summed(logits, labels):
        loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="sum")
        return loss / len(labels)

    expected_losses = train_torch(reference, optimizer, None, summed, count=1)
    expected = to_our_params({key: value.numpy() for key, value in reference.state_dict().items()})
    before = to_our_params(before)

    model = jax_paper("fcn8s_vgg16")
    model.backbone.dropout.rate = 0.0
    schedule = learning_rate("constant", lr, STEPS)
    settings = {"groups": GROUPS["paper"], "momentum": 0.99, "weight_decay": 5e-4}
    losses, state = train_jax(model, schedule, settings, {"reduction": "sum"}, count=1)

    assert largest_difference(losses, expected_losses) < 1e-12  # seen: 1e-15
    assert {name.removesuffix(".weight") for name in fixed} == {"upscore2", "upscore_pool4", "upscore8"}
    for name, array in expected.items():
        if name.startswith("upscore"):
            np.testing.assert_array_equal(state.rest[name], before[name])
        else:
            assert relative_error(state.params[name], array) < 1e-12, name  # seen: 2e-15
            assert relative_error(before[name], array) > 1e-5, name


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("warmup_steps", [0, 1, 4])
def test_the_learning_rate_equals_torchs_at_every_step(warmup_steps):
    lr, steps = 0.02, 13
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    rest = steps - warmup_steps
    poly = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / rest) ** 0.9)
    scheduler = poly
    if warmup_steps:
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=warmup_steps)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, poly], [warmup_steps])
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    schedule = learning_rate("poly", lr, steps, warmup_steps=warmup_steps)
    ours = [float(schedule(jnp.asarray(step, jnp.int32))) for step in range(steps)]
    np.testing.assert_allclose(ours, expected, rtol=1e-13)  # seen: 6e-15
