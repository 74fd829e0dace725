"""Compares the speed of a training step with PyTorch's eager mode and torch.compile.

    python scripts/benchmark_training.py [--size 224x224] [--batch 2] [--rounds 9] [--model fcn_resnet50]

A step is torchvision's recipe with the auxiliary head: loss of both heads, gradients, SGD with momentum and
weight decay, poly schedule. All sides start from the same random weights, use the same batch in every step,
and take turns in one process. PyTorch is channels_last; torch.compile compiles model and loss. Compiling and
the first step are not timed. A ratio is our time over the other side's time in the same round. The matrix
rate is the rate of a large square matrix product. The share of it counts the operations of convolutions, once
in the forward pass and twice in the backward pass.

Dropout is off, so that the first step can be compared with PyTorch's eager mode. The script prints the error
of our loss, and the error of our gradient of the first convolution over its largest value. Expect 1e-6 for
the loss. The gradient goes through about fifty ReLUs, where float32 rounding decides the sign of values near
zero: both PyTorch's gradient and ours differ by 2e-2 from the float64 gradient.
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

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves room for PyTorch on a GPU

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.utils.flop_counter import FlopCounterMode
from torch_modules import import_torchvision

import fcn_jax
from fcn_jax.algorithms.choice import choose_for_training
from fcn_jax.models.arrays import Structure
from fcn_jax.training.objective import Objective
from fcn_jax.training.optimizers import GROUPS, learning_rate, sgd
from fcn_jax.training.state import create_state
from fcn_jax.training.step import make_train_step

NUM_CLASSES = 21
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, STEPS = 0.02, 0.9, 1e-4, 10_000
PAUSE = 0.2  # seconds between two turns, until the threads of the other sides sleep
# The gradient that is compared: the first layer's, which depends on the whole backward pass.
OUR_PARAMETER, TORCHS_PARAMETER = "backbone.conv1.kernel", "backbone.conv1.weight"

Step = Callable[[], float]
"""Makes a step, waits for its end, and returns the loss."""


def torch_side(module: torch.nn.Module, images, labels, *, device: str, bfloat16: bool, compiled: bool):
    """Returns a step like torchvision's `references/segmentation`, and a function for its gradient."""
    module = copy.deepcopy(module).train()
    module.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
    batch = torch.tensor(images, device=device).permute(0, 3, 1, 2)  # already channels_last in memory
    target = torch.tensor(labels, device=device, dtype=torch.long)
    groups = [
        {"params": module.get_submodule("backbone").parameters()},
        {"params": module.get_submodule("classifier").parameters()},
        {"params": module.get_submodule("aux_classifier").parameters(), "lr": LEARNING_RATE * 10},
    ]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 - step / STEPS) ** 0.9)

    def loss_of(batch: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits = module(batch)
        losses = [
            torch.nn.functional.cross_entropy(logits[head].float(), target, ignore_index=255)
            for head in ("out", "aux")
        ]
        return losses[0] + 0.5 * losses[1]

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
        parameter = dict(module.named_parameters())[TORCHS_PARAMETER]
        return optimizer.state[parameter]["momentum_buffer"].permute(2, 3, 1, 0).cpu().numpy()

    return step, gradient


def jax_side(name: str, module: torch.nn.Module, images, labels, *, bfloat16: bool):
    """Returns our step, starting from the module's weights, and a function for its gradient."""
    weights = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    model = fcn_jax.get_model(name, weights=weights, dtype=jnp.bfloat16 if bfloat16 else None)
    assert isinstance(model, fcn_jax.FCN)
    assert model.aux_classifier is not None
    model.classifier.dropout.rate = model.aux_classifier.dropout.rate = 0.0
    choose_for_training(model, jax.default_backend())
    model.train()
    structure = Structure(model)
    schedule = learning_rate("poly", LEARNING_RATE, STEPS)
    optimizer = sgd(
        structure.param_paths,
        schedule,
        groups=GROUPS["torchvision"],
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
        return np.asarray(optax.tree.get(state.moments, "trace")[OUR_PARAMETER])

    return step, gradient


def random_module(name: str) -> torch.nn.Module:
    """Builds torchvision's model with random weights and without dropout."""
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
        (logits["out"].sum() + logits["aux"].sum()).backward()
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

    settings = {"device": device, "bfloat16": bfloat16}
    ours, our_gradient = jax_side(options.model, module, images, labels, bfloat16=bfloat16)
    eager, eager_gradient = torch_side(module, images, labels, compiled=False, **settings)
    sides: dict[str, Step] = {"ours": ours, "torch eager": eager}
    loss, expected_loss = ours(), eager()
    gradient, expected = our_gradient(), eager_gradient()
    errors = (
        abs(loss - expected_loss) / expected_loss,
        np.abs(gradient - expected).max() / np.abs(expected).max(),
    )

    skipped = ""
    if not options.no_compile:
        compiled, _ = torch_side(module, images, labels, compiled=True, **settings)
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
        f"matrix rate {rate / 1e9:.0f} GFLOP/s; "
        f"error of the loss {errors[0]:.1e}, of the gradient {errors[1]:.1e}"
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
    parser.add_argument("--model", choices=["fcn_resnet50", "fcn_resnet101"], default="fcn_resnet50")
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
