"""The tables of the paper's networks: every source, both ways, and what the tensors cannot tell."""

import dataclasses
import json
import zlib

import numpy as np
import pytest

from tests.weights_converter.caffe_files import caffemodel
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter import (
    CheckpointError,
    ModelSpec,
    convert,
    convert_file,
    export,
    load_model_file,
    read_checkpoint,
    read_safetensors,
    save_model_file,
    write_torch_zip,
)
from weights_converter.__main__ import main
from weights_converter.conversion import to_ours, to_source
from weights_converter.tables import FAMILIES, paper
from weights_converter.tables.layer import OURS, SOURCE

VGG = {"features": (2, 3, 4, 5, 6), "fc_features": 8}
ALEX = {"features": (2, 4, 4, 6, 2), "fc_features": 5}
WIDTHS = {"vgg16": VGG, "caffenet": ALEX}
NETS = {  # name: narrow widths, published parameters that learn and that are fixed, pairs, upsamplings
    "fcn32s_vgg16": (VGG, 134_346_581, 1_806_336, 16, 1),
    "fcn16s_vgg16": (VGG, 134_357_354, 458_640, 17, 2),
    "fcn8s_vgg16": (VGG, 134_362_751, 127_008, 18, 3),
    "fcn8s_atonce_vgg16": (VGG, 134_362_751, 127_008, 18, 3),
    "fcn32s_alexnet": (ALEX, 56_954_261, 1_750_329, 8, 1),
}
NAMES = pytest.mark.parametrize("name", NETS)


def drawn(layers, side=SOURCE) -> dict[str, np.ndarray]:
    """Random numbers of every leaf: a swap of any two axes or tensors shows."""
    tensors = {}
    for row in layers:
        for leaf in row.kind.leaves:
            name = row.name(leaf, side)
            random = np.random.default_rng(zlib.crc32(name.encode()))
            tensors[name] = random.normal(size=row.leaf_shape(leaf, side)).astype(np.float32)
    return tensors


def narrow(name: str, num_classes: int = 3) -> ModelSpec:
    return ModelSpec(name=name, num_classes=num_classes, **NETS[name][0])


def port(name: str) -> dict[str, np.ndarray]:
    """A state_dict of the PyTorch port."""
    return drawn(paper.fcn_layers(narrow(name)))


def authors(name: str) -> dict[str, np.ndarray]:
    """The blobs of the authors' own file."""
    tensors = port(name)
    if name == "fcn8s_atonce_vgg16":
        tensors["scale_pool4.weight"] = np.full(5, 0.01, np.float32)
        tensors["scale_pool3.weight"] = np.full(4, 0.0001, np.float32)
    return tensors


def torchvision_vgg16() -> dict[str, np.ndarray]:
    tensors = drawn(paper.torchvision_layers(ModelSpec(name="vgg16", **VGG)))
    fc8 = {"classifier.6.weight": np.ones((7, 8), np.float32), "classifier.6.bias": np.ones(7, np.float32)}
    return tensors | fc8


def caffe_classifier(name: str) -> dict[str, np.ndarray]:
    tensors = drawn(paper.classifier_layers(ModelSpec(name=name, **WIDTHS[name])))
    fc8 = {
        "fc8.weight": np.ones((7, WIDTHS[name]["fc_features"]), np.float32),
        "fc8.bias": np.ones(7, np.float32),
    }
    return tensors | fc8


def legacy(tensors):
    return {name: array.reshape((1,) * (4 - array.ndim) + array.shape) for name, array in tensors.items()}


def source_shapes(rows):
    return {row.name(leaf, SOURCE): row.leaf_shape(leaf, SOURCE) for row in rows for leaf in row.kind.leaves}


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert np.array_equal(found[name], array), name


