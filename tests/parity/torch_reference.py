"""Imports torch and torchvision for tests. Test modules that import this one are skipped without torch.

With a CPU-only torch, importing torchvision fails because operators are missing that nothing here needs.
Declaring their schemas first is enough.
"""

import pytest

torch = pytest.importorskip("torch")

_library = torch.library.Library("torchvision", "DEF")  # keeps the declarations alive
for _operator in ("nms", "qnms"):
    _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402

__all__ = ["torch", "torchvision"]
