"""Compares the speed of a training step with PyTorch's eager mode and torch.compile.

    python scripts/benchmark_training.py [--size 224x224] [--batch 2] [--rounds 9] [--model fcn_resnet50]

A step of a ResNet is torchvision's recipe with the auxiliary head: loss of both heads, gradients, SGD with
momentum and weight decay, poly schedule. A step of fcn8s_vgg16 treats biases and transposed convolutions as
the paper does, and is otherwise the same, with a smaller learning rate. All sides start from the same random
weights, use the same batch in every step, and take turns in one process. PyTorch is channels_last;
torch.compile compiles model and loss. Compiling and the first step are not timed. A ratio is our time over
the other side's time in the same round. The matrix rate is the rate of a large square matrix product. The
share of it counts the operations of convolutions, once in the forward pass and twice in the backward pass.

Dropout is off, so that the first step can be compared. The script prints two errors of our first step and of
PyTorch's eager mode against PyTorch in float64: that of the loss, and that of the gradient of the first
convolution over its largest value. Expect 1e-6 for the loss, and 2e-2 for the gradient of a ResNet on both
sides: it goes through about fifty ReLUs, where float32 rounding decides the sign of values near zero.
tests/parity/test_training.py compares in float64.

On a GPU all sides run in float32 (TF32 if the GPU has it) and then in bfloat16 (torch.autocast, and
`dtype=jnp.bfloat16`). Needs torch, torchvision, optax and, for torch.compile, a C++ compiler; --threads needs
Linux. Takes about three minutes on two cores. Ratios are reliable only if the load average before the start
was near zero.
"""

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves room for PyTorch on a GPU

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from torch.utils.flop_counter import FlopCounterMode
from torch_modules import import_torchvision
from torch_modules import random_module as random_paper_module

import fcn_jax
from fcn_jax.algorithms.choice import choose_for_training
from fcn_jax.models.arrays import Structure
from fcn_jax.training.objective import Objective
from fcn_jax.training.optimizers import GROUPS, learning_rate, sgd
from fcn_jax.training.state import create_state
from fcn_jax.training.step import make_train_step

NUM_CLASSES = 21
MOMENTUM, WEIGHT_DECAY, STEPS = 0.9, 1e-4, 10_000
PAUSE = 0.2  # seconds between two turns, until the threads of the other sides sleep


class Recipe(NamedTuple):
    """How a family is trained.

    Attributes:
      groups: the name of the learning rates and decays of the parameters.
      learning_rate: of most parameters.
      heads: {name: weight of its loss}.
      ours, torchs: the parameter whose gradient is compared: the first layer's, which depends on the whole
        backward pass.
    """

    groups: str
    learning_rate: float
    heads: dict[str, float]
    ours: str
    torchs: str


TORCHVISION = Recipe(
    "torchvision", 0.02, {"out": 1.0, "aux": 0.5}, "backbone.conv1.kernel", "backbone.conv1.weight"
)
PAPER = Recipe("paper", 1e-4, {"out": 1.0}, "backbone.conv1_1.kernel", "conv1_1.weight")
RECIPES = {"fcn_resnet50": TORCHVISION, "fcn_resnet101": TORCHVISION, "fcn8s_vgg16": PAPER}

Step = Callable[[], float]
"""Makes a step, waits for its end, and returns the loss."""


def torch_groups(module: torch.nn.Module, recipe: Recipe) -> list[dict]:
    """Groups the parameters that are trained as `fcn_jax.training.optimizers.GROUPS` does."""
    named, rate = dict(module.named_parameters()), recipe.learning_rate
    if recipe.groups == "torchvision":
        aux = [named.pop(name) for name in list(named) if name.startswith("aux_classifier.")]
        return [{"params": list(named.values())}, {"params": aux, "lr": rate * 10}]
    for name in [name for name in named if name.startswith("upscore")]:
        named.pop(name).requires_grad_(False)
    biases = [named.pop(name) for name in list(named) if name.endswith(".bias")]
    return [{"params": list(named.values())}, {"params": biases, "lr": rate * 2, "weight_decay": 0.0}]