@NAMES
def test_published_parameters_and_entries(name):
    _, learned, fixed, pairs, upscores = NETS[name]
    rows = list(paper.fcn_layers(ModelSpec(name=name, num_classes=21)))
    shapes = source_shapes(rows)
    sizes = {key: int(np.prod(shape)) for key, shape in shapes.items()}
    found = sum(size for key, size in sizes.items() if key.startswith("upscore"))
    assert (sum(sizes.values()) - found, found) == (learned, fixed)
    assert len(shapes) == 2 * pairs + upscores
    ours = [row.name(leaf, OURS) for row in rows for leaf in row.kind.leaves]
    assert len(set(ours)) == len(ours)


def test_published_shapes():
    alexnet = source_shapes(paper.fcn_layers(ModelSpec(name="fcn32s_alexnet", num_classes=21)))
    assert alexnet["conv1.weight"] == (96, 3, 11, 11)
    assert alexnet["conv2.weight"] == (256, 48, 5, 5)
    assert alexnet["conv3.weight"] == (384, 256, 3, 3)
    assert alexnet["conv4.weight"] == (384, 192, 3, 3)
    assert alexnet["conv5.weight"] == (256, 192, 3, 3)
    assert alexnet["fc6.weight"] == (4096, 256, 6, 6)
    assert alexnet["upscore.weight"] == (21, 21, 63, 63)
    eight = source_shapes(paper.fcn_layers(ModelSpec(name="fcn8s_vgg16", num_classes=21)))
    assert eight["fc6.weight"] == (4096, 512, 7, 7)
    assert eight["score_pool4.weight"] == (21, 512, 1, 1)
    assert eight["score_pool3.weight"] == (21, 256, 1, 1)
    assert eight["upscore8.weight"] == (21, 21, 16, 16)
    vgg16 = source_shapes(paper.torchvision_layers(ModelSpec(name="vgg16")))
    assert vgg16["features.28.weight"] == (512, 512, 3, 3)
    assert vgg16["classifier.0.weight"] == (4096, 25088)
    assert vgg16["classifier.3.weight"] == (4096, 4096)
    assert source_shapes(paper.classifier_layers(ModelSpec(name="caffenet")))["fc6.weight"] == (4096, 9216)


@NAMES
def test_the_port_survives_the_way_in_and_out(name):
    tensors = port(name)
    conversion = to_ours(tensors).for_model(name)
    assert conversion.spec == narrow(name)
    assert conversion.preset == "caffe"
    assert not conversion.dropped
    same(to_source(conversion.params, conversion.spec, conversion.counters), tensors)
    again = to_ours(conversion.params).for_model(name)
    assert again.spec == narrow(name)
    assert again.preset is None
    same(export(conversion.params, name), tensors)
    assert convert(tensors, name)[0] == name


def test_the_order_of_the_port():
    layers = [name.removesuffix(".weight") for name in port("fcn8s_vgg16") if name.endswith(".weight")]
    heads = ["score_fr", "score_pool3", "score_pool4", "upscore2", "upscore8", "upscore_pool4"]
    assert layers == [*paper.VGG16_LAYERS, *heads]
    assert [k for k in port("fcn16s_vgg16") if k.startswith(("up", "score_p"))] == [
        *("score_pool4.weight", "score_pool4.bias", "upscore2.weight", "upscore16.weight")
    ]


def test_layouts():
    tensors = port("fcn8s_vgg16")
    params = to_ours(tensors).params
    conv, ours = tensors["conv2_1.weight"], params["backbone.conv2_1.kernel"]
    assert ours.shape == (3, 3, 2, 3)
    assert ours[0, 2, 1, 2] == conv[2, 1, 0, 2]
    deconv, ours = tensors["upscore8.weight"], params["upscore8.kernel"]  # (in, out, h, w) to (h, w, out, in)
    assert ours.shape == (16, 16, 3, 3)
    assert ours[4, 9, 2, 1] == deconv[1, 2, 4, 9]
    assert ours[4, 9, 1, 2] == deconv[2, 1, 4, 9]
    assert ours[4, 9, 2, 1] != ours[4, 9, 1, 2]
    same({"bias": params["score_pool3.bias"]}, {"bias": tensors["score_pool3.bias"]})


