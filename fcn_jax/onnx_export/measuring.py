"""Compares two ONNX files, the float one and the quantized one: size, time, labels."""

import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from fcn_jax.inference.prepare import Output
from fcn_jax.onnx_export.ends import IMAGES, labels_of, output_name


class Comparison(NamedTuple):
    """Two files side by side; the float32 one comes first.

    Attributes:
      bytes: sizes of the files.
      seconds: for one picture in ONNX Runtime on this machine's CPU, the median over pictures.
      agreement: share of the pixels, from 0 to 1, that get the same label from both.
    """

    bytes: tuple[int, int]
    seconds: tuple[float, float]
    agreement: float

    def __str__(self) -> str:
        (whole, small), (slow, fast) = self.bytes, self.seconds
        return (
            f"{small / 2**20:.1f} MiB instead of {whole / 2**20:.1f}, {fast * 1e3:.0f} ms a picture instead "
            f"of {slow * 1e3:.0f}, labels equal at {100 * self.agreement:.2f} % of the pixels"
        )


def compare_files(
    whole: Path, small: Path, batches: Iterable[np.ndarray], output: Output, threshold: float | None
) -> Comparison:
    """Runs both files in turns on the same pictures, each twice, and takes the quicker time.

    Args:
      whole, small: paths of the files.
      batches: prepared pictures (1, H, W, C), at least one.
      output: of the files.
      threshold: see `labels_of`.
    """
    sessions = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in (whole, small)
    ]
    name, times, equal, pixels = output_name(output, "out"), ([], []), 0, 0
    for images in batches:
        quickest, found = [float("inf")] * 2, {}
        for _ in range(2):
            for side, session in enumerate(sessions):
                begin = time.perf_counter()
                (found[side],) = map(np.asarray, session.run([name], {IMAGES: images}))
                quickest[side] = min(quickest[side], time.perf_counter() - begin)
        labels = [labels_of(found[side], output, threshold) for side in (0, 1)]
        equal += int((labels[0] == labels[1]).sum())
        pixels += labels[0].size
        for side in (0, 1):
            times[side].append(quickest[side])
    return Comparison(
        (whole.stat().st_size, small.stat().st_size),
        (statistics.median(times[0]), statistics.median(times[1])),
        equal / pixels,
    )
