"""What mmsegmentation's files say beside the tensors: the config text, the classes and their colours.

    {"meta": {"config": text, "CLASSES": [...], "PALETTE": [...]}, "state_dict": ...}          # 0.x
    {"meta": {"cfg": text, "dataset_meta": {"classes": ..., "palette": ...}}, "state_dict": ...}  # 1.x

The text is Python source, which `config_text` reads as data. Where it cannot be read, or is missing, strides,
the dilation of the heads and `align_corners` stay unknown, and whoever reads the file has to say them.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from weights_converter.config_text import read_config
from weights_converter.errors import CheckpointError
from weights_converter.spec import ModelSpec
from weights_converter.tables.family import Described, Notes

# What the geometry of the config means: (strides, dilations, dilation of the heads), by the end of our name.
GEOMETRIES = {
    "_d8": ((1, 2, 1, 1), (1, 1, 2, 4), 1),
    "_d6": ((1, 2, 2, 1), (1, 1, 1, 2), 6),
}
# The only values that are read here, and mmsegmentation's defaults, which hold where the config is silent.
SUPPORTED = {
    "backbone": {
        "style": ("pytorch", "pytorch"),
        "contract_dilation": (True, False),
        "avg_down": (False, False),
        "multi_grid": (None, None),
        "dcn": (None, None),
        "plugins": (None, None),
    },
    "decode_head": {
        "type": ("FCNHead", None),
        "num_convs": (2, 2),
        "kernel_size": (3, 3),
        "concat_input": (True, True),
        "input_transform": (None, None),
        "in_index": (3, 3),
    },
    "auxiliary_head": {
        "type": ("FCNHead", None),
        "num_convs": (1, 2),
        "kernel_size": (3, 3),
        "concat_input": (False, True),
        "input_transform": (None, None),
        "in_index": (2, 3),
    },
}
EPSILON = 1e-5  # of batch norm
STEMS = {"ResNetV1c": "deep", "ResNet": "torchvision"}


def describe(spec: ModelSpec, notes: Notes) -> Described:
    """Completes a spec that was recognized from tensors; see `Family.describe`.

    Raises:
      CheckpointError: the config contradicts the tensors, or describes a network that is not read.
    """
    meta = _mapping(notes.get("meta"))
    text = next((meta[name] for name in ("cfg", "config") if isinstance(meta.get(name), str)), "")
    config = read_config(str(text)) or {}
    model = config.get("model")
    metadata = dict(_classes(meta, spec)) | dict(_testing(config))
    if not isinstance(model, Mapping):
        unknown = ("align_corners",) if spec.name == "fcn_r18_d8" else ("name", "align_corners")
        return Described(spec, unknown, metadata)
    _check(spec, config, model)
    ending = _geometry(model)
    aligned = [_mapping(model.get(head)).get("align_corners", False) for head in _heads(spec)]
    if any(value is not aligned[0] for value in aligned) or not isinstance(aligned[0], bool):
        raise CheckpointError(
            subject="its config",
            expected="one align_corners, True or False, for both heads",
            got=str(aligned),
        )
    name = spec.name.removesuffix("_d8") + ending
    return Described(dataclasses.replace(spec, name=name, align_corners=aligned[0]), (), metadata)


def _heads(spec: ModelSpec) -> tuple[str, ...]:
    return ("decode_head", "auxiliary_head") if spec.aux_loss else ("decode_head",)


def _check(spec: ModelSpec, config: Mapping[str, object], model: Mapping[str, Any]) -> None:
    """Raises CheckpointError if the config is that of another network than the tensors'."""
    backbone, has_aux = _mapping(model.get("backbone")), bool(model.get("auxiliary_head"))
    depth = int(spec.name.removeprefix("fcn_r").partition("_")[0])
    claims: list[tuple[str, object, object]] = [
        ("model.type", model.get("type"), "EncoderDecoder"),
        ("model.backbone.depth", backbone.get("depth"), depth),
        ("model.backbone.in_channels", backbone.get("in_channels", 3), spec.in_channels),
        ("model.backbone.type", STEMS.get(str(backbone.get("type")), backbone.get("type")), spec.stem),
        (
            "model.auxiliary_head",
            "present" if has_aux else "absent",
            "present" if spec.aux_loss else "absent",
        ),
    ]
    for head in _heads(spec):
        settings = _mapping(model.get(head))
        claims.append((f"model.{head}.num_classes", settings.get("num_classes"), spec.num_classes))
    for part in ("backbone", *_heads(spec)):
        settings = _mapping(model.get(part))
        for key, (supported, default) in SUPPORTED[part].items():
            claims.append((f"model.{part}.{key}", settings.get(key, default), supported))
        norm, act = _mapping(settings.get("norm_cfg")), _mapping(settings.get("act_cfg"))
        claims.append((f"model.{part}.norm_cfg.eps", norm.get("eps", EPSILON), EPSILON))
        claims.append((f"model.{part}.act_cfg.type", act.get("type", "ReLU"), "ReLU"))
    normal, preprocessor = _mapping(config.get("img_norm_cfg")), _mapping(model.get("data_preprocessor"))
    claims.append(("img_norm_cfg.to_rgb", normal.get("to_rgb", True), True))
    claims.append(("model.data_preprocessor.bgr_to_rgb", preprocessor.get("bgr_to_rgb", True), True))
    for key, said, needed in claims:
        if said != needed:
            raise CheckpointError(
                f"its config says {key} = {said!r}, but {spec}, as its tensors show, has {needed!r}",
                hint="if the config belongs to another file, give the state_dict alone",
            )