def test_groups_keep_their_inputs():
    tensors = port("fcn32s_alexnet")
    kernel = to_ours(tensors).params["backbone.conv2.kernel"]
    assert kernel.shape == (5, 5, 1, 4)
    assert kernel[1, 2, 0, 3] == tensors["conv2.weight"][3, 0, 1, 2]


@pytest.mark.parametrize("name", ["vgg16", "caffenet"])
def test_matrices_become_convolutions_channel_slowest(name):
    tensors = caffe_classifier(name)
    side, inputs, outputs = (7, 6, 8) if name == "vgg16" else (6, 2, 5)
    kernel = to_ours(tensors).params["fc6.kernel"]
    assert kernel.shape == (side, side, inputs, outputs)
    channel, row, column, out = 1, 2, 5, 3
    flat = (channel * side + row) * side + column
    assert kernel[row, column, channel, out] == tensors["fc6.weight"][out, flat]
    assert np.array_equal(to_ours(tensors).params["fc7.kernel"][0, 0], tensors["fc7.weight"].T)


@NAMES
@pytest.mark.parametrize("form", ["layer", "layers", "nested"])
def test_the_authors_files(name, form, tmp_path):
    encoding = "legacy" if form == "nested" else "packed"
    path = caffemodel(tmp_path / "f.caffemodel", authors(name), form, encoding)
    conversion = load_model_file(path)
    assert conversion.spec == narrow(name)
    assert conversion.preset == "caffe"
    same(to_source(conversion.params, conversion.spec), port(name))
    scales = {"scale_pool4.weight": 0.01, "scale_pool3.weight": 0.0001} if "atonce" in name else {}
    expected = {scale: f"is {value}, a constant of the model" for scale, value in scales.items()}
    assert conversion.dropped == expected


def test_early_names_with_hyphens(tmp_path):
    tensors = {key.replace("_p", "-p").replace("_f", "-f"): a for key, a in port("fcn16s_vgg16").items()}
    assert "score-pool4.weight" in tensors
    path = caffemodel(tmp_path / "f", tensors)
    assert load_model_file(path).spec == narrow("fcn16s_vgg16")


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_files_of_the_port(write, tmp_path):
    write(tmp_path / "f.pth", port("fcn16s_vgg16"))
    assert load_model_file(tmp_path / "f.pth").spec == narrow("fcn16s_vgg16")


@pytest.mark.parametrize("reshape", [dict, legacy])
@pytest.mark.parametrize("name", ["vgg16", "caffenet"])
def test_ilsvrc_files(name, reshape, tmp_path):
    tensors = caffe_classifier(name)
    path = tmp_path / "f.caffemodel"
    caffemodel(path, tensors, "layers", "packed" if reshape is dict else "legacy")
    same(read_checkpoint(path), reshape(tensors))
    conversion = load_model_file(path)
    assert conversion.spec == ModelSpec(name=name, **WIDTHS[name])
    assert conversion.preset == "caffe"
    assert set(conversion.dropped) == {"fc8.weight", "fc8.bias"}
    assert list(conversion.params)[:2] == [
        f"conv1{'_1' if name == 'vgg16' else ''}.{leaf}" for leaf in ("kernel", "bias")
    ]
    rows = paper.classifier_layers(conversion.spec)
    assert list(conversion.params) == [row.name(leaf, OURS) for row in rows for leaf in row.kind.leaves]


def test_an_ilsvrc_file_already_made_convolutional():
    tensors = caffe_classifier("vgg16")
    expected = to_ours(tensors).params
    tensors["fc6.weight"] = tensors["fc6.weight"].reshape(8, 6, 7, 7)
    tensors["fc7.weight"] = tensors["fc7.weight"].reshape(8, 8, 1, 1)
    same(to_ours(tensors).params, expected)
    tensors["fc6.weight"] = tensors["fc6.weight"].reshape(8, 7, 7, 6)  # as many numbers, another order
    with pytest.raises(
        CheckpointError, match=r"fc6.weight: expected float \(8, 294\), got float32 \(8, 7, 7, 6\)"
    ):
        to_ours(tensors)


