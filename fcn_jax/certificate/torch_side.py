"""The networks in PyTorch: torchvision's own, and the paper's, which PyTorch does not ship. Imports torch."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional

from weights_converter import ModelSpec

_DECLARED = []  # keeps each torch.library.Library alive, and with it the operators that it declares


class TorchSide(Protocol):
    """A network in PyTorch, in float64.

    Attributes:
      description: what it is, with versions.
    """

    description: str

    def logits(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Computes the logits of each head, (N, H, W, C), for images (N, H, W, channels)."""
        ...


def torch_side(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> TorchSide | None:
    """Returns a network in PyTorch, filled from a state_dict; None if there is none with this name.

    Raises:
      ImportError: torchvision is not installed, and the network is its own.
    """
    filled = {name: torch.tensor(array) for name, array in tensors.items()}
    filled = {name: x.double() if x.is_floating_point() else x for name, x in filled.items()}
    if spec.name in PAPER:
        return _Paper(PAPER[spec.name], filled)
    if spec.name in ("fcn_resnet50", "fcn_resnet101"):
        return _Torchvision(spec, filled)
    return None


def import_torchvision() -> Any:
    """Imports torchvision; with a CPU-only torch, declares the operators that it expects."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)
    return importlib.import_module("torchvision")


class _Torchvision:
    """torchvision's fcn_resnet50 or fcn_resnet101."""

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, torch.Tensor]):
        torchvision = import_torchvision()
        with torch.device("meta"):
            self.module = torchvision.models.get_model(
                spec.name,
                weights=None,
                weights_backbone=None,
                num_classes=spec.num_classes,
                aux_loss=spec.aux_loss,
            )
            if spec.in_channels != 3:
                self.module.backbone.conv1 = torch.nn.Conv2d(spec.in_channels, 64, 7, 2, 3, bias=False)
        self.module.load_state_dict(tensors, strict=True, assign=True)
        self.module.eval()
        self.description = f"torchvision {torchvision.__version__}, torch {torch.__version__}"

    def logits(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {head: _last(x) for head, x in self.module(_first(images)).items()}


class Paper(NamedTuple):
    """A network of the paper, as the authors' net definitions have it.

    Attributes:
      skips: for each skip the upsampling, the pooled map, its crop and its scale.
      last: the last upsampling.
      stride: its stride.
      crop: its crop.
    """

    skips: tuple[tuple[str, str, int, float], ...]
    last: str
    stride: int
    crop: int


PAPER = {
    "fcn32s_vgg16": Paper((), "upscore", 32, 19),
    "fcn16s_vgg16": Paper((("upscore2", "pool4", 5, 1.0),), "upscore16", 16, 27),
    "fcn8s_vgg16": Paper(
        (("upscore2", "pool4", 5, 1.0), ("upscore_pool4", "pool3", 9, 1.0)), "upscore8", 8, 31
    ),
    "fcn8s_atonce_vgg16": Paper(
        (("upscore2", "pool4", 5, 0.01), ("upscore_pool4", "pool3", 9, 0.0001)), "upscore8", 8, 31
    ),
    "fcn32s_alexnet": Paper((), "upscore", 32, 18),
}


class _Paper:
    """A network of the paper, put together from PyTorch's functions; its crops are the published numbers."""

    description = f"the authors' net in torch {torch.__version__}"

    def __init__(self, net: Paper, tensors: Mapping[str, torch.Tensor]):
        self.net, self.tensors = net, tensors

    def logits(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            x = _first(images)
            maps = self._alexnet(x) if "conv1.weight" in self.tensors else self._vgg16(x)
            coarse = self._conv("score_fr", maps["fc7"])
            for upsampling, source, crop, scale in self.net.skips:
                coarse = self._upsampled(upsampling, coarse, 2)
                finer = self._conv(f"score_{source}", maps[source] * scale)
                coarse = coarse + _cropped(finer, crop, coarse)
            whole = self._upsampled(self.net.last, coarse, self.net.stride)
            return {"out": _last(_cropped(whole, self.net.crop, x))}

    def _vgg16(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = {}
        for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
            for index in range(1, convolutions + 1):
                padding = 100 if block == index == 1 else 1
                x = functional.relu(self._conv(f"conv{block}_{index}", x, padding=padding))
            x = maps[f"pool{block}"] = functional.max_pool2d(x, 2, 2, ceil_mode=True)
        return maps | {"fc7": self._classifier(x)}

    def _alexnet(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = _normalized(_pooled(functional.relu(self._conv("conv1", x, stride=4, padding=100))))
        x = _normalized(_pooled(functional.relu(self._conv("conv2", x, padding=2, groups=2))))
        x = functional.relu(self._conv("conv3", x, padding=1))
        x = functional.relu(self._conv("conv4", x, padding=1, groups=2))
        x = _pooled(functional.relu(self._conv("conv5", x, padding=1, groups=2)))
        return {"fc7": self._classifier(x)}

    def _classifier(self, x: torch.Tensor) -> torch.Tensor:
        """fc6 and fc7; dropout does nothing here."""
        return functional.relu(self._conv("fc7", functional.relu(self._conv("fc6", x))))

    def _conv(self, layer: str, x: torch.Tensor, **settings: int) -> torch.Tensor:
        return functional.conv2d(
            x, self.tensors[f"{layer}.weight"], self.tensors[f"{layer}.bias"], **settings
        )

    def _upsampled(self, layer: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        return functional.conv_transpose2d(x, self.tensors[f"{layer}.weight"], stride=stride)


def _pooled(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool2d(x, 3, 2, ceil_mode=True)


def _normalized(x: torch.Tensor) -> torch.Tensor:
    return functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)


def _cropped(x: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def _first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))


def _last(x: torch.Tensor) -> np.ndarray:
    return np.moveaxis(x.numpy(), 1, -1)
