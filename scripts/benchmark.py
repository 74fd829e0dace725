"""How fast is a forward pass, beside PyTorch's eager mode?

    python scripts/benchmark.py [--models fcn_resnet50 fcn8s_vgg16] [--size 520x520] [--batch 1] [--rounds 9]

Both sides get the same random weights and the same images, and take turns in one process: this package under
`jax.jit`, and torchvision's module, or for fcn8s_vgg16 the module below, in inference mode and channels_last.
Compiling and a first pass stay outside of the timing. A ratio is our time over PyTorch's in the same round;
the error is the largest difference of the logits over the largest logit. Both sides compute on the GPU where
both find one, else on the CPU. Needs torch, and torchvision for its models; --threads also needs Linux.
Takes about a minute a model on two cores. Expect errors of 1e-5 or less on a CPU, and ratios that mean
something only where the load average before the start was near zero.
"""

import argparse
import os
import platform
import statistics
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves room for PyTorch on a GPU

import jax
import numpy as np
import torch
from check_parity import import_torchvision
from flax import nnx

import fcn_jax

SIZES = {"fcn_resnet50": (520, 520), "fcn_resnet101": (520, 520), "fcn8s_vgg16": (500, 500)}
PAUSE = 0.2  # seconds between two turns, for the other side's threads to fall asleep


class FCN8s(torch.nn.Module):
    """The authors' voc-fcn8s, with the layer names of their net."""

    BLOCKS = (
        (1, 64, 2),
        (2, 128, 2),
        (3, 256, 3),
        (4, 512, 3),
        (5, 512, 3),
    )  # number, channels, convolutions

    def __init__(self, num_classes: int = 21):
        super().__init__()
        inputs = 3
        for block, channels, count in self.BLOCKS:
            for index in range(1, count + 1):
                padding = 100 if inputs == 3 else 1
                self.add_module(f"conv{block}_{index}", torch.nn.Conv2d(inputs, channels, 3, padding=padding))
                inputs = channels
        self.fc6 = torch.nn.Conv2d(512, 4096, 7)
        self.fc7 = torch.nn.Conv2d(4096, 4096, 1)
        self.score_fr = torch.nn.Conv2d(4096, num_classes, 1)
        self.score_pool3 = torch.nn.Conv2d(256, num_classes, 1)
        self.score_pool4 = torch.nn.Conv2d(512, num_classes, 1)
        for name, kernel, stride in (("upscore2", 4, 2), ("upscore_pool4", 4, 2), ("upscore8", 16, 8)):
            upscore = torch.nn.ConvTranspose2d(num_classes, num_classes, kernel, stride, bias=False)
            self.add_module(name, upscore)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        pools, x = {}, images
        for block, _, count in self.BLOCKS:
            for index in range(1, count + 1):
                x = self.get_submodule(f"conv{block}_{index}")(x).relu_()
            x = pools[block] = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
        x = self.fc7(self.fc6(x).relu_()).relu_()  # dropout does nothing here
        x = self.upscore2(self.score_fr(x))
        x = self.upscore_pool4(x + cropped(self.score_pool4(pools[4]), 5, x))
        x = self.upscore8(x + cropped(self.score_pool3(pools[3]), 9, x))
        return {"out": cropped(x, 31, images)}


def cropped(x: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def random_module(name: str) -> torch.nn.Module:
    """Builds PyTorch's side; weights and batch-norm statistics are such that activations stay near 1."""
    torch.manual_seed(0)
    if name == "fcn8s_vgg16":
        module = FCN8s()
    else:
        module = import_torchvision().models.get_model(
            name, weights=None, weights_backbone=None, num_classes=21, aux_loss=False
        )
    for key, tensor in module.state_dict().items():
        if tensor.ndim == 4:
            torch.nn.init.kaiming_normal_(tensor)
        elif key.endswith(("running_var", "weight")):
            tensor.uniform_(0.1, 0.5) if ".bn3." in key and "var" not in key else tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.3)
    return module.eval()


def torch_side(module: torch.nn.Module, images: np.ndarray, device: str):
    """Gives a function that computes the logits (N, C, H, W) and waits for them."""
    module = module.to(device, memory_format=torch.channels_last)
    batch = torch.tensor(images, device=device).permute(0, 3, 1, 2)  # so it is channels_last already

    @torch.inference_mode()
    def run() -> torch.Tensor:
        logits = module(batch)["out"]
        if device == "cuda":
            torch.cuda.synchronize()
        return logits

    return run


def jax_side(name: str, module: torch.nn.Module, images: np.ndarray):
    """Gives a function that computes the logits (N, H, W, C) with the module's weights and waits for them."""
    state_dict = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
    graphdef, state = nnx.split(fcn_jax.get_model(name, weights=state_dict))
    forward = jax.jit(lambda state, images: nnx.merge(graphdef, state)(images)["out"])
    batch = jax.device_put(images)
    return lambda: forward(state, batch).block_until_ready()


def seconds(run) -> float:
    time.sleep(PAUSE)
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def measure(name: str, size: tuple[int, int], batch: int, rounds: int, device: str) -> str:
    images = np.random.default_rng(0).standard_normal((batch, *size, 3), np.float32)
    module = random_module(name)
    ours = jax_side(name, module, images)  # first: it reads the module's arrays where they are now
    theirs = torch_side(module, images, device)
    expected = np.moveaxis(theirs().cpu().numpy(), 1, -1)
    error = np.abs(np.asarray(ours()) - expected).max() / np.abs(expected).max()

    times = {ours: [], theirs: []}
    for number in range(rounds):
        for run in (ours, theirs) if number % 2 else (theirs, ours):
            times[run].append(seconds(run))
    ratios = [one / other for one, other in zip(times[ours], times[theirs], strict=True)]
    sizes = f"{batch}x{size[0]}x{size[1]}"
    return (
        f"{name:13} {sizes}  ours {spread(times[ours])} s  torch {spread(times[theirs])} s  "
        f"ratio {spread(ratios)}  error {error:.1e}"
    )


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def parse_size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME")
    parser.add_argument(
        "--size", type=parse_size, metavar="HxW", help="default: 520x520; the paper's 500x500"
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9, help="two or more")
    parser.add_argument("--threads", type=int, help="cores for each side; default: all")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: quartiles need two or more")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    if options.threads:  # before either side starts its threads; XLA counts the cores it may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    torch.backends.cudnn.benchmark = True
    jax.config.update("jax_default_device", jax.devices("gpu" if device == "cuda" else "cpu")[0])

    hardware = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{hardware}; Python {platform.python_version()}, jax {jax.__version__}, torch {torch.__version__}; "
        f"load average {load}; {options.rounds} rounds: median (quartiles)"
    )
    for name in options.models:
        line = measure(name, options.size or SIZES[name], options.batch, options.rounds, device)
        print(f"{line}  load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