def test_torchvision_vgg16():
    tensors = torchvision_vgg16()
    conversion = to_ours(tensors)
    assert conversion.spec == ModelSpec(name="vgg16", **VGG)
    assert conversion.preset == "torchvision"
    assert set(conversion.dropped) == {"classifier.6.weight", "classifier.6.bias"}
    pairs = dict(zip(paper.VGG16_LAYERS, paper.TORCHVISION_NAMES.values(), strict=True))
    assert pairs["conv3_3"] == "features.14"
    assert pairs["conv5_1"] == "features.24"
    for ours, theirs in pairs.items():
        assert np.array_equal(conversion.params[f"{ours}.bias"], tensors[f"{theirs}.bias"])
    back = to_source(conversion.params, conversion.spec)
    same(back, {name: array for name, array in tensors.items() if "classifier.6" not in name})


def test_vgg16_from_caffe_is_told_by_the_caller(tmp_path):
    write_torch_zip(tmp_path / "vgg16_from_caffe.pth", torchvision_vgg16())
    assert load_model_file(tmp_path / "vgg16_from_caffe.pth", preset="caffe").preset == "caffe"
    convert_file(tmp_path / "vgg16_from_caffe.pth", tmp_path / "f.safetensors", preset="caffe")
    assert load_model_file(tmp_path / "f.safetensors").preset == "caffe"
    with pytest.raises(ValueError, match="expected one of 'caffe', 'torchvision', got 'keras'"):
        to_ours(torchvision_vgg16(), preset="keras")


@pytest.mark.parametrize("name", ["classifier.0.bias", "classifier.3.weight"])
def test_features_only(name):
    tensors = torchvision_vgg16()
    tensors[name] = np.full_like(tensors[name], np.nan)
    with pytest.raises(CheckpointError, match=f"'{name}'.* NaN.* IMAGENET1K_FEATURES.* IMAGENET1K_V1"):
        to_ours(tensors)


@pytest.mark.parametrize("names", ["torchvision", "caffe", "ours"])
def test_a_vgg16_without_fc6_and_fc7_is_a_trunk(names, tmp_path):
    whole = caffe_classifier("vgg16") if names == "caffe" else torchvision_vgg16()
    if names == "ours":
        whole = to_ours(whole).params
    trunk = {name: array for name, array in whole.items() if not name.startswith(("fc", "classifier"))}
    conversion = to_ours(trunk, preset="caffe")
    expected = ModelSpec(name="vgg16_trunk", features=VGG["features"])
    assert conversion.spec == expected == ModelSpec(name="vgg16", **VGG).trunk
    assert str(expected) == "vgg16_trunk (convolutions without fc6 and fc7, widths 2, 3, 4, 5, 6)"
    assert list(conversion.params) == [name for name in to_ours(whole).params if not name.startswith("fc")]
    save_model_file(tmp_path / "trunk.safetensors", conversion.params, conversion.spec, {"preset": "caffe"})
    again = load_model_file(tmp_path / "trunk.safetensors")
    assert (again.spec, again.preset) == (expected, "caffe")
    same(again.params, conversion.params)


@pytest.mark.parametrize("left", ["classifier.0.weight", "classifier.3.bias"])
def test_half_of_fc6_and_fc7_is_no_trunk(left):
    tensors = {
        name: array
        for name, array in torchvision_vgg16().items()
        if name == left or not name.startswith("classifier")
    }
    with pytest.raises(
        CheckpointError, match=r"missing|'classifier\\.0\\.bias', which shows a width, is missing"
    ):
        to_ours(tensors)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_those_of_the_first_kernel(channels):
    files = {
        "fcn8s_vgg16": (paper.fcn_layers, narrow("fcn8s_vgg16")),
        "caffenet": (paper.classifier_layers, ModelSpec(name="caffenet", **ALEX)),
        "vgg16": (paper.torchvision_layers, ModelSpec(name="vgg16", **VGG)),
    }
    for layers, spec in files.values():
        spec = dataclasses.replace(spec, in_channels=channels)
        conversion = to_ours(drawn(layers(spec)))
        assert conversion.spec == spec
        assert to_ours(conversion.params).spec == spec


