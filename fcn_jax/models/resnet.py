"""The dilated ResNet of torchvision's FCN: bottleneck blocks, output stride 8.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2015), in the form of
`torchvision.models.resnet.ResNet` with `replace_stride_with_dilation=[False, True, True]`: the stride sits on
the 3x3 convolution, and the first block of a dilated stage still has the previous stage's dilation.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
from flax import nnx

from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.layers import BatchNorm, Normalized, conv
from fcn_jax.models.pooling import padded_max_pool

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
EXPANSION = 4


class Stage(NamedTuple):
    """One of the four stages: bottleneck width, stride of the first block, and dilations."""

    width: int
    stride: int
    first_dilation: int
    dilation: int


STAGES = (
    Stage(width=64, stride=1, first_dilation=1, dilation=1),
    Stage(width=128, stride=2, first_dilation=1, dilation=1),
    Stage(width=256, stride=1, first_dilation=1, dilation=2),
    Stage(width=512, stride=1, first_dilation=2, dilation=4),
)


class Downsample(Normalized):
    """The projection on the shortcut of the first block of a stage."""

    batch_norms: ClassVar = {"bn": "conv"}

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, **settings: Any):
        self.conv = conv(in_channels, out_channels, 1, stride=stride, **settings)
        self.bn = BatchNorm(out_channels, **settings)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.bn(self.conv(x))


def add_rectified(x: jax.Array, shortcut: jax.Array) -> jax.Array:
    """Ends a block: relu(x + shortcut)."""
    return jax.nn.relu(x + shortcut)


class Bottleneck(Normalized):
    """1x1 to `width`, 3x3 with stride and dilation, 1x1 to four times `width`; then the shortcut is added."""

    batch_norms: ClassVar = {"bn1": "conv1", "bn2": "conv2", "bn3": "conv3"}

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        project: bool = False,
        **settings: Any,
    ):
        out_channels = width * EXPANSION
        self.stride = stride
        self.add: Callable[[jax.Array, jax.Array], jax.Array] = add_rectified
        self.conv1 = conv(in_channels, width, 1, **settings)
        self.bn1 = BatchNorm(width, **settings)
        self.conv2 = conv(width, width, 3, stride=stride, padding=dilation, dilation=dilation, **settings)
        self.bn2 = BatchNorm(width, **settings)
        self.conv3 = conv(width, out_channels, 1, **settings)
        self.bn3 = BatchNorm(out_channels, **settings)
        self.downsample = (
            Downsample(in_channels, out_channels, stride=stride, **settings) if project else None
        )

    def __call__(self, x: jax.Array, extent: Extent = EVERYTHING) -> jax.Array:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = jax.nn.relu(self.bn1(self.conv1(x)))
        x = jax.nn.relu(self.bn2(self.conv2(extent.keep(x))))
        x = self.bn3(self.conv3(x))
        return self.add(x, shortcut)


class MaxPool(nnx.Module):
    """Halves a map, rounding up; as `torch.nn.MaxPool2d(3, stride=2, padding=1)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return padded_max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


class ResNet(Normalized):
    """Stem and four stages; returns the maps that an FCN reads, by name.

    Args:
      blocks: number of bottlenecks in each stage, see `BLOCKS`.
      in_channels: channels of the images.
      settings: `rngs`, `dtype` (of the computation) and `param_dtype` of every layer.

    Attributes:
      remat: in training, store only the outputs of blocks and recompute the rest in the backward pass.
    """

    batch_norms: ClassVar = {"bn1": "conv1"}
    remat: bool = False

    def __init__(self, blocks: tuple[int, int, int, int], in_channels: int = 3, **settings: Any):
        self.conv1 = conv(in_channels, 64, 7, stride=2, padding=3, **settings)
        self.bn1 = BatchNorm(64, **settings)
        self.maxpool = MaxPool()
        self.layer1 = _stage(64, blocks[0], STAGES[0], settings)
        self.layer2 = _stage(256, blocks[1], STAGES[1], settings)
        self.layer3 = _stage(512, blocks[2], STAGES[2], settings)
        self.layer4 = _stage(1024, blocks[3], STAGES[3], settings)

    def __call__(self, images: jax.Array, extent: Extent = EVERYTHING) -> dict[str, jax.Array]:
        """Maps (N, H, W, in_channels) to "layer3" (N, ceil(H/8), ceil(W/8), 1024), "layer4" (..., 2048)."""
        x = jax.nn.relu(self.bn1(self.conv1(extent.keep(images))))  # (N, H/2, W/2, 64), rounded up, as below
        x = self.maxpool(extent.over(2).keep(x))  # (N, H/4, W/4, 64)
        x = self._run(self.layer1, x, extent.over(4))  # (N, H/4, W/4, 256)
        x = self._run(self.layer2, x, extent.over(4))  # (N, H/8, W/8, 512)
        layer3 = self._run(self.layer3, x, extent.over(8))  # (N, H/8, W/8, 1024)
        layer4 = self._run(self.layer4, layer3, extent.over(8))  # (N, H/8, W/8, 2048)
        return {"layer3": layer3, "layer4": layer4}

    def _run(self, stage: nnx.List, x: jax.Array, extent: Extent) -> jax.Array:
        run = nnx.remat(Bottleneck.__call__) if self.remat else Bottleneck.__call__
        for block in stage:
            x = run(block, x, extent)
            extent = extent.over(block.stride)
        return x


def _stage(in_channels: int, count: int, stage: Stage, settings: dict[str, Any]) -> nnx.List:
    first = Bottleneck(
        in_channels,
        stage.width,
        stride=stage.stride,
        dilation=stage.first_dilation,
        project=True,
        **settings,
    )
    rest = (
        Bottleneck(stage.width * EXPANSION, stage.width, dilation=stage.dilation, **settings)
        for _ in range(count - 1)
    )
    return nnx.List([first, *rest])
