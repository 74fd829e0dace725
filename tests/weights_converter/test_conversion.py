"""Tables both ways: every tensor has its place, and the account closes on both sides."""

import zlib

import numpy as np
import pytest

from weights_converter import CheckpointError, ModelSpec, convert, export
from weights_converter.conversion import to_ours, to_source
from weights_converter.tables import torchvision
from weights_converter.tables.layer import OURS, SOURCE

FIVE = ModelSpec(name="fcn_resnet50", num_classes=5, aux_loss=True)
WITHOUT_AUX = ModelSpec(name="fcn_resnet50", num_classes=5)
VARIANTS = [
    ("fcn_resnet50", 5, True, 334),
    ("fcn_resnet50", 21, False, 326),
    ("fcn_resnet101", 3, True, 640),
    ("fcn_resnet101", 3, False, 632),
]


def small(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Stands for a tensor: its own values everywhere, without the memory."""
    return np.broadcast_to(np.float32(zlib.crc32(name.encode())), shape)


def stand_ins(spec: ModelSpec) -> dict[str, np.ndarray]:
    tensors = {}
    for layer in torchvision.layers(spec):
        for leaf in layer.kind.leaves:
            tensors[layer.name(leaf, SOURCE)] = small(
                layer.name(leaf, SOURCE), layer.leaf_shape(leaf, SOURCE)
            )
        for counter in layer.kind.counters:
            tensors[f"{layer.source}.{counter}"] = np.array(3, np.int64)
    return tensors


@pytest.mark.parametrize(("name", "num_classes", "aux", "entries"), VARIANTS)
def test_a_state_dict_survives_the_way_in_and_out(name, num_classes, aux, entries):
    spec = ModelSpec(name=name, num_classes=num_classes, aux_loss=aux)
    tensors = stand_ins(spec)
    assert len(tensors) == entries
    conversion = to_ours(tensors)
    assert conversion.spec == spec
    assert not conversion.dropped
    back = to_source(conversion.params, conversion.spec, conversion.counters)
    assert list(back) == list(tensors)  # in the same order, too
    assert all(np.array_equal(back[key], tensors[key]) for key in tensors)


def test_names_are_one_to_one_on_both_sides():
    layers = list(torchvision.layers(ModelSpec(name="fcn_resnet101", num_classes=21, aux_loss=True)))
    for side in (SOURCE, OURS):
        names = [layer.name(leaf, side) for layer in layers for leaf in layer.kind.leaves]
        assert len(names) == len(set(names)) == 640 - 106


def test_layouts_change_by_axes_only():
    kernel = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)  # OIHW
    layer = next(torchvision.layers(ModelSpec(name="resnet50")))._replace(shape=kernel.shape)
    leaf = layer.kind.leaves[0]
    assert layer.leaf_shape(leaf, OURS) == kernel.transpose(leaf.axes).shape == (5, 7, 3, 2)
    assert kernel.transpose(leaf.axes)[4, 6, 2, 1] == kernel[1, 2, 4, 6]


def test_batch_norm_rows_do_not_change_places():
    tensors = stand_ins(FIVE)
    rows = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    for row, theirs in enumerate(rows.values()):
        tensors[f"backbone.layer3.4.bn2.{theirs}"] = np.full(256, row, np.float32)
    params = to_ours(tensors).params
    for row, ours in enumerate(rows):
        assert (params[f"backbone.layer3.4.bn2.{ours}"] == row).all()


def test_counters_may_be_absent():
    tensors = {k: v for k, v in stand_ins(FIVE).items() if "num_batches" not in k}
    conversion = to_ours(tensors)
    assert conversion.counters == {}
    assert list(to_source(conversion.params, conversion.spec, conversion.counters)) == list(tensors)
    fresh = to_source(conversion.params, conversion.spec)
    assert len(fresh) == 334
    assert fresh["backbone.bn1.num_batches_tracked"] == 0
    assert fresh["backbone.bn1.num_batches_tracked"].dtype == np.int64


def test_a_classifier_loses_its_last_layer_and_says_so():
    tensors = stand_ins(ModelSpec(name="resnet101")) | {
        "fc.weight": np.ones((1000, 2048)),
        "fc.bias": np.ones(1000),
    }
    conversion = to_ours(tensors)
    assert str(conversion.spec) == "resnet101 (an ImageNet classifier)"
    assert set(conversion.dropped) == {"fc.weight", "fc.bias"}


def test_our_own_names_pass_as_they_are():
    params = to_ours(stand_ins(FIVE)).params
    again = to_ours(params)
    assert again.counters is None
    assert again.spec == FIVE
    assert all(again.params[name] is params[name] for name in params)


def test_convert_and_export_are_inverse():
    tensors = stand_ins(WITHOUT_AUX)
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