def test_other_networks_of_torchvision():
    ones = np.ones((4, 4, 3, 3), np.float32)
    alexnet = {f"features.{n}.weight": ones for n in (0, 3, 6, 8, 10)} | {"classifier.1.weight": ones}
    with pytest.raises(CheckpointError, match=r"torchvision's alexnet, not the paper's.* CaffeNet"):
        to_ours(alexnet)
    for numbers in (
        (0, 3, 6, 8, 11, 13, 16, 18),
        (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
    ):
        vgg = {f"features.{n}.weight": ones for n in numbers} | {"classifier.0.weight": ones}
        with pytest.raises(CheckpointError, match=r"looks like a VGG of torchvision .* only vgg16 is known"):
            to_ours(vgg)
    bn = torchvision_vgg16() | {"features.1.weight": ones, "features.1.running_mean": ones}
    with pytest.raises(CheckpointError, match="looks like a VGG of torchvision"):
        to_ours(bn)


@pytest.mark.parametrize("name", ["score_fr_sem.weight", "conv1_1_bgrd.weight", "conv1_1color.weight"])
def test_other_networks_of_the_authors(name):
    with pytest.raises(CheckpointError, match=r"network.* there is no model for it here"):
        to_ours(port("fcn8s_vgg16") | {name: np.ones(1, np.float32)})


# What names and shapes do not tell.


def test_at_once_or_not_is_the_callers_word():
    tensors = port("fcn8s_vgg16")
    assert to_ours(tensors).spec.name == "fcn8s_vgg16"
    assert to_ours(tensors).twins == ("fcn8s_atonce_vgg16",)
    assert to_ours(tensors).for_model("fcn8s_atonce_vgg16").spec.name == "fcn8s_atonce_vgg16"
    with pytest.raises(
        CheckpointError, match="expected the tensors of fcn8s_vgg16, got those of fcn8s_atonce_vgg16"
    ):
        to_ours(authors("fcn8s_atonce_vgg16")).for_model("fcn8s_vgg16")


def test_our_files_remember(tmp_path):
    source = caffemodel(tmp_path / "f.caffemodel", authors("fcn8s_atonce_vgg16"))
    convert_file(source, tmp_path / "f.safetensors")
    metadata = read_safetensors(tmp_path / "f.safetensors")[1]
    assert metadata["spec"] == narrow("fcn8s_atonce_vgg16").to_json()
    assert (metadata["preset"], metadata["source"]) == ("caffe", "f.caffemodel")
    found = load_model_file(tmp_path / "f.safetensors")
    assert (found.spec, found.preset) == (narrow("fcn8s_atonce_vgg16"), "caffe")
    convert_file(tmp_path / "f.safetensors", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "f.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="the tensors of fcn8s_vgg16, got those of fcn8s_atonce"):
        found.for_model("fcn8s_vgg16")
    convert_file(tmp_path / "f.safetensors", tmp_path / "f.pth")
    same(read_checkpoint(tmp_path / "f.pth"), port("fcn8s_atonce_vgg16"))


def test_an_8s_file_of_ours_is_not_at_once(tmp_path):
    save_model_file(tmp_path / "f.safetensors", to_ours(port("fcn8s_vgg16")).params, narrow("fcn8s_vgg16"))
    with pytest.raises(CheckpointError, match="the tensors of fcn8s_atonce_vgg16, got those of fcn8s_"):
        load_model_file(tmp_path / "f.safetensors").for_model("fcn8s_atonce_vgg16")


def test_metadata_that_say_something_else(tmp_path):
    params = to_ours(port("fcn8s_vgg16")).params
    with pytest.raises(
        CheckpointError, match=r"not those of fcn32s_vgg16 .*\n *missing \(1\): upscore.kernel"
    ):
        save_model_file(tmp_path / "f.safetensors", params, narrow("fcn32s_vgg16"))
    ours = {"format": "fcn_jax", "spec": ModelSpec(name="fcn_resnet50", num_classes=3).to_json()}
    with pytest.raises(CheckpointError, match="the tensors are not those of fcn_resnet50"):
        to_ours(params, metadata=ours)
    assert to_ours(params, metadata=ours | {"format": "pt"}).preset is None
    with pytest.raises(CheckpointError, match="the preset 'x'"):
        to_ours(params, metadata={"format": "fcn_jax", "preset": "x"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_pool4.weight": np.full(5, 0.011, np.float32)}, "to be 0.01, 5 times; got 0.0109.* among 5"),
        ({"scale_pool3.weight": np.float32([1e-4, 1e-4, 1, 1e-4])}, "to be 0.0001, 4 times; got 1.0 among 4"),
        ({"scale_pool3.weight": np.float32([np.nan] * 4)}, "to be 0.0001, 4 times; got nan among 4"),
        ({"scale_pool4.weight": np.full(4, 0.01, np.float32)}, "to be 0.01, 5 times; got 4 of them"),
        ({"scale_pool3.weight": None}, "'scale_pool3' .*to be 0.0001, 4 times; got 0 of them"),
        ({"scale_pool4.weight": None}, "'scale_pool4' .*to be 0.01, 5 times; got 0 of them"),
    ],
)
def test_scales_that_are_not_the_models(change, message):
    tensors = authors("fcn8s_atonce_vgg16") | change
    with pytest.raises(CheckpointError, match=message):
        to_ours({name: array for name, array in tensors.items() if array is not None})


@pytest.mark.parametrize("form", [lambda a: a.astype(np.float64), lambda a: a.reshape(1, 1, 1, -1)])
def test_scales_in_other_forms(form):
    tensors = authors("fcn8s_atonce_vgg16")
    for name, value in (("scale_pool4.weight", 0.01), ("scale_pool3.weight", 0.0001)):
        tensors[name] = form(tensors[name])
        to_ours(tensors)
        tensors[name] = np.full(tensors[name].shape, value)  # float64's own nearest number
    to_ours(tensors)


# One network's file is not another's.


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        ("fcn32s_vgg16", "fcn16s_vgg16"),
        ("fcn16s_vgg16", "fcn8s_atonce_vgg16"),
        ("fcn32s_alexnet", "fcn16s_vgg16"),
        ("fcn32s_vgg16", "fcn_resnet50"),
    ],
)
def test_other_networks_are_refused(has, asked, tmp_path):
    message = f"expected the tensors of {asked}, got those of {has}"
    with pytest.raises(CheckpointError, match=f"^{message}; the hint$"):
        to_ours(port(has)).for_model(asked, "the hint")
    with pytest.raises(CheckpointError, match=message):
        convert(port(has), asked)
    write_torch_zip(tmp_path / "f.pth", port(has))
    with pytest.raises(CheckpointError, match=rf"f\.pth: {message}"):
        convert_file(tmp_path / "f.pth", tmp_path / "f.safetensors", model_name=asked)
    assert not (tmp_path / "f.safetensors").exists()


