"""torch and torchvision as oracles: who imports them from here is skipped where torch is absent.

The torchvision wheels expect CUDA operators. Beside a CPU-only torch their absence stops the import, although
nothing here needs them; declaring their schemas first is enough.
"""

import pytest

torch = pytest.importorskip("torch")

_library = torch.library.Library("torchvision", "DEF")  # the declarations last as long as this object
for _operator in ("nms", "qnms"):
    _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402

__all__ = ["torch", "torchvision"]
