"""Networks in files: found under any key and behind any prefix, and nobody guesses between two."""

import argparse
import re

import numpy as np
import pytest

from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.assembled import reason, storage, tensor, text, torch_zip_file
from weights_converter import CheckpointError, convert, read_checkpoint, read_weights, write_torch_zip
from weights_converter.finding import find
from weights_converter.readers.formats import open_file
from weights_converter.readers.pickle_values import Pairs
from weights_converter.readers.tree import walk
from weights_converter.tables import torchvision
from weights_converter.tables.layer import SOURCE

PLAIN = dict(seeded_paper_state_dict("fcn32s_vgg16"))
OTHER = {name: array + 1 for name, array in PLAIN.items()}
NAMES = list(PLAIN)


def behind(prefix, tensors=PLAIN):
    return {prefix + name: array for name, array in tensors.items()}


def classifier():
    spec = torchvision.ModelSpec(name="resnet50")
    return {
        layer.name(leaf, SOURCE): np.broadcast_to(np.float32(1), layer.leaf_shape(leaf, SOURCE))
        for layer in torchvision.layers(spec)
        for leaf in layer.kind.leaves
    }


def params_of(tensors, **more):
    return read_weights(tensors, **more).params["backbone.conv1_1.bias"]


PREFIXES = [
    *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model.", "net."),
    *("encoder.", "model._orig_mod.module.", "a.b.c.d.e.f."),
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_behind_any_prefix(prefix):
    found = read_weights(behind(prefix))
    assert found.prefix == prefix
    assert found.passed_over == {}
    np.testing.assert_array_equal(params_of(behind(prefix)), PLAIN["conv1_1.bias"])


def test_a_prefix_is_told_from_what_stands_beside():
    beside = {"criterion.weight": np.ones(3), "val_iou.confmat": np.zeros((3, 3), np.int64)}
    found = read_weights(behind("model.") | beside)
    assert found.passed_over == {"criterion": "1 tensor", "val_iou": "1 tensor"}
    assert found.remark() == (
        "took the tensors of fcn32s_vgg16 behind 'model.'; passed over 'criterion' (1 tensor), "
        "'val_iou' (1 tensor)"
    )
    assert read_weights(PLAIN).remark() is None


@pytest.mark.parametrize(
    "nested",
    [
        {"net": PLAIN, "epoch": 3},
        {"state_dict": {"model": PLAIN}},
        {"a": [{"b": (behind("module."),)}]},
        {"optimizer": {"state": {0: {"exp_avg": np.ones(3)}}}, "weights": behind("model.")},
        PLAIN | {"epoch": np.array(3), "n_averaged": np.array(7)},
        behind("module.") | {"n_averaged": np.array(7)},
        {"model": PLAIN, "again": PLAIN},  # the same tensors twice are no second network
        {"model": PLAIN, "copy": dict(PLAIN)},
        {"model": PLAIN, "classifier": classifier()},
        {"model": PLAIN} | behind("criterion.vgg.", {"features.0.weight": np.ones((4, 3, 3, 3))}),
    ],
)
def test_under_any_key(nested):
    np.testing.assert_array_equal(params_of(nested), PLAIN["conv1_1.bias"])


def test_two_networks_are_an_error_that_lists_them():
    both = {"model": PLAIN, "model_ema": behind("module.", OTHER), "epoch": 3}
    with pytest.raises(CheckpointError) as caught:
        read_weights(both)
    assert re.match(
        r"it holds 2 networks \('model': fcn32s_vgg16 .*'model_ema.module': ", caught.value.reason
    )
    assert str(caught.value).endswith("; choose one with key, such as 'model'")
    for key, expected in {"model": PLAIN, "model_ema": OTHER, "model_ema.module": OTHER}.items():
        np.testing.assert_array_equal(params_of(both, key=key), expected["conv1_1.bias"])
    assert read_weights(both, key="model_ema").passed_over == {
        "model": f"{len(PLAIN)} tensors",
        "epoch": "int",
    }


def test_two_networks_in_one_state_dict():
    both = PLAIN | behind("ema.", OTHER)
    with pytest.raises(CheckpointError, match="it holds 2 networks"):
        read_weights(both)
    np.testing.assert_array_equal(params_of(both, key="ema"), OTHER["conv1_1.bias"])
    np.testing.assert_array_equal(params_of(both, key=""), PLAIN["conv1_1.bias"])
    np.testing.assert_array_equal(params_of(PLAIN | behind("teacher.", classifier())), PLAIN["conv1_1.bias"])


@pytest.mark.parametrize("average", [behind("module.", OTHER), behind("module._orig_mod.", OTHER)])
def test_an_average_stays_behind_what_it_averages_and_is_told(average):
    """What torchvision's training script writes with --model-ema."""
    average = {"n_averaged": np.array(5), **average}
    both = {"model": PLAIN, "model_ema": average}
    found = read_weights(both)
    assert found.prefix == "model."
    assert found.passed_over == {"model_ema": f"{len(average)} tensors"}
    np.testing.assert_array_equal(params_of(both, key="model_ema"), OTHER["conv1_1.bias"])
    np.testing.assert_array_equal(params_of({"model_ema": average}), OTHER["conv1_1.bias"])


def test_a_key_without_tensors():
    with pytest.raises(
        CheckpointError,
        match="key: expected a key or a prefix with tensors under it, got 'ema'; the file has 'net', 'epoch'",
    ):
        read_weights({"net": PLAIN, "epoch": 3}, key="ema")


def test_a_backbone_inside_an_unknown_network_is_not_taken_for_a_classifier():
    deeplab = behind("backbone.", classifier()) | {"classifier.0.convs.0.0.weight": np.ones((4, 4, 1, 1))}
    with pytest.raises(CheckpointError, match="no architecture known here"):
        read_weights(deeplab)
    for more in ({"backbone": True}, {"key": "backbone"}):
        assert read_weights(deeplab, **more).spec.name == "resnet50"


def test_a_table_that_refuses_is_heard():
    """The backbone inside must not be taken instead."""
    broken = behind("backbone.", classifier()) | {"classifier.0.weight": np.ones((4, 4, 3, 3))}
    with pytest.raises(CheckpointError, match="which shows the number of classes, is missing"):
        read_weights(broken)


def test_convert_finds_too():
    name, params = convert(behind("module.model."))
    assert name == "fcn32s_vgg16"
    np.testing.assert_array_equal(params["backbone.conv1_1.bias"], PLAIN["conv1_1.bias"])


def test_counters_are_passed_over_but_unknown_tensors_are_not():
    counted = PLAIN | {"total_ops": np.zeros(1), "fc6.total_params": np.zeros(1), "updates": np.array(3)}
    assert read_weights(counted).dropped == dict.fromkeys(
        ["total_ops", "fc6.total_params", "updates"], "a counter"
    )
    for surplus in (np.ones(2), np.array(0.5), np.ones((1, 1))):  # a learned factor, perhaps
        with pytest.raises(
            CheckpointError, match=r"unexpected \(1\): gate; strict=False leaves out"
        ) as caught:
            read_weights(PLAIN | {"gate": surplus})
        assert "--not-strict leaves out" in caught.value.words({"strict=False": "--not-strict"})
        assert read_weights(PLAIN | {"gate": surplus}, strict=False).dropped == {
            "gate": "strict=False: no place for it"
        }


def test_other_shapes_are_no_matter_of_strictness():
    with pytest.raises(CheckpointError) as caught:
        read_weights(PLAIN | {"gate": np.ones(2), "conv1_2.bias": np.ones(3)})
    assert "strict" not in str(caught.value)


def test_files(tmp_path):
    write_torch_zip(tmp_path / "f.pth", behind("net.") | {"n_averaged": np.array(3)})
    assert list(read_checkpoint(tmp_path / "f.pth")) == NAMES
    assert list(read_checkpoint(tmp_path / "f.pth", key="net")) == NAMES


def checkpoint(folder, value):
    return torch_zip_file(folder / "f.pth", b"\x80\x02" + value + b".", s0=bytes(16), s1=bytes(16))


def named(**entries):
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def weights(key="0"):
    return named(w=tensor(storage(key=key)))


def test_tensors_that_no_table_knows(tmp_path):
    optimizer = named(state=named(m=tensor(storage(key="1"))))
    path = checkpoint(tmp_path, named(net=weights(), optimizer=optimizer, epoch=b"K\x03"))
    assert list(read_checkpoint(path)) == ["w"]
    both = checkpoint(tmp_path, named(a=weights(), b=weights("1")))
    assert "'a' (dict), 'b' (dict)" in reason(both)
    assert list(read_checkpoint(both, key="b")) == ["w"]


def test_deep_and_long_names_are_not_searched():
    root = Pairs([("w", np.ones(1))])
    for _ in range(100):
        root = Pairs([("n", root)])
    assert find(walk(root)) is None
    assert walk(Pairs([("x" * 2000, np.ones(1))])).tensors == {}
    cycle = Pairs([])
    cycle.pairs.append(("again", cycle))
    assert walk(cycle).tensors == {}


def test_pickled_modules_give_their_tensors(tmp_path):
    """torch.save(model) in place of its state_dict; nothing of it is run."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    layer.register_buffer("args", torch.ones(2))
    layer.note = argparse.Namespace(lr=0.1)
    for new in (True, False):
        torch.save({"net": layer}, tmp_path / "module.pth", _use_new_zipfile_serialization=new)
        tree = walk(open_file(tmp_path / "module.pth").root)
        assert set(tree.tensors) == {f"net.{name}" for name in layer.state_dict()}
        assert "torch.nn.modules.conv.Conv2d" in tree.modules