def test_a_classifier_is_no_fcn():
    with pytest.raises(CheckpointError, match="got those of vgg16; a classifier's file fills a backbone"):
        to_ours(torchvision_vgg16()).for_model("fcn32s_vgg16")


# The account.


def test_everything_amiss_is_said_at_once():
    tensors = authors("fcn8s_vgg16")
    del tensors["score_pool3.bias"]
    tensors["conv1_1.weight"] = np.ones((2, 3, 5, 3), np.float32)
    tensors["upscore8.bias"] = np.ones(3, np.float32)
    with pytest.raises(CheckpointError) as caught:
        to_ours(tensors)
    assert str(caught.value).splitlines() == [
        "the tensors are not those of fcn8s_vgg16 (3 classes, widths 2, 3, 4, 5, 6, 8):",
        "  missing (1): score_pool3.bias",
        "  unexpected (1): upscore8.bias",
        "  of another shape or dtype (1): conv1_1.weight: expected float (2, 3, 3, 3), "
        "got float32 (2, 3, 5, 3)",
    ]


@pytest.mark.parametrize("name", ["score_fr.bias", "conv4_1.bias", "fc6.bias"])
def test_what_tells_classes_and_widths_is_missing(name):
    tensors = port("fcn16s_vgg16")
    del tensors[name]
    with pytest.raises(CheckpointError, match=f"'{name}', which shows .*, is missing"):
        to_ours(tensors)
    with pytest.raises(CheckpointError, match=f"'{name}', which shows .*, is a scalar"):
        to_ours(tensors | {name: np.float32(1).reshape(())})


