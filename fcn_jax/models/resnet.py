"""The dilated ResNet of torchvision's and mmsegmentation's FCNs, of output stride 8 or 16.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2015), in the form of
`torchvision.models.resnet.ResNet` with `replace_stride_with_dilation=[False, True, True]`: the stride sits on
the 3x3 convolution, and the first block of a dilated stage still has the previous stage's dilation
(mmsegmentation: `style="pytorch"`, `contract_dilation=True`).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
from flax import nnx

from fcn_jax.models.extent import EVERYTHING, Extent
from fcn_jax.models.layers import BatchNorm, Normalized, conv
from fcn_jax.models.pooling import padded_max_pool

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
WIDTHS = (64, 64, 128, 256, 512)
"""As published: channels of the stem, and of the 3x3 convolutions of each stage."""


class Stage(NamedTuple):
    """One of the four stages: stride of the first block, and dilations."""

    stride: int
    first_dilation: int
    dilation: int


STAGES = {
    8: (Stage(1, 1, 1), Stage(2, 1, 1), Stage(1, 1, 2), Stage(1, 2, 4)),
    16: (Stage(1, 1, 1), Stage(2, 1, 1), Stage(2, 1, 1), Stage(1, 1, 2)),
}
"""{output stride: stages}. In both "layer3" and "layer4" have the output stride."""


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
    expansion: ClassVar = 4

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
        out_channels = width * self.expansion
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


class BasicBlock(Normalized):
    """3x3 with stride and dilation, 3x3 without, of ResNet-18; then the shortcut is added.

    Source: `mmseg.models.backbones.resnet.BasicBlock`, whose second convolution is never dilated.
    """

    batch_norms: ClassVar = {"bn1": "conv1", "bn2": "conv2"}
    expansion: ClassVar = 1

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
        self.stride = stride
        self.add: Callable[[jax.Array, jax.Array], jax.Array] = add_rectified
        self.conv1 = conv(
            in_channels, width, 3, stride=stride, padding=dilation, dilation=dilation, **settings
        )
        self.bn1 = BatchNorm(width, **settings)
        self.conv2 = conv(width, width, 3, padding=1, **settings)
        self.bn2 = BatchNorm(width, **settings)
        self.downsample = Downsample(in_channels, width, stride=stride, **settings) if project else None

    def __call__(self, x: jax.Array, extent: Extent = EVERYTHING) -> jax.Array:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = jax.nn.relu(self.bn1(self.conv1(extent.keep(x))))
        x = self.bn2(self.conv2(extent.over(self.stride).keep(x)))
        return self.add(x, shortcut)


Block = Bottleneck | BasicBlock


class MaxPool(nnx.Module):
    """Halves a map, rounding up; as `torch.nn.MaxPool2d(3, stride=2, padding=1)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return padded_max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


class DeepStem(Normalized):
    """Three 3x3 convolutions in place of one 7x7, the first of stride 2: ResNet "V1c".

    Source: He et al., "Bag of tricks for image classification" (2018), as in `mmseg.models.ResNetV1c`.
    """

    batch_norms: ClassVar = {"bn1": "conv1", "bn2": "conv2", "bn3": "conv3"}

    def __init__(self, in_channels: int, channels: int, **settings: Any):
        half = channels // 2
        self.conv1 = conv(in_channels, half, 3, stride=2, padding=1, **settings)
        self.bn1 = BatchNorm(half, **settings)
        self.conv2 = conv(half, half, 3, padding=1, **settings)
        self.bn2 = BatchNorm(half, **settings)
        self.conv3 = conv(half, channels, 3, padding=1, **settings)
        self.bn3 = BatchNorm(channels, **settings)

    def __call__(self, images: jax.Array, extent: Extent = EVERYTHING) -> jax.Array:
        """Maps (N, H, W, in_channels) to (N, ceil(H/2), ceil(W/2), channels)."""
        half = extent.over(2)
        x = jax.nn.relu(self.bn1(self.conv1(extent.keep(images))))
        x = jax.nn.relu(self.bn2(self.conv2(half.keep(x))))
        return jax.nn.relu(self.bn3(self.conv3(half.keep(x))))


class ResNet(Normalized):
    """Stem and four stages; returns the maps that an FCN reads, by name.

    Args:
      blocks: number of blocks in each stage, see `BLOCKS`.
      in_channels: channels of the images.
      stride: of "layer3" and "layer4", see `STAGES`.
      widths: see `WIDTHS`.
      block: the class of the blocks.
      deep_stem: whether the stem is a `DeepStem`, else one 7x7 convolution.
      settings: `rngs`, `dtype` (of the computation) and `param_dtype` of every layer.

    Attributes:
      remat: in training, store only the outputs of blocks and recompute the rest in the backward pass.
    """

    batch_norms: ClassVar = {"bn1": "conv1"}
    remat: bool = False

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        in_channels: int = 3,
        *,
        stride: int = 8,
        widths: tuple[int, ...] = WIDTHS,
        block: type[Block] = Bottleneck,
        deep_stem: bool = False,
        **settings: Any,
    ):
        stem, *widths_of_stages = widths
        self.stride = stride
        self.stem = DeepStem(in_channels, stem, **settings) if deep_stem else None
        self.conv1 = None if deep_stem else conv(in_channels, stem, 7, stride=2, padding=3, **settings)
        self.bn1 = None if deep_stem else BatchNorm(stem, **settings)
        self.maxpool = MaxPool()
        inputs, stages = stem, []
        for count, width, stage in zip(blocks, widths_of_stages, STAGES[stride], strict=True):
            project = bool(stages) or inputs != width * block.expansion
            stages.append(_stage(block, inputs, width, count, stage, project, settings))
            inputs = width * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def __call__(self, images: jax.Array, extent: Extent = EVERYTHING) -> dict[str, jax.Array]:
        """Maps (N, H, W, in_channels) to "layer3" and "layer4" (N, ceil(H/s), ceil(W/s), C), s: `stride`.

        C is 1024 and 2048 as published, 256 and 512 in ResNet-18.
        """
        x = self._start(images, extent)  # (N, H/2, W/2, 64), rounded up, as below
        x = self.maxpool(extent.over(2).keep(x))  # (N, H/4, W/4, 64)
        x, extent = self._run(self.layer1, x, extent.over(4))  # (N, H/4, W/4, 256)
        x, extent = self._run(self.layer2, x, extent)  # (N, H/8, W/8, 512)
        layer3, extent = self._run(self.layer3, x, extent)  # (N, H/s, W/s, 1024)
        layer4, _ = self._run(self.layer4, layer3, extent)  # (N, H/s, W/s, 2048)
        return {"layer3": layer3, "layer4": layer4}

    def _start(self, images: jax.Array, extent: Extent) -> jax.Array:
        if self.stem is not None:
            return self.stem(images, extent)
        assert self.conv1 is not None, "without a deep stem it was made"
        assert self.bn1 is not None, "without a deep stem it was made"
        return jax.nn.relu(self.bn1(self.conv1(extent.keep(images))))

    def _run(self, stage: nnx.List, x: jax.Array, extent: Extent) -> tuple[jax.Array, Extent]:
        kind = type(stage[0])
        run = nnx.remat(kind.__call__) if self.remat else kind.__call__
        for block in stage:
            x = run(block, x, extent)
            extent = extent.over(block.stride)
        return x, extent


def _stage(
    block: type[Block],
    in_channels: int,
    width: int,
    count: int,
    stage: Stage,
    project: bool,
    settings: dict[str, Any],
) -> nnx.List:
    out_channels = width * block.expansion
    first = block(
        in_channels,
        width,
        stride=stage.stride,
        dilation=stage.first_dilation,
        project=project,
        **settings,
    )
    rest = (block(out_channels, width, dilation=stage.dilation, **settings) for _ in range(count - 1))
    return nnx.List([first, *rest])