def _geometry(model: Mapping[str, Any]) -> str:
    """Returns the end of our name that the config's strides and dilations mean."""
    backbone = _mapping(model.get("backbone"))
    strides = _numbers(backbone.get("strides", (1, 2, 2, 2)))
    dilations = _numbers(backbone.get("dilations", (1, 1, 1, 1)))
    heads = [model.get(head) for head in ("decode_head", "auxiliary_head") if model.get(head)]
    said = {(strides, dilations, _mapping(head).get("dilation", 1)) for head in heads}
    for ending, geometry in GEOMETRIES.items():
        if said == {geometry}:
            return ending
    known = "; ".join(_in_words(*geometry) for geometry in GEOMETRIES.values())
    raise CheckpointError(
        subject="its config", expected=f"one of {known}", got="; ".join(_in_words(*each) for each in said)
    )


def _in_words(strides: object, dilations: object, head: object) -> str:
    return f"strides {strides}, dilations {dilations} and heads with dilation {head}"


def _classes(meta: Mapping[str, Any], spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Yields the names and the colours of the classes, as JSON.

    Raises:
      CheckpointError: there is another number of names than of classes.
    """
    of_dataset = _mapping(meta.get("dataset_meta"))
    names = meta.get("CLASSES", of_dataset.get("classes", of_dataset.get("CLASSES")))
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        if len(names) != spec.num_classes:
            raise CheckpointError(
                f"its meta names {len(names)} classes, but its tensors are those of {spec}",
                hint="give the state_dict alone, or remove the names",
            )
        yield "categories", json.dumps([name.strip() for name in names])
    colours = meta.get("PALETTE", of_dataset.get("palette", of_dataset.get("PALETTE")))
    colours = colours.tolist() if isinstance(colours, np.ndarray) else colours
    if (
        isinstance(colours, list | tuple)
        and len(colours) == spec.num_classes
        and all(map(_is_colour, colours))
    ):
        yield "palette", json.dumps([list(colour) for colour in colours])


def _testing(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yields how pictures are prepared and tested, as our own files' metadata say it."""
    scale = next(_test_scales(config), None)
    if scale is not None:
        preset = {"name": "FitWithin", "long": max(scale), "short": min(scale)}
        yield "transforms", json.dumps(preset | _normalization(config))
    model = _mapping(config.get("model"))
    test = _mapping(config.get("test_cfg") or model.get("test_cfg"))
    crop, stride = (_numbers(test.get(name)) for name in ("crop_size", "stride"))
    if test.get("mode") == "slide" and len(crop) == len(stride) == 2 and min(*crop, *stride) > 0:
        yield "window", json.dumps({"crop": crop, "stride": stride})


def _test_scales(config: Mapping[str, object]) -> Iterator[tuple[int, ...]]:
    """Yields the sizes within which the test pipeline fits pictures: (2048, 1024)."""
    steps = config.get("test_pipeline")
    for step in steps if isinstance(steps, list | tuple) else ():
        settings = _mapping(step)
        kept = settings.get("keep_ratio", settings.get("type") == "MultiScaleFlipAug")
        for name in ("img_scale", "scale"):
            scale = _numbers(settings.get(name))
            if kept is True and len(scale) == 2 and min(scale) > 0:
                yield scale


def _normalization(config: Mapping[str, object]) -> dict[str, list[float]]:
    """Returns the mean and the standard deviation of red, green and blue on a scale of 0 to 1."""
    found = {}
    normal = _mapping(config.get("img_norm_cfg")) or _mapping(
        _mapping(config.get("model")).get("data_preprocessor")
    )
    for name, usual in (("mean", (123.675, 116.28, 103.53)), ("std", (58.395, 57.12, 57.375))):
        values = normal.get(name, usual)
        if not (isinstance(values, list | tuple) and len(values) == 3 and all(map(_is_number, values))):
            values = usual
        # Rounded, so that 123.675 / 255 gives torchvision's 0.485.
        found[name] = [round(value / 255, 9) for value in values]
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _numbers(value: object) -> tuple[int, ...]:
    """Returns a list or tuple of whole numbers as a tuple; () for anything else."""
    if isinstance(value, list | tuple) and all(type(part) is int for part in value):
        return tuple(value)
    return ()


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_colour(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(type(part) is int for part in value)