def test_a_torchvision_bias_has_one_axis():
    tensors = torchvision_vgg16()
    tensors["features.0.bias"] = tensors["features.0.bias"].reshape(1, 1, 1, 2)
    with pytest.raises(CheckpointError, match=r"features.0.bias: expected float \(2,\)"):
        to_ours(tensors)


def test_every_file_is_of_one_family():
    files = [port(name) for name in NETS] + [authors("fcn8s_atonce_vgg16"), torchvision_vgg16()]
    files += [caffe_classifier("vgg16"), caffe_classifier("caffenet")]
    files += [to_ours(file).params for file in files]
    for file in files:
        shapes = {name: array.shape for name, array in file.items()}
        recognized = [found for family in FAMILIES if (found := family.recognize(shapes))]
        assert recognized[0][0] == to_ours(file).spec


def test_every_flipped_byte_of_a_whole_model_is_found_or_leaves_the_shapes(tmp_path):
    """Caffe's form has no checksum, but names and shapes pass through the table: only numbers can differ."""
    spec = ModelSpec(name="fcn32s_alexnet", num_classes=1, features=(2, 2, 2, 2, 2), fc_features=1)
    tensors = drawn(paper.fcn_layers(spec))
    path = caffemodel(tmp_path / "f", tensors)
    data, shapes = path.read_bytes(), {k: v.shape for k, v in load_model_file(path).params.items()}
    at, skip = 0, []
    for array in tensors.values():  # numbers are any bytes; all others are flipped
        at = data.index(array.tobytes(), at)
        skip.append(range(at, at := at + array.nbytes))
    looked_at = [p for p in range(len(data)) if not any(p in part for part in skip)]
    flipped = tmp_path / "flipped"
    for position in looked_at:
        mask = (0x01, 0x02, 0x08, 0x10, 0x80, 0xFF)[position % 6]
        flipped.write_bytes(data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :])
        try:
            found = load_model_file(flipped)
        except CheckpointError:
            continue
        assert {k: v.shape for k, v in found.params.items()} == shapes


def test_the_command(tmp_path, capsys):
    source = caffemodel(tmp_path / "f.caffemodel", authors("fcn8s_atonce_vgg16"))
    assert main([str(source), str(tmp_path / "f.safetensors")]) == 0
    output = capsys.readouterr().out
    assert "fcn8s_atonce_vgg16 (3 classes, widths 2, 3, 4, 5, 6, 8), 39 arrays" in output
    assert "dropped scale_pool4.weight: is 0.01, a constant of the model" in output
    write_torch_zip(tmp_path / "f.pth", port("fcn8s_vgg16"))
    arguments = [str(tmp_path / "f.pth"), str(tmp_path / "g.safetensors"), "--model", "fcn8s_atonce_vgg16"]
    assert main([*arguments, "--preset", "torchvision"]) == 0
    metadata = read_safetensors(tmp_path / "g.safetensors")[1]
    assert ModelSpec.from_json(metadata["spec"]) == narrow("fcn8s_atonce_vgg16")
    assert metadata["preset"] == "torchvision"
    assert json.loads(metadata["num_batches_tracked"]) == {}