def torch_side(
    module: torch.nn.Module, images, labels, recipe: Recipe, *, device: str, bfloat16: bool, compiled: bool
):
    """Returns a step like torchvision's `references/segmentation`, and a function for its gradient."""
    module = copy.deepcopy(module).train()
    module.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
    batch = torch.tensor(images, device=device).permute(0, 3, 1, 2)  # already channels_last in memory
    target = torch.tensor(labels, device=device, dtype=torch.long)
    groups = torch_groups(module, recipe)
    optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / STEPS) ** 0.9)

    def loss_of(batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = module(batch)
        losses = []
        for head, weight in recipe.heads.items():
            values = logits[head].float() if bfloat16 else logits[head]
            losses.append(weight * torch.nn.functional.cross_entropy(values, target, ignore_index=255))
        return torch.stack(losses).sum()

    if compiled:
        loss_of = torch.compile(loss_of)

    def step() -> float:
        with torch.autocast(device, torch.bfloat16) if bfloat16 else nullcontext():
            loss = loss_of(batch, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def gradient() -> np.ndarray:
        """Returns the momentum after one step, which is the gradient with weight decay."""
        parameter = dict(module.named_parameters())[recipe.torchs]
        return optimizer.state[parameter]["momentum_buffer"].permute(2, 3, 1, 0).cpu().numpy()

    return step, gradient


def jax_side(name: str, module: torch.nn.Module, images, labels, recipe: Recipe, *, bfloat16: bool):
    """Returns our step, starting from the module's weights, and a function for its gradient."""
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    model = fcn_jax.get_model(name, weights=weights, dtype=jnp.bfloat16 if bfloat16 else None)
    for _, layer in nnx.iter_modules(model):
        if isinstance(layer, nnx.Dropout):
            layer.rate = 0.0
    choose_for_training(model, jax.default_backend())
    model.train()
    structure = Structure(model)
    schedule = learning_rate("poly", recipe.learning_rate, STEPS)
    optimizer = sgd(
        structure.param_paths,
        schedule,
        groups=GROUPS[recipe.groups],
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
    )
    train_step = make_train_step(Objective(structure=structure, num_classes=NUM_CLASSES), optimizer, schedule)
    state = create_state(model, optimizer)
    batch = jax.device_put({"images": images, "labels": labels})
    number = 0

    def step() -> float:
        nonlocal state, number
        state, metrics = train_step(state, batch, number)
        number += 1
        jax.block_until_ready(state)
        return float(metrics["loss"])

    def gradient() -> np.ndarray:
        return np.asarray(optax.tree.get(state.moments, "trace")[recipe.ours])

    return step, gradient


def random_module(name: str) -> torch.nn.Module:
    """Builds a model with random weights and without dropout."""
    if name == "fcn8s_vgg16":
        return random_paper_module(name)
    torch.manual_seed(0)
    module = import_torchvision().models.get_model(
        name, weights=None, weights_backbone=None, num_classes=NUM_CLASSES, aux_loss=True
    )
    for layer in module.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    return module


def step_flops(module: torch.nn.Module, images: np.ndarray) -> int:
    """Counts multiplications and additions of a forward and backward pass, without computing it."""
    with torch.device("meta"):
        module = copy.deepcopy(module).to("meta")
        batch = torch.empty(images.shape[0], 3, *images.shape[1:3])
    with FlopCounterMode(display=False) as counter:
        logits = module(batch)
        torch.stack([values.sum() for values in logits.values()]).sum().backward()
    return counter.get_total_flops()


def matrix_rate(bfloat16: bool, size: int) -> float:
    """Measures multiplications and additions per second of a product of square matrices."""
    matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16 if bfloat16 else jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(matrix, matrix))
    return (
        2 * size**3 / min(seconds(lambda: jax.block_until_ready(product(matrix, matrix))) for _ in range(5))
    )


def seconds(run: Callable) -> float:
    time.sleep(PAUSE)
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def first_errors(module, images, labels, recipe: Recipe, device: str, sides: dict) -> str:
    """Makes the first step of each side, and compares loss and gradient with a step of PyTorch in float64."""
    exact = torch_side(
        copy.deepcopy(module).double(),
        images.astype(np.float64),
        labels,
        recipe,
        device=device,
        bfloat16=False,
        compiled=False,
    )
    loss, gradient = exact[0](), exact[1]()
    parts = []
    for name, (step, gradient_of) in sides.items():
        error = abs(step() - loss) / loss
        difference = np.abs(gradient_of() - gradient).max() / np.abs(gradient).max()
        parts.append(f"{name}: loss {error:.1e}, gradient {difference:.1e}")
    return "; ".join(parts)


def measure(options, device: str, bfloat16: bool) -> None:
    """Measures all sides and prints the results."""
    random = np.random.default_rng(0)
    images = random.standard_normal((options.batch, *options.size, 3), np.float32)
    labels = random.integers(0, NUM_CLASSES, images.shape[:3])
    labels[:, : options.size[0] // 8] = 255
    labels = labels.astype(np.uint8)
    module = random_module(options.model)
    flops = step_flops(module, images)
    rate = matrix_rate(bfloat16, 8192 if device == "cuda" else 2048)

    recipe, settings = RECIPES[options.model], {"device": device, "bfloat16": bfloat16}
    ours = jax_side(options.model, module, images, labels, recipe, bfloat16=bfloat16)
    eager = torch_side(module, images, labels, recipe, compiled=False, **settings)
    sides: dict[str, Step] = {"ours": ours[0], "torch eager": eager[0]}
    errors = first_errors(module, images, labels, recipe, device, {"ours": ours, "torch eager": eager})

    skipped = ""
    if not options.no_compile:
        compiled, _ = torch_side(module, images, labels, recipe, compiled=True, **settings)
        try:
            compiled()
            sides["torch.compile"] = compiled
        except Exception as error:  # a missing or failing compiler can raise anything
            skipped = f"torch.compile skipped: {str(error).strip().splitlines()[0]}"

    times = {side: [] for side in sides}
    for number in range(options.rounds):
        order = list(sides)[number % len(sides) :] + list(sides)[: number % len(sides)]
        for side in order:
            times[side].append(seconds(sides[side]))

    print(
        f"{options.model} {options.batch}x{options.size[0]}x{options.size[1]} "
        f"{'bfloat16' if bfloat16 else 'float32'}: {flops / 1e9:.0f} GFLOP a step, "
        f"matrix rate {rate / 1e9:.0f} GFLOP/s\n"
        f"  error against float64: {errors}"
    )
    for side, values in times.items():
        median = statistics.median(values)
        line = (
            f"  {side:13} {spread(values)} s  {options.batch / median:.2f} images/s  "
            f"{100 * flops / median / rate:.0f} % of the matrix rate"
        )
        if side != "ours":
            ratios = [one / other for one, other in zip(times["ours"], values, strict=True)]
            line += f"  ratio {spread(ratios)}"
        print(line)
    print(f"  load {os.getloadavg()[0]:.1f}  {skipped}".rstrip(), flush=True)


def parse_size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=list(RECIPES), default="fcn_resnet50")
    parser.add_argument("--size", type=parse_size, default=(224, 224), metavar="HxW")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="at least 2")
    parser.add_argument("--threads", type=int, help="cores per side; default: all")
    parser.add_argument(
        "--precisions",
        nargs="+",
        type={"float32": False, "bfloat16": True}.__getitem__,
        metavar="NAME",
        help="float32, bfloat16; default: float32; on a GPU both",
    )
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: quartiles need two or more")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    if options.threads:  # before any side starts threads; XLA counts the allowed cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # as XLA does, and as cuDNN does for PyTorch
    jax.config.update("jax_default_device", jax.devices("gpu" if device == "cuda" else "cpu")[0])

    hardware = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{hardware}; Python {platform.python_version()}, jax {jax.__version__}, torch {torch.__version__}; "
        f"load average {load}; {options.rounds} rounds: median (quartiles)",
        flush=True,
    )
    for bfloat16 in options.precisions or ((False, True) if device == "cuda" else (False,)):
        measure(options, device, bfloat16)


if __name__ == "__main__":
    main()
