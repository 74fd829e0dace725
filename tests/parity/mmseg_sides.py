"""mmsegmentation's FCNs as PyTorch modules, written from the fact sheet on its configs, and their files.

Names, shapes and arithmetic are those of mmsegmentation 1.2.2, with the settings that its FCN
configs use. Nothing here looks at our models or tables.
"""

import collections
import itertools
import sys
import types
from typing import NamedTuple

import numpy as np

from tests.parity.torch_reference import torch

nn, functional = torch.nn, torch.nn.functional


class Variant(NamedTuple):
    """A network: our name for it, its config's settings, and narrow widths."""

    name: str
    depth: int
    deep_stem: bool = True
    strides: tuple[int, ...] = (1, 2, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    dilation: int = 1
    align_corners: bool = False
    stem: int = 8
    base: int = 4
    num_classes: int = 5


D6 = {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2), "dilation": 6}
VARIANTS = {
    "r50-d8": Variant("fcn_r50_d8", 50),
    "r50-d8, 769": Variant("fcn_r50_d8", 50, align_corners=True),
    "r50b-d8": Variant("fcn_r50_d8", 50, deep_stem=False),
    "r50-d6, 769": Variant("fcn_r50_d6", 50, **D6, align_corners=True),
    "r50b-d6": Variant("fcn_r50_d6", 50, **D6, deep_stem=False),
    "r18-d8": Variant("fcn_r18_d8", 18, base=8),
}


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride, dilation, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + shortcut)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, planes, stride, dilation, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = downsample

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.relu(self.bn3(self.conv3(x)) + shortcut)


BLOCKS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


def stage(block, inputs, planes, count, stride, dilation):
    outputs, downsample = planes * block.expansion, None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = dilation // 2 if dilation > 1 else dilation  # contract_dilation
    blocks = [block(inputs, planes, stride, first, downsample)]
    return nn.Sequential(*blocks, *(block(outputs, planes, 1, dilation, None) for _ in range(count - 1)))


class Backbone(nn.Module):
    def __init__(self, variant):
        super().__init__()
        block, counts = BLOCKS[variant.depth]
        width, half = variant.stem, variant.stem // 2
        self.deep_stem = variant.deep_stem
        if self.deep_stem:
            self.stem = nn.Sequential(
                *(nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU()),
                *(nn.Conv2d(half, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU()),
                *(nn.Conv2d(half, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            )
        else:
            self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        for number, count in enumerate(counts):
            planes = variant.base * 2**number
            made = stage(block, width, planes, count, variant.strides[number], variant.dilations[number])
            setattr(self, f"layer{number + 1}", made)
            width = planes * block.expansion

    def forward(self, x):
        x = self.stem(x) if self.deep_stem else functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, 2, 1)
        layer3 = self.layer3(self.layer2(self.layer1(x)))
        return layer3, self.layer4(layer3)


class ConvModule(nn.Module):
    def __init__(self, inputs, outputs, dilation=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)))


class Head(nn.Module):
    def __init__(self, inputs, num_classes, num_convs, concat_input, dilation):
        super().__init__()
        channels = inputs // 4
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(0.1)
        widths = (inputs, *[channels] * num_convs)
        self.convs = nn.Sequential(*(ConvModule(*pair, dilation) for pair in itertools.pairwise(widths)))
        self.conv_cat = ConvModule(inputs + channels, channels) if concat_input else None

    def forward(self, x):
        output = self.convs(x)
        if self.conv_cat is not None:
            output = self.conv_cat(torch.cat([x, output], dim=1))
        return self.conv_seg(self.dropout(output))


class Segmentor(nn.Module):
    """EncoderDecoder: {"out", "aux"} logits (N, K, H, W) at the size of the images."""

    def __init__(self, variant):
        super().__init__()
        self.backbone, self.align_corners = Backbone(variant), variant.align_corners
        expansion = BLOCKS[variant.depth][0].expansion
        layer3, layer4 = (expansion * variant.base * 2**number for number in (2, 3))
        self.decode_head = Head(layer4, variant.num_classes, 2, True, variant.dilation)
        self.auxiliary_head = Head(layer3, variant.num_classes, 1, False, variant.dilation)

    def coarse(self, x):
        layer3, layer4 = self.backbone(x)
        return {"out": self.decode_head(layer4), "aux": self.auxiliary_head(layer3)}

    def forward(self, x):
        return {head: self.resize(logits, x.shape[2:]) for head, logits in self.coarse(x).items()}

    def resize(self, logits, size):
        return functional.interpolate(logits, tuple(size), mode="bilinear", align_corners=self.align_corners)


