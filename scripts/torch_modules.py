"""PyTorch modules that scripts compare with: torchvision's FCNs, and the authors' voc-fcn8s."""

import importlib
import sys

import torch

DECLARED = []  # keeps each torch.library.Library alive, and with it the operators that it declares


def import_torchvision():
    """Imports torchvision; with a CPU-only torch, declares the operators that it expects."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    DECLARED.append(library)
    return importlib.import_module("torchvision")


class FCN8s(torch.nn.Module):
    """The authors' voc-fcn8s, with their layer names."""

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
        x = self.get_submodule("upscore2")(self.score_fr(x))
        x = self.get_submodule("upscore_pool4")(x + cropped(self.score_pool4(pools[4]), 5, x))
        x = self.get_submodule("upscore8")(x + cropped(self.score_pool3(pools[3]), 9, x))
        return {"out": cropped(x, 31, images)}


def cropped(x: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


def build_module(name: str, weights: str | None = None, num_classes: int = 21) -> torch.nn.Module:
    """Builds a PyTorch module in evaluation mode, with weights from a .pth file or random ones."""
    if name == "fcn8s_vgg16":
        module = FCN8s(num_classes)
    else:
        module = import_torchvision().models.get_model(
            name, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
        )
    if weights is not None:
        module.load_state_dict(torch.load(weights, weights_only=True))
    return module.eval()


def random_module(name: str) -> torch.nn.Module:
    """Builds a module with random weights and batch-norm statistics that keep activations near 1."""
    torch.manual_seed(0)
    module = build_module(name)
    for key, tensor in module.state_dict().items():
        if tensor.ndim == 4:
            torch.nn.init.kaiming_normal_(tensor)
        elif key.endswith(("running_var", "weight")):
            tensor.uniform_(0.1, 0.5) if ".bn3." in key and "var" not in key else tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.3)
    return module.eval()
