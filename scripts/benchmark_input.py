"""Measures how many pictures per second training input prepares: reading, augmentation, batches.

    python scripts/benchmark_input.py IMAGES LABELS [--batch-size 16] [--batches 16] [--counts 1 2]

IMAGES and LABELS are folders with files of the same names, such as `JPEGImages` and `SegmentationClass` of
PASCAL VOC, or `train` and `trainannot` of CamVid. The script first times each part in one thread, then whole
batches from the stream, with threads and with worker processes. Expect about 100 pictures per second and
core, and threads at least as fast as workers.
"""

import argparse
import itertools
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from fcn_jax.datasets.augmentation import Augmentation
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.files import FileDataset


def find_pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    pictures = {path.stem: path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".png")}
    return [(pictures[path.stem], path) for path in sorted(labels.glob("*.png")) if path.stem in pictures]


def milliseconds(function, *inputs) -> float:
    """Returns the mean thread time of the calls with these inputs."""
    begin = time.thread_time()
    count = sum(1 for _ in map(function, *inputs))
    return (time.thread_time() - begin) * 1e3 / count


def print_parts(dataset: FileDataset, augmentation: Augmentation, count: int = 100) -> None:
    numbers = [number % len(dataset) for number in range(count)]
    samples = [dataset[number] for number in numbers]
    generators = [np.random.default_rng(seed) for seed in range(count)]
    images, labels = zip(*(dataset.pairs[number] for number in numbers), strict=True)
    parts = {
        "read a picture and its labels": milliseconds(dataset.__getitem__, numbers),
        "  decode the picture only": milliseconds(decode, images),
        "  decode the labels only": milliseconds(decode, labels),
        "augment": milliseconds(augmentation, *zip(*samples, strict=True), generators),
    }
    print(f"in one thread, means over {count} pictures:")
    for part, time_taken in parts.items():
        print(f"  {part:30} {time_taken:5.2f} ms")


def decode(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def rate(
    batches: Batches, count: int, *, workers: int = 0, threads: int | None = None, warm_up: int = 4
) -> tuple[float, ...]:
    """Returns quartiles of pictures per second over groups of four batches, after a warm-up."""
    with batches.stream(0, warm_up + count, workers=workers, threads=threads) as stream:
        times = []
        for step, _ in enumerate(stream, start=1):
            if step >= warm_up and step % 4 == 0:
                times.append(time.perf_counter())
    rates = [4 * batches.batch_size / (end - begin) for begin, end in itertools.pairwise(times)]
    return tuple(statistics.quantiles(rates, n=4))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--batches", type=int, default=16, help="batches to time per measurement; at least 12"
    )
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[1, 2], help="numbers of threads and workers to try"
    )
    arguments = parser.parse_args()

    pairs = find_pairs(arguments.images, arguments.labels)
    if not pairs:
        parser.error(f"no .png in {arguments.labels} has a picture of the same name in {arguments.images}")
    dataset = FileDataset(pairs, [f"class {number}" for number in range(255)])
    augmentation = Augmentation()
    versions = f"Python {platform.python_version()}, Pillow {PIL.__version__}, NumPy {np.__version__}"
    print(f"{versions}, {os.cpu_count()} cores; {len(dataset)} pictures")
    print_parts(dataset, augmentation)
    batches = Batches(dataset, batch_size=arguments.batch_size, seed=0, augmentation=augmentation)
    for count in arguments.counts:
        report(f"{count} threads", rate(batches, arguments.batches, threads=count))
    for count in arguments.counts:
        report(f"{count} workers", rate(batches, arguments.batches, workers=count))


def report(name: str, quartiles: tuple[float, ...]) -> None:
    low, middle, high = quartiles
    print(f"{name}: {middle:.0f} pictures per second (quartiles {low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
