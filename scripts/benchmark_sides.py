"""The worker process of one side of scripts/benchmark.py, which starts it with a task in JSON.

It first prints the seconds for loading (imports, weights, preparing) and for compiling, and the time of the
first result. For each input line "go" it prints the seconds of a forward pass. At "end" it prints its peak
memory.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

Output = Literal["logits", "labels"]
Run = Callable[[], np.ndarray]
"""Computes and waits; returns logits (N, H, W, C) or labels (N, H, W)."""


def fcn_jax_side(task: dict, images: np.ndarray, output: Output, direct: bool) -> tuple[Callable, Callable]:
    """This package: the compiled inference form, or the plain model under jax.jit."""
    import jax
    import jax.numpy as jnp

    import fcn_jax
    from fcn_jax.inference import inference_function
    from fcn_jax.models.arrays import Structure

    jax.config.update("jax_platforms", "cuda" if task["device"] == "cuda" else "cpu")
    if task["precision"] == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")
    dtype = jnp.bfloat16 if task["precision"] == "bfloat16" else None
    model = fcn_jax.get_model(task["model"], weights=task["weights"], dtype=dtype)
    if direct:
        structure = Structure(model)
        params, rest = structure.split(model)
        arrays = params | rest
        compiled = jax.jit(lambda arrays, images: structure.merge(arrays)(images))
    else:
        arrays, function = inference_function(model, output=output)
        compiled = jax.jit(function)
    del model
    arrays, batch = jax.device_put((arrays, images))

    def run():
        return jax.block_until_ready(compiled(arrays, batch))

    def several(count: int):
        results = [compiled(arrays, batch) for _ in range(count)]
        return jax.block_until_ready(results[-1])

    return several, lambda: np.asarray(run() if output == "labels" else run()["out"])


def torch_side(task: dict, images: np.ndarray, mode: str | None) -> tuple[Callable, Callable]:
    """PyTorch, eager or compiled, channels_last."""
    import torch
    from torch_modules import build_module

    device, precision = task["device"], task["precision"]
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if device == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    module = build_module(task["model"], task["weights"])
    module.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types
    batch = torch.tensor(images, device=device).permute(0, 3, 1, 2)  # already channels_last in memory
    if precision == "bfloat16":
        module, batch = module.bfloat16(), batch.bfloat16()
    if mode is not None:
        if device == "cpu":
            import torch._inductor.config as inductor

            inductor.freezing = True
        module = torch.compile(module, mode=mode)

    @torch.inference_mode()
    def several(count: int):
        logits: Any = None
        for _ in range(count):
            logits = module(batch)["out"]
        if device == "cuda":
            torch.cuda.synchronize()
        return logits

    return several, lambda: several(1).float().cpu().numpy().transpose(0, 2, 3, 1)


def onnxruntime_side(task: dict, images: np.ndarray) -> tuple[Callable, Callable]:
    """ONNX Runtime on the CPU, with a model exported by PyTorch."""
    import onnxruntime  # only in the extra `bench`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(task["onnx"], options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))}

    def several(count: int):
        logits: Any = None
        for _ in range(count):
            (logits,) = session.run(None, feed)
        return logits

    return several, lambda: several(1).transpose(0, 2, 3, 1)


def openvino_side(task: dict, images: np.ndarray) -> tuple[Callable, Callable]:
    """OpenVINO on the CPU, with the same file, in float32."""
    import openvino  # pyright: ignore[reportMissingImports]  # only in the extra `bench`

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(task["onnx"], "CPU", settings)
    batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    request = compiled.create_infer_request()

    def several(count: int):
        logits: Any = None
        for _ in range(count):
            logits = request.infer([batch])[compiled.output(0)]
        return logits

    return several, lambda: several(1).transpose(0, 2, 3, 1)


SIDES = {
    "fcn_jax": lambda task, images: fcn_jax_side(task, images, "logits", direct=False),
    "fcn_jax labels": lambda task, images: fcn_jax_side(task, images, "labels", direct=False),
    "fcn_jax direct": lambda task, images: fcn_jax_side(task, images, "logits", direct=True),
    "torch eager": lambda task, images: torch_side(task, images, None),
    "torch.compile": lambda task, images: torch_side(
        task, images, "max-autotune" if task["device"] == "cuda" else "default"
    ),
    "onnxruntime": onnxruntime_side,
    "openvino": openvino_side,
}
NEEDS = {
    "torch eager": ("torch",),
    "torch.compile": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
}


def main() -> None:
    task = json.loads(sys.argv[1])
    images = np.load(task["images"])
    begin = time.perf_counter()
    several, result = SIDES[task["side"]](task, images)
    loaded = time.perf_counter()
    first = result()
    answered, at = time.perf_counter(), time.time()
    result()
    compiling = 2 * answered - loaded - time.perf_counter()  # time of the first call minus the second
    np.save(Path(task["result"]), first)
    several(task["repeat"])
    facts = {"load": loaded - begin, "compile": max(0.0, compiling), "answered": at}
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        begin = time.perf_counter()
        several(task["repeat"])
        print((time.perf_counter() - begin) / task["repeat"], flush=True)
    print(json.dumps({"peak": peak_memory()}), flush=True)


def peak_memory() -> int:
    """Returns bytes. Not from getrusage, whose counter starts at the peak of the parent process."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