def torch_segmentor(variant: Variant, dtype=torch.float64) -> Segmentor:
    """Builds the network with random weights and statistics, in evaluation mode."""
    random = np.random.RandomState(2020)
    model = Segmentor(variant).double()
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 4:
            values = random.standard_normal(tuple(tensor.shape)) * np.sqrt(2 / np.prod(tensor.shape[1:]))
        elif not tensor.is_floating_point():
            values = np.array(7)
        elif name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            values = random.uniform(0.5, 1.5, tuple(tensor.shape))
            last = ".bn2.weight" if variant.depth == 18 else ".bn3.weight"
            if name.endswith(last) and ".layer" in name:
                values *= 0.3  # residual branches add up
        else:
            values = random.standard_normal(tuple(tensor.shape)) * 0.3
        tensor.copy_(torch.from_numpy(values))
    return model.to(dtype).eval()


CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet{depth}_v1c',
    backbone=dict(
        type='{backbone}',
        depth={depth},
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations={dilations},
        strides={strides},
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
        contract_dilation=True),
    decode_head=dict(
        type='FCNHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        num_convs=2,
        concat_input=True,
        dropout_ratio=0.1,
        num_classes={num_classes},
        norm_cfg=norm_cfg,
        align_corners={align_corners},{dilation}
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes={num_classes},
        norm_cfg=norm_cfg,
        align_corners={align_corners},{dilation}
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)){inside})
{after}
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 1024)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(2048, 1024),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Collect', keys=['img'])
        ])
]
work_dir = './work_dirs/' + 'fcn'
"""


def config_text(variant: Variant, *, test_cfg_inside: bool = True) -> str:
    """Writes the config as mmcv and mmengine print it: everything resolved."""
    whole, window = "mode='whole'", "mode='slide', crop_size=(769, 769), stride=(513, 513)"
    test = f"dict({window if variant.align_corners else whole})"
    return CONFIG.format(
        depth=variant.depth,
        backbone="ResNetV1c" if variant.deep_stem else "ResNet",
        dilations=variant.dilations,
        strides=variant.strides,
        num_classes=variant.num_classes,
        align_corners=variant.align_corners,
        dilation=f"\n        dilation={variant.dilation}," if variant.dilation > 1 else "",
        inside=f",\n    train_cfg=dict(),\n    test_cfg={test}" if test_cfg_inside else "",
        after="" if test_cfg_inside else f"test_cfg = {test}",
    )


NAMES = [f"class {index}" for index in range(5)]
COLOURS = [[index, 2 * index, 3 * index] for index in range(5)]


def file_of_0x(variant: Variant, state_dict) -> dict:
    """A file of mmsegmentation 0.x, as of 2020."""
    meta = {
        "env_info": "sys.platform: linux",
        "mmseg_version": "0.5.0+b57fb2b",
        "config": config_text(variant, test_cfg_inside=False),
        "CLASSES": tuple(NAMES),
        "PALETTE": COLOURS,
        "epoch": 1,
        "iter": 80000,
    }
    optimizer = {
        "state": {0: {"momentum_buffer": torch.ones(3)}},
        "param_groups": [{"lr": 0.01, "params": [0]}],
    }
    return {"meta": meta, "state_dict": state_dict, "optimizer": optimizer}


def history_buffer() -> object:
    """An object whose pickle names mmengine's class, which is made here and gone when it is read."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = type("HistoryBuffer", (), {"__module__": module.__name__})
    sys.modules |= {
        "mmengine": types.ModuleType("mmengine"),
        "mmengine.logging": types.ModuleType("mmengine.logging"),
    }
    sys.modules[module.__name__] = module
    buffer = module.HistoryBuffer()
    buffer._max_length, buffer._log_history, buffer._count_history = (
        1000000,
        np.arange(4.0),
        np.ones(4, np.int64),
    )
    buffer._statistics_methods = collections.OrderedDict()
    return buffer


def file_of_1x(variant: Variant, state_dict) -> dict:
    """A training checkpoint of mmsegmentation 1.x."""
    meta = {
        "cfg": config_text(variant),
        "dataset_meta": {"classes": tuple(NAMES), "palette": np.array(COLOURS, np.uint8)},
        "seed": 304,
        "mmengine_version": "0.10.7",
        "epoch": 0,
        "iter": 160000,
    }
    hub = {
        "log_scalars": dict.fromkeys(("train/lr", "train/loss"), history_buffer()),
        "runtime_info": {"iter": np.int64(160000), "max_iters": 160000},
        "resumed_keys": {"train/lr": True},
    }
    return {
        "meta": meta,
        "message_hub": hub,
        "state_dict": state_dict,
        "optimizer": {"state": {}, "param_groups": []},
    }


def without_mmengine() -> None:
    """Removes the stand-in for mmengine's class."""
    for name in ("mmengine.logging.history_buffer", "mmengine.logging", "mmengine"):
        sys.modules.pop(name, None)
