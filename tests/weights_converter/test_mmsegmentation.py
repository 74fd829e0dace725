"""mmsegmentation's tables and notes without PyTorch: options, contradictions, other networks."""

import json

import numpy as np
import pytest

from tests.weights_converter.test_conversion import small
from weights_converter import CheckpointError, ModelSpec, convert, export
from weights_converter.conversion import to_ours, to_source
from weights_converter.model_file import save_conversion
from weights_converter.tables import mmsegmentation
from weights_converter.tables.layer import OURS, SOURCE

PUBLISHED = (64, 64, 128, 256, 512)
NARROW = (4, 4, 8, 16, 32)
R50 = ModelSpec(name="fcn_r50_d8", num_classes=19, aux_loss=True, features=PUBLISHED, stem="deep")
SPECS = [
    (R50, 358),
    (ModelSpec(name="fcn_r101_d6", num_classes=150, features=PUBLISHED, align_corners=True), 644),
    (ModelSpec(name="fcn_r18_d8", num_classes=2, aux_loss=True, features=NARROW, stem="deep"), 160),
    (ModelSpec(name="fcn_r50_d6", num_classes=21, aux_loss=True, features=NARROW, in_channels=4), 346),
]
CONFIG = """
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=50, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1),
                  style='pytorch', contract_dilation=True),
    decode_head=dict(type='FCNHead', in_index=3, num_convs=2, concat_input=True, num_classes=19,
                     align_corners=False),
    auxiliary_head=dict(type='FCNHead', in_index=2, num_convs=1, concat_input=False, num_classes=19,
                        align_corners=False),
    test_cfg=dict(mode='whole'))
"""


def stand_ins(spec: ModelSpec) -> dict[str, np.ndarray]:
    tensors = {}
    for layer in mmsegmentation.layers(spec):
        for leaf in layer.kind.leaves:
            name = layer.name(leaf, SOURCE)
            tensors[name] = small(name, layer.leaf_shape(leaf, SOURCE))
        for counter in layer.kind.counters:
            tensors[f"{layer.source}.{counter}"] = np.array(3, np.int64)
    return tensors


def noted(config: str, **meta):
    return lambda: {"meta": {"config": config, **meta}}


def answered(spec: ModelSpec, tensors):
    return to_ours(tensors).for_model(spec.name).settled(spec.align_corners)


@pytest.mark.parametrize(("spec", "entries"), SPECS)
def test_a_state_dict_survives_the_way_in_and_out(spec, entries):
    tensors = stand_ins(spec)
    assert len(tensors) == entries
    conversion = answered(spec, tensors)
    assert conversion.spec == spec
    assert not conversion.dropped
    back = to_source(conversion.params, conversion.spec, conversion.counters)
    assert list(back) == list(tensors)
    assert all(np.array_equal(back[key], tensors[key]) for key in tensors)
    assert answered(spec, conversion.params).spec == spec  # by our names, too


def test_names_are_one_to_one_on_both_sides():
    layers = list(mmsegmentation.layers(R50))
    for side in (SOURCE, OURS):
        names = [layer.name(leaf, side) for layer in layers for leaf in layer.kind.leaves]
        assert len(names) == len(set(names))


def test_what_the_tensors_do_not_show_has_to_be_said(tmp_path):
    conversion = to_ours(stand_ins(R50))
    assert conversion.unknown == ("name", "align_corners")
    message = (
        r"neither its tensors nor a config in it show the strides and dilations and align_corners; "
        r"give model_name \(fcn_r50_d8 or fcn_r50_d6\) and align_corners \(True or False\)"
    )
    for use in (conversion.settled, lambda: save_conversion(conversion, tmp_path / "f.safetensors")):
        with pytest.raises(CheckpointError, match=message):
            use()
    with pytest.raises(CheckpointError, match=r"config in it show align_corners; give align_corners \("):
        conversion.for_model("fcn_r50_d6").settled()
    with pytest.raises(
        CheckpointError, match=r"config in it show the strides and dilations; give model_name"
    ):
        conversion.settled(True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="expected the tensors of fcn_r101_d8, got those of fcn_r50_d8"):
        conversion.for_model("fcn_r101_d8")


def test_convert_needs_the_name_and_export_takes_it():
    tensors = stand_ins(R50)
    with pytest.raises(CheckpointError, match="give model_name"):
        convert(tensors)
    name, params = convert(tensors, "fcn_r50_d6")
    assert name == "fcn_r50_d6"
    assert export(params, name).keys() == tensors.keys()


def test_the_config_answers_and_options_may_not_contradict_it():
    conversion = to_ours(stand_ins(R50), notes=noted(CONFIG))
    assert (conversion.spec, conversion.unknown) == (R50, ())
    with pytest.raises(CheckpointError, match="expected the tensors of fcn_r50_d6, got those of fcn_r50_d8"):
        conversion.for_model("fcn_r50_d6")


