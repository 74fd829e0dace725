"""Compares the speed of inference with PyTorch, ONNX Runtime and OpenVINO.

    python scripts/benchmark.py                                  # fcn_resnet50, 520x520, what is installed
    python scripts/benchmark.py --models fcn_resnet50 fcn_resnet101 fcn8s_vgg16 --sizes 520x520 375x500 \\
        --batches 1 8 --output benchmark
    python scripts/benchmark.py --precisions tf32 bfloat16 --batches 8 32       # on a GPU

For a folder of pictures of many sizes, compiling included: scripts/benchmark_folder.py.

Each side runs in its own process. After a warm-up the sides take turns in rounds, in changing order. A ratio
is the time of fcn_jax over the time of the other side in the same round (below 1: fcn_jax is faster). Sides:

- fcn_jax, the compiled inference form; "labels" returns labels without full-size logits; "direct" is the
  plain model under jax.jit
- PyTorch eager and torch.compile, channels_last; torch.compile uses max-autotune on a GPU, freezing on a CPU
- ONNX Runtime and OpenVINO, on a CPU

A side that is not installed is left out (`pip install '.[bench]'`). The table also shows: the largest error
against the same network in float64, over the largest logit, and the ratio to the error of PyTorch's own
float32 (below 1: closer to the truth than the original); labels that differ; seconds from the start of the
process to the first result, with the parts for loading (imports, weights, preparing) and for compiling; peak
host memory; the load average. The matrix rate is the rate of a large square matrix product.
The share of it counts the operations of plain convolutions, whatever algorithm a side uses.

Weights are random unless --weights names a checkpoint. Ratios are reliable only if the load average before
the start was near zero.
"""

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from benchmark_facts import headline, machine, spread
from benchmark_sides import NEEDS, SIDES
from torch.utils.flop_counter import FlopCounterMode
from torch_modules import build_module, random_module

CPU_SIDES = list(SIDES)
GPU_SIDES = ["fcn_jax", "fcn_jax labels", "torch eager", "torch.compile"]
MODELS = ("fcn_resnet50", "fcn_resnet101", "fcn8s_vgg16")
PAUSE = 0.2  # seconds between two turns, until the threads of the other sides sleep
CLEAR = 1e-4  # margin, over the largest logit, above which float32 labels must be equal


class Side:
    """The worker process of one side."""

    def __init__(self, name: str, task: dict, folder: Path):
        self.name = name
        self.result = folder / f"{name.replace(' ', '_')}.npy"
        task = task | {"side": name, "result": str(self.result)}
        script = Path(__file__).with_name("benchmark_sides.py")
        environment = os.environ | {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        begin = time.time()
        with (folder / "errors.txt").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, script, json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        assert self.process.stdin is not None  # both are pipes
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.facts = json.loads(self._line(folder))
        self.facts["start_up"] = self.facts.pop("answered") - begin

    def _line(self, folder: Path) -> str:
        for line in self.answers:
            if line.startswith("{"):
                return line
        raise RuntimeError((folder / "errors.txt").read_text().strip()[-2000:] or "ended without output")

    def go(self) -> float:
        return float(self._ask("go"))

    def end(self) -> None:
        self.facts |= json.loads(self._ask("end"))
        self.process.wait()

    def _ask(self, word: str) -> str:
        try:
            self.requests.write(f"{word}\n")
            self.requests.flush()
            answer = self.answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self.name}: ended with status {self.process.wait()} while it was measured")
        return answer


