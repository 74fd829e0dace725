"""Tables both ways: every tensor has its place, and the account closes on both sides."""

import zlib

import numpy as np
import pytest

from weights_converter import CheckpointError, convert, export
from weights_converter.engine import describe, to_ours, to_source
from weights_converter.tables import torchvision
from weights_converter.tables.layer import OURS, SOURCE, Architecture

VARIANTS = [
    ("fcn_resnet50", 5, True, 334),
    ("fcn_resnet50", 21, False, 326),
    ("fcn_resnet101", 3, True, 640),
    ("fcn_resnet101", 3, False, 632),
]


def small(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Stands for a tensor: its own values everywhere, without the memory."""
    return np.broadcast_to(np.float32(zlib.crc32(name.encode())), shape)


def stand_ins(architecture: Architecture) -> dict[str, np.ndarray]:
    tensors = {}
    for layer in torchvision.layers(architecture):
        for leaf in layer.kind.leaves:
            tensors[layer.name(leaf, SOURCE)] = small(
                layer.name(leaf, SOURCE), layer.leaf_shape(leaf, SOURCE)
            )
        for counter in layer.kind.counters:
            tensors[f"{layer.source}.{counter}"] = np.array(3, np.int64)
    return tensors


@pytest.mark.parametrize(("name", "num_classes", "aux", "entries"), VARIANTS)
def test_a_state_dict_survives_the_way_in_and_out(name, num_classes, aux, entries):
    architecture = Architecture(name, num_classes, aux)
    tensors = stand_ins(architecture)
    assert len(tensors) == entries
    conversion = to_ours(tensors)
    assert conversion.architecture == architecture
    assert not conversion.dropped
    back = to_source(conversion.params, conversion.counters)
    assert list(back) == list(tensors)  # in the same order, too
    assert all(np.array_equal(back[key], tensors[key]) for key in tensors)


def test_names_are_one_to_one_on_both_sides():
    layers = list(torchvision.layers(Architecture("fcn_resnet101", 21, True)))
    for side in (SOURCE, OURS):
        names = [layer.name(leaf, side) for layer in layers for leaf in layer.kind.leaves]
        assert len(names) == len(set(names)) == 640 - 106


def test_layouts_change_by_axes_only():
    kernel = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)  # OIHW
    layer = next(torchvision.layers(Architecture("resnet50")))._replace(shape=kernel.shape)
    leaf = layer.kind.leaves[0]
    assert layer.leaf_shape(leaf, OURS) == kernel.transpose(leaf.axes).shape == (5, 7, 3, 2)
    assert kernel.transpose(leaf.axes)[4, 6, 2, 1] == kernel[1, 2, 4, 6]


def test_batch_norm_rows_do_not_change_places():
    tensors = stand_ins(Architecture("fcn_resnet50", 5, True))
    rows = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    for row, theirs in enumerate(rows.values()):
        tensors[f"backbone.layer3.4.bn2.{theirs}"] = np.full(256, row, np.float32)
    params = to_ours(tensors).params
    for row, ours in enumerate(rows):
        assert (params[f"backbone.layer3.4.bn2.{ours}"] == row).all()


def test_counters_may_be_absent():
    tensors = {
        k: v for k, v in stand_ins(Architecture("fcn_resnet50", 5, True)).items() if "num_batches" not in k
    }
    conversion = to_ours(tensors)
    assert conversion.counters == {}
    assert list(to_source(conversion.params, conversion.counters)) == list(tensors)
    fresh = to_source(conversion.params)
    assert len(fresh) == 334
    assert fresh["backbone.bn1.num_batches_tracked"] == 0
    assert fresh["backbone.bn1.num_batches_tracked"].dtype == np.int64


def test_a_classifier_loses_its_last_layer_and_says_so():
    tensors = stand_ins(Architecture("resnet101")) | {
        "fc.weight": np.ones((1000, 2048)),
        "fc.bias": np.ones(1000),
    }
    conversion = to_ours(tensors)
    assert describe(conversion.architecture) == "resnet101 (an ImageNet classifier)"
    assert set(conversion.dropped) == {"fc.weight", "fc.bias"}


def test_our_own_names_pass_as_they_are():
    params = to_ours(stand_ins(Architecture("fcn_resnet50", 5, True))).params
    again = to_ours(params)
    assert again.counters is None
    assert again.architecture == Architecture("fcn_resnet50", 5, True)
    assert all(again.params[name] is params[name] for name in params)


def test_convert_and_export_are_inverse():
    tensors = stand_ins(Architecture("fcn_resnet50", 5, False))
    name, params = convert(tensors)
    assert name == "fcn_resnet50"
    back = export(params, name)
    assert all(np.array_equal(back[key], tensors[key]) for key in tensors if "num_batches" not in key)
    with pytest.raises(
        CheckpointError, match="expected the arrays of fcn_resnet101, got those of fcn_resnet50"
    ):
        export(params, "fcn_resnet101")
    with pytest.raises(CheckpointError, match="expected arrays in the names of fcn_jax, got a state_dict"):
        export(tensors, "fcn_resnet50")
    with pytest.raises(CheckpointError, match=r"missing \(1\): backbone.bn1.var"):
        export({k: v for k, v in params.items() if k != "backbone.bn1.var"}, name)


def test_everything_amiss_is_said_at_once():
    tensors = stand_ins(Architecture("fcn_resnet50", 5, True))
    del tensors["backbone.layer1.2.bn3.bias"]
    tensors["backbone.layer1.3.bn3.bias"] = np.ones(256, np.float32)
    tensors["aux_classifier.4.weight"] = np.ones((21, 256, 1, 1), np.float32)
    tensors["classifier.4.bias"] = np.ones(5, np.int32)
    with pytest.raises(CheckpointError) as caught:
        to_ours(tensors)
    assert str(caught.value).splitlines() == [
        "the tensors are not those of fcn_resnet50 (5 classes, with aux_classifier):",
        "  missing (1): backbone.layer1.2.bn3.bias",
        "  unexpected (1): backbone.layer1.3.bn3.bias",
        "  of another shape or dtype (2): classifier.4.bias: expected float (5,), got int32 (5,), "
        "aux_classifier.4.weight: expected float (5, 256, 1, 1), got float32 (21, 256, 1, 1)",
    ]


def test_a_long_list_is_cut_with_its_length():
    tensors = {k: v for k, v in stand_ins(Architecture("fcn_resnet50", 5, True)).items() if "bn" not in k}
    with pytest.raises(CheckpointError, match=r"missing \(196\): .*, and 156 more"):
        to_ours(tensors)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "got 0 tensors, the first: none at all"),
        (
            {"conv.weight": np.ones((1, 1, 1, 1))},
            "no architecture known here.*got 1 tensors, the first: conv.weight",
        ),
        (
            {"backbone.conv1.weight": np.ones(1), "classifier.0.weight": np.ones(1)},
            r"'classifier\.4\.bias', which tells the number of classes, is missing",
        ),
        (
            {
                "conv1.weight": np.ones(1),
                "layer4.0.conv3.weight": np.ones(1),
                "layer3.35.conv1.weight": np.ones(1),
            },
            r"a ResNet with \(0, 0, 36, 1\) blocks in its stages; known are resnet50 \(3, 4, 6, 3\)",
        ),
    ],
)
def test_what_is_of_no_known_architecture_is_refused(tensors, message):
    with pytest.raises(CheckpointError, match=message):
        to_ours(tensors)