@pytest.mark.parametrize("text", ["", "no python (", "(" * 10_000, "/path/base.py\nmodel = dict()", "a = 1"])
def test_a_config_that_cannot_be_read_answers_nothing(text):
    assert to_ours(stand_ins(R50), notes=noted(text)).unknown == ("name", "align_corners")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth=50", "depth=101", r"says model\.backbone\.depth = 101, but fcn_r50_d8 .* has 50"),
        ("'ResNetV1c'", "'ResNet'", r"says model\.backbone\.type = 'torchvision', but .* has 'deep'"),
        ("'ResNetV1c'", "'ResNeSt'", r"says model\.backbone\.type = 'ResNeSt'"),
        ("num_classes=19", "num_classes=21", r"decode_head\.num_classes = 21, but .*19 classes.* has 19"),
        ("'FCNHead'", "'PSPHead'", r"decode_head\.type = 'PSPHead'"),
        ("style='pytorch'", "style='caffe'", r"backbone\.style = 'caffe'"),
        ("contract_dilation=True", "contract_dilation=False", r"backbone\.contract_dilation = False"),
        ("num_convs=2", "num_convs=1", r"decode_head\.num_convs = 1"),
        ("auxiliary_head=dict(", "other=dict(", r"auxiliary_head = 'absent', but .* has 'present'"),
        ("style='pytorch'", "norm_cfg=dict(type='BN', eps=0.001)", r"backbone\.norm_cfg\.eps = 0\.001"),
        (
            "strides=(1, 2, 1, 1)",
            "strides=(1, 2, 2, 1)",
            r"its config: expected one of strides .*, got strides",
        ),
        (
            "align_corners=False),\n    aux",
            "align_corners=True),\n    aux",
            "one align_corners, .*both heads",
        ),
        ("'EncoderDecoder'", "'CascadeEncoderDecoder'", r"model\.type = 'CascadeEncoderDecoder'"),
    ],
)
def test_a_config_that_contradicts_the_tensors_names_both(old, new, message):
    assert old in CONFIG
    with pytest.raises(CheckpointError, match=message):
        to_ours(stand_ins(R50), notes=noted(CONFIG.replace(old, new)))


def test_names_of_another_number_of_classes_are_refused():
    with pytest.raises(CheckpointError, match=r"its meta names 2 classes, but its tensors are those of .*19"):
        to_ours(stand_ins(R50), notes=noted(CONFIG, CLASSES=["a", "b"]))


def test_classes_colours_and_testing_become_metadata():
    window = "mode='slide', crop_size=(769, 769), stride=(513, 513)"
    text = CONFIG.replace("mode='whole'", window) + (
        "test_pipeline = [dict(type='LoadImageFromFile'),\n"
        "    dict(type='Resize', scale=(2048, 512), keep_ratio=True)]\n"
        "img_norm_cfg = dict(mean=[127.5, 127.5, 127.5], std=[51, 51, 51], to_rgb=True)\n"
    )
    names, colours = [f"n{i} " for i in range(19)], np.arange(57).reshape(19, 3)
    notes = {"meta": {"cfg": text, "dataset_meta": {"classes": names, "palette": colours}}}
    found = to_ours(stand_ins(R50), notes=lambda: notes).metadata
    assert json.loads(found["categories"]) == [f"n{i}" for i in range(19)]
    assert json.loads(found["palette"])[1] == [3, 4, 5]
    assert json.loads(found["window"]) == {"crop": [769, 769], "stride": [513, 513]}
    assert json.loads(found["transforms"]) == {
        "name": "FitWithin",
        "long": 2048,
        "short": 512,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
    }


def test_pictures_in_the_order_of_opencv_are_refused():
    text = CONFIG + "img_norm_cfg = dict(mean=[1.0, 1.0, 1.0], std=[1.0, 1.0, 1.0], to_rgb=False)\n"
    with pytest.raises(CheckpointError, match=r"img_norm_cfg\.to_rgb = False"):
        to_ours(stand_ins(R50), notes=noted(text))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ("decode_head.psp_modules.0.1.conv.weight", "this is a PSPNet of mmsegmentation"),
        ("decode_head.aspp_modules.0.conv.weight", "this is a DeepLabV3 of mmsegmentation"),
        ("decode_head.c1_bottleneck.conv.weight", r"this is a DeepLabV3\+ of mmsegmentation"),
        ("decode_head.fpn_bottleneck.conv.weight", "this is a UPerNet of mmsegmentation"),
        ("backbone.stage4.0.branches.0.0.conv1.weight", "this is a network on HRNet of mmsegmentation"),
        ("backbone.encoder.0.0.convs.0.conv.weight", "this is a network on UNet of mmsegmentation"),
        ("decode_head.0.conv_seg.weight", "a network with a cascade of heads"),
        ("decode_head.bottleneck.conv.weight", "whose decode_head has conv_seg, bottleneck; known here are"),
    ],
)
def test_other_networks_of_mmsegmentation_are_named(tensor, message):
    tensors = {"decode_head.conv_seg.weight": np.ones((2, 2, 1, 1)), tensor: np.ones((1, 1, 1, 1))}
    with pytest.raises(CheckpointError, match=message):
        to_ours(tensors)


def test_an_fcn_on_another_backbone_is_refused():
    tensors = {key: value for key, value in stand_ins(R50).items() if "layer4" not in key}
    with pytest.raises(CheckpointError, match="FCN on a backbone that is not known here"):
        to_ours(tensors)
    with pytest.raises(CheckpointError, match="several auxiliary heads"):
        to_ours(stand_ins(R50) | {"auxiliary_head.0.conv_seg.weight": np.ones((1, 1, 1, 1))})


def test_a_tensor_that_shows_the_form_is_missed_by_its_name():
    tensors = stand_ins(R50)
    del tensors["decode_head.conv_seg.bias"]
    with pytest.raises(
        CheckpointError, match=r"mmsegmentation's FCN, but 'decode_head\.conv_seg\.bias', .*missing"
    ):
        to_ours(tensors)
    tensors = stand_ins(R50)
    del tensors["decode_head.convs.1.bn.bias"]
    with pytest.raises(CheckpointError, match=r"missing \(1\): decode_head\.convs\.1\.bn\.bias"):
        to_ours(tensors)