def measure(options, device: str, folder: Path, model: str, size, batch: int, precision: str) -> dict:
    """Measures all sides on one task."""
    random = np.random.default_rng(0)
    images = random.standard_normal((batch, *size, 3), np.float32)
    np.save(folder / "images.npy", images)
    weights = options.weights or str(folder / f"{model}.pth")
    if not Path(weights).exists():
        torch.save(random_module(model).state_dict(), weights)
    sides = [
        name for name in options.sides or (GPU_SIDES if device == "cuda" else CPU_SIDES) if installed(name)
    ]
    task = {
        "model": model,
        "weights": weights,
        "images": str(folder / "images.npy"),
        "device": device,
        "precision": precision,
        "repeat": options.repeat or (10 if device == "cuda" else 1),
        "onnx": str(folder / "model.onnx"),
    }
    if {"onnxruntime", "openvino"} & set(sides):
        export_onnx(build_module(model, weights), images, task["onnx"])
    expected, original, flops = reference(build_module(model, weights), images)

    workers, skipped = [], {}
    for name in sides:
        try:
            workers.append(Side(name, task, folder))
        except RuntimeError as error:
            skipped[name] = str(error)
            print(f"  {name} left out: {str(error).splitlines()[-1]}", flush=True)
    if not workers:
        raise RuntimeError(f"no side could be measured: {'; '.join(skipped.values()) or 'none is installed'}")
    times = take_turns(workers, options.rounds)
    rows = []
    for worker in workers:
        worker.end()
        rows.append(
            {
                "side": worker.name,
                "seconds": times[worker.name],
                "ratios": [a / b for a, b in zip(times[workers[0].name], times[worker.name], strict=True)],
                **accuracy(np.load(worker.result), expected, original),
                **worker.facts,
            }
        )
    if workers[0].name == "fcn_jax":  # start-up once more, with a filled persistent compilation cache
        again = Side("fcn_jax", task, folder)
        again.end()
        rows[0]["start_up_cached"] = again.facts["start_up"]
    return {
        "model": model,
        "size": size,
        "batch": batch,
        "precision": precision,
        "flops": flops,
        "load": os.getloadavg()[0],
        "rows": rows,
        "skipped": skipped,
    }


def take_turns(workers: list[Side], rounds: int) -> dict[str, list[float]]:
    """Measures the sides in turn, starting each round with the next side; returns seconds by side."""
    times: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for number in range(rounds):
        turn = number % len(workers)
        for worker in workers[turn:] + workers[:turn]:
            time.sleep(PAUSE)
            times[worker.name].append(worker.go())
    return times


def installed(side: str) -> bool:
    return all(importlib.util.find_spec(package) for package in NEEDS.get(side, ("jax",)))


def export_onnx(module: torch.nn.Module, images: np.ndarray, path: str) -> None:
    class Out(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, images):
            return self.module(images)["out"]

    example = torch.zeros(images.shape[0], 3, *images.shape[1:3])
    warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export")
    torch.onnx.export(Out().eval(), (example,), path, dynamo=False, opset_version=17)


