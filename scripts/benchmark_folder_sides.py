"""The worker process of one side of scripts/benchmark_folder.py, which starts it with a task in JSON.

It segments the pictures of a folder twice: opens each file, applies the transforms and the network, resizes
the logits to the picture's own size, takes the argmax. Each pass writes its labels, a byte a pixel, into a
file. The last line of output is JSON: seconds for loading (imports, weights, preparing) and for each pass,
and what the process had compiled and held in memory by then.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from benchmark_facts import cores
from benchmark_sides import peak_memory
from PIL import Image

EARLY = 20  # memory is read after so many pictures, and after the last
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Segment = Callable[[list[Path]], Iterator[np.ndarray]]
"""Yields the labels (H, W) uint8 of each picture."""
Counts = Callable[[], dict]
"""Tells what was compiled since it was last asked."""


class Compilations:
    """Counts what XLA compiles in this process, and what it takes from the cache on disk instead."""

    COMPILED = "/jax/core/compile/backend_compile_duration"  # also where the cache has the program
    CACHED = "/jax/compilation_cache/cache_hits"

    def __init__(self):
        import jax

        self._seconds: list[float] = []
        self._cached = 0
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)
        jax.monitoring.register_event_listener(self._on_event)

    def take(self) -> dict:
        """Returns the counts, and starts again from zero."""
        facts = {
            "compilations": len(self._seconds),
            "cached": self._cached,
            "compiling": sum(self._seconds),
        }
        self._seconds, self._cached = [], 0
        return facts

    def _on_duration(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == self.COMPILED:
            self._seconds.append(duration_secs)

    def _on_event(self, event: str, **_: str | int) -> None:
        self._cached += event == self.CACHED


def fcn_jax_side(task: dict) -> tuple[Segment, Counts]:
    """This package, as the command line starts it: with compiled programs kept in the cache folder."""
    compilations = Compilations()

    import fcn_jax
    from fcn_jax.cli.computing import start_computing
    from fcn_jax.inference.engine import MOST_PROGRAMS
    from fcn_jax.transforms import SemanticSegmentation

    start_computing()
    model = fcn_jax.load_model(task["weights"])
    segmenter = fcn_jax.Segmenter(model, SemanticSegmentation(resize_size=task["resize"]))

    def segment(paths: list[Path]) -> Iterator[np.ndarray]:
        return (result.labels for result in segmenter.stream(paths))

    def counts() -> dict:
        programs = min(segmenter.compilations, MOST_PROGRAMS)
        return compilations.take() | {"programs": programs}

    return segment, counts


def torch_side(task: dict) -> tuple[Segment, Counts]:
    """torchvision's preset and network, PyTorch eager, channels_last."""
    import torch
    from torch_modules import build_module, import_torchvision

    torch.set_num_threads(cores())
    presets = import_torchvision().transforms._presets
    transforms = presets.SemanticSegmentation(resize_size=task["resize"])
    module = build_module(task["model"], task["weights"])
    module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's types

    @torch.inference_mode()
    def labels(path: Path) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        images = transforms(image)[None].contiguous(memory_format=torch.channels_last)
        size = (image.height, image.width)
        logits = torch.nn.functional.interpolate(module(images)["out"], size=size, mode="bilinear")
        return logits.argmax(1)[0].to(torch.uint8).numpy()

    return lambda paths: map(labels, paths), dict


def onnxruntime_side(task: dict) -> tuple[Segment, Counts]:
    """ONNX Runtime with dynamic axes; the graph ends in labels at the picture's own size."""
    import onnxruntime  # only in the extra `bench`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(task["onnx"], options, providers=["CPUExecutionProvider"])

    def labels(path: Path) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        picture = np.empty((image.height, image.width), np.uint8)  # for its shape only
        feed = {"images": prepared(image, task["resize"]), "picture": picture}
        (found,) = session.run(["labels"], feed)
        return np.asarray(found)[0].astype(np.uint8)

    return lambda paths: map(labels, paths), dict


def prepared(image: Image.Image, resize: int) -> np.ndarray:
    """Applies torchvision's preset without PyTorch; returns (1, 3, H, W) float32."""
    short = min(image.size)
    width, height = (int(resize * edge / short) for edge in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    scale = 1 / (255 * np.array(STD))
    shift = np.array(MEAN) / np.array(STD)
    pixels = pixels * scale.astype(np.float32) - shift.astype(np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


SIDES = {
    "fcn_jax": fcn_jax_side,
    "fcn_jax again": fcn_jax_side,
    "torch eager": torch_side,
    "onnxruntime": onnxruntime_side,
}
NEEDS = {
    "torch eager": ("torch", "torchvision"),
    "onnxruntime": ("torch", "torchvision", "onnx", "onnxruntime"),  # PyTorch exports the graph
}


def one_pass(segment: Segment, paths: list[Path], written: Path) -> dict:
    """Segments all pictures; returns seconds, and memory after the `early` first and after all of them."""
    begin = time.perf_counter()
    results, memory = segment(paths), []
    with written.open("wb") as file:
        for part in (EARLY, None):
            for labels in itertools.islice(results, part):
                file.write(labels.tobytes())
            memory.append(resident_memory())
    seconds = time.perf_counter() - begin
    early = min(EARLY, len(paths))
    return {"seconds": seconds, "early": early, "memory_early": memory[0], "memory": memory[1]}


def resident_memory() -> int:
    """Returns bytes; outside Linux the largest so far."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def main() -> None:
    task = json.loads(sys.argv[1])
    paths = sorted(Path(task["pictures"]).iterdir())
    begin = time.perf_counter()
    segment, counts = SIDES[task["side"]](task)
    facts = {"loading": {"seconds": time.perf_counter() - begin, **counts()}}
    for name, written in task["labels"].items():
        facts[name] = one_pass(segment, paths, Path(written)) | counts()
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