@torch.inference_mode()
def reference(module: torch.nn.Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Computes logits (H, W, C) of the first image in float64 and in float32, and counts all operations."""

    def first(dtype: torch.dtype) -> np.ndarray:
        pixels = torch.tensor(images[:1], dtype=dtype).permute(0, 3, 1, 2)
        return module.to(dtype)(pixels)["out"][0].permute(1, 2, 0).numpy()

    original = first(torch.float32)
    with FlopCounterMode(display=False) as counter:
        expected = first(torch.float64)
    return expected, original, counter.get_total_flops() * len(images)


def accuracy(result: np.ndarray, expected: np.ndarray, original: np.ndarray) -> dict:
    """Compares logits (N, H, W, C), or labels (N, H, W), of the first image."""
    largest = np.abs(expected).max()
    labels = expected.argmax(-1)
    ours = result[0] if result.ndim == 3 else result[0].argmax(-1)
    top = np.partition(expected, -2, axis=-1)[..., -2:]
    clear = (top[..., 1] - top[..., 0]) > CLEAR * largest
    error = {}
    if result.ndim == 4:
        off = np.abs(result[0] - expected).max()
        error = {
            "error": float(off / largest),
            "error_over_original": float(off / np.abs(original - expected).max()),
        }
    return error | {
        "labels_differ": float((ours != labels).mean()),
        "clear_labels_differ": int((ours != labels)[clear].sum()),
    }


def matrix_rate(device: str, precision: str) -> float:
    """Measures operations per second of a product of square matrices, the best of ten.

    On a CPU it is a 1x1 convolution, because PyTorch's product (MKL) is half as fast on some processors.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    size = 8192 if device == "cuda" else 2048
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    pixels = torch.randn(1, size, size // 32, 32).to(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(10):
        begin = time.perf_counter()
        if device == "cuda":
            torch.matmul(matrix, matrix)
            torch.cuda.synchronize()
        else:
            torch.nn.functional.conv2d(pixels, matrix[:, :, None, None])
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def table(run: dict, rate: float) -> str:
    """Formats the results of one task."""
    lines = [
        f"{run['model']} {run['batch']}x{run['size'][0]}x{run['size'][1]} {run['precision']}: "
        f"{run['flops'] / 1e9:.0f} GFLOP, matrix rate {rate / 1e9:.0f} GFLOP/s, load {run['load']:.1f}"
    ]
    for row in run["rows"]:
        middle = statistics.median(row["seconds"])
        line = (
            f"  {row['side']:15} {spread(row['seconds'], 4)} s  {run['batch'] / middle:8.2f} images/s  "
            f"{run['flops'] / middle / rate:4.0%} of the matrix rate  "
        )
        line += f"ratio {spread(row['ratios'], 2)}  " if row is not run["rows"][0] else ""
        if "error" in row:
            line += f"error {row['error']:.1e}, {row['error_over_original']:.2f} of PyTorch's  "
        line += f"labels differ {row['labels_differ']:.2%}, clear ones {row['clear_labels_differ']}  "
        again = f", cached {row['start_up_cached']:.1f}" if "start_up_cached" in row else ""
        line += (
            f"start-up {row['start_up']:.1f} s{again} (loading {row['load']:.1f}, compiling "
            f"{row['compile']:.1f})  peak {row['peak'] / 2**20:.0f} MiB"
        )
        lines.append(line)
    return "\n".join(lines)


def chart(runs: list[dict], path: Path) -> None:
    """Draws images per second, with a panel for each task."""
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(8, 0.6 + sum(0.35 * len(run["rows"]) + 0.6 for run in runs)), layout="constrained"
    )
    heights = [len(run["rows"]) + 1 for run in runs]
    panels = figure.subplots(len(runs), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, run in zip(panels, runs, strict=True):
        names = [row["side"] for row in run["rows"]]
        rates = [[run["batch"] / value for value in row["seconds"]] for row in run["rows"]]
        middles = [statistics.median(values) for values in rates]
        errors = [
            [middle - np.quantile(values, 0.25) for middle, values in zip(middles, rates, strict=True)],
            [np.quantile(values, 0.75) - middle for middle, values in zip(middles, rates, strict=True)],
        ]
        colors = ["#2a5caa" if name.startswith("fcn_jax") else "#b9bec7" for name in names]
        panel.barh(names, middles, xerr=errors, color=colors, ecolor="#555555", capsize=2)
        panel.invert_yaxis()
        panel.spines[["top", "right"]].set_visible(False)
        size = f"{run['batch']}x{run['size'][0]}x{run['size'][1]}"
        panel.set_title(f"{run['model']}, {size}, {run['precision']}", loc="left", fontsize=10)
    panels[-1].set_xlabel("images per second: median, quartiles")
    figure.savefig(path, dpi=120)


def parse_size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="For a folder of pictures of many sizes, compiling included: scripts/benchmark_folder.py",
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["fcn_resnet50"], metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=[(520, 520)], metavar="HxW")
    parser.add_argument("--batches", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=("float32", "tf32", "bfloat16"),
        help="default: float32; on a GPU tf32 and bfloat16",
    )
    parser.add_argument("--sides", nargs="+", choices=SIDES, metavar="NAME", help=", ".join(SIDES))
    parser.add_argument("--rounds", type=int, default=9, help="at least 2")
    parser.add_argument("--repeat", type=int, help="forward passes per turn; default: 1, on a GPU 10")
    parser.add_argument("--weights", help="a .pth checkpoint of the model, without an auxiliary head")
    parser.add_argument("--output", type=Path, help="folder for benchmark.json and benchmark.png")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: quartiles need two or more")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precisions = options.precisions or (["tf32", "bfloat16"] if device == "cuda" else ["float32"])
    facts = machine(torch.cuda.get_device_name() if device == "cuda" else None)
    print(headline(facts, options.rounds), flush=True)
    runs = []
    tasks = itertools.product(options.models, options.sizes, options.batches, precisions)
    for model, size, batch, precision in tasks:
        with tempfile.TemporaryDirectory() as folder:
            run = measure(options, device, Path(folder), model, size, batch, precision)
        run["matrix_rate"] = matrix_rate(device, precision)
        runs.append(run)
        print(table(run, run["matrix_rate"]), flush=True)
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            (options.output / "benchmark.json").write_text(
                json.dumps(facts | {"runs": runs}, indent=2) + "\n"
            )
            chart(runs, options.output / "benchmark.png")


if __name__ == "__main__":
    main()
