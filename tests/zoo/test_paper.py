"""The paper's networks by name, on narrow instances: files in every form, stages, presets, contradictions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.models.arrays import named_variables
from fcn_jax.models.skip_fcn import VARIANTS
from fcn_jax.transforms import CaffeSegmentation, SemanticSegmentation
from fcn_jax.weights.loading import load_backbone
from tests.seeded import seeded_images, seeded_paper_state_dict, seeded_state_dict
from tests.weights_converter.caffe_files import caffemodel
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter import CheckpointError, save_model_file, write_safetensors, write_torch_zip
from weights_converter.conversion import to_ours

NAMES = list(VARIANTS)
PARENTS = [("fcn32s_vgg16", "fcn16s_vgg16"), ("fcn16s_vgg16", "fcn8s_vgg16")]
WIDTHS = {"features": (4, 6, 8, 10, 12), "fc_features": 16}


def values(model) -> dict[str, np.ndarray]:
    return {name: np.asarray(variable[...]) for name, variable in named_variables(model).items()}


def logits(model, images=None) -> np.ndarray:
    images = seeded_images(1, 33, 47) if images is None else images
    run = jax.jit(lambda model, images: model(images)["out"])
    return np.asarray(run(model, jnp.asarray(images, jnp.float32)))


def test_they_are_listed():
    assert fcn_jax.list_models()[2:7] == NAMES
    for name in NAMES:
        assert fcn_jax.get_model_weights(name).DEFAULT.meta["categories"] == fcn_jax.VOC_CATEGORIES


@pytest.mark.parametrize("name", NAMES)
def test_weights_decide_classes_and_widths(name):
    tensors = seeded_paper_state_dict(name)
    model = fcn_jax.get_model(name, weights=tensors)
    assert model.score_fr.out_features == 5
    assert model.backbone.fc7.out_features == 16
    assert logits(model).shape == (1, 33, 47, 5)
    assert model.transforms == CaffeSegmentation()
    deconv = "upscore" if name.startswith("fcn32s") else "upscore2"
    np.testing.assert_array_equal(
        getattr(model, deconv).kernel[...],
        tensors[f"{deconv}.weight"].transpose(2, 3, 1, 0).astype(np.float32),
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_file_form_gives_the_same_model(name, tmp_path):
    tensors = {key: np.asarray(array, np.float32) for key, array in seeded_paper_state_dict(name).items()}
    write_torch_zip(tmp_path / "zip.pth", tensors)
    write_torch_legacy(tmp_path / "legacy.pth", tensors)
    scales = {}
    if name == "fcn8s_atonce_vgg16":
        scales["scale_pool4.weight"] = np.full(10, 0.01, np.float32)
        scales["scale_pool3.weight"] = np.full(8, 0.0001, np.float32)
    caffemodel(tmp_path / "net.caffemodel", tensors | scales)
    fcn_jax.save_weights(fcn_jax.get_model(name, weights=tensors), tmp_path / "ours.safetensors")
    expected = values(fcn_jax.get_model(name, weights=tensors))
    for path in sorted(tmp_path.iterdir()):
        model = fcn_jax.get_model(name, weights=path)
        got = values(model)
        assert got.keys() == expected.keys()
        assert all(np.array_equal(got[key], expected[key]) for key in expected), path.name
        assert model.transforms == CaffeSegmentation(), path.name


def test_the_model_that_a_file_is_of(tmp_path):
    tensors = seeded_paper_state_dict("fcn32s_vgg16")
    assert fcn_jax.load_model(tensors).spec.name == "fcn32s_vgg16"
    atonce = fcn_jax.load_model(seeded_paper_state_dict("fcn8s_vgg16"), model_name="fcn8s_atonce_vgg16")
    assert atonce.spec.name == "fcn8s_atonce_vgg16"
    with pytest.raises(CheckpointError, match="only start weights for the training of fcn16s_vgg16"):
        fcn_jax.load_model(tensors, model_name="fcn16s_vgg16")


@pytest.mark.slow
@pytest.mark.parametrize(("coarse", "fine"), PARENTS)
def test_a_stage_starts_with_its_parents_scores(coarse, fine, tmp_path):
    tensors = dict(seeded_paper_state_dict(coarse))
    model = fcn_jax.get_model(fine, weights=tensors)
    got = values(model)
    new = "score_pool4" if fine == "fcn16s_vgg16" else "score_pool3"
    assert (got[f"{new}.kernel"] == 0).all()
    assert (got[f"{new}.bias"] == 0).all()
    np.testing.assert_array_equal(got["score_fr.bias"], tensors["score_fr.bias"].astype(np.float32))
    last = "upscore16.kernel" if fine == "fcn16s_vgg16" else "upscore8.kernel"
    bilinear = values(fcn_jax.get_model(fine, num_classes=5, **WIDTHS))[last]
    np.testing.assert_array_equal(got[last], bilinear)

    other = fcn_jax.get_model(fine, **WIDTHS, num_classes=5)
    account = fcn_jax.load_weights(other, tensors)
    assert account.fresh[f"{new}.kernel"] == f"{coarse} does not have it; it gets initial values"
    dropped = "upscore" if coarse == "fcn32s_vgg16" else "upscore16"
    assert account.dropped == {f"{dropped}.kernel": f"{fine} does not have it"}
    assert set(account.loaded) | set(account.fresh) == set(got)
    assert all(np.array_equal(got[path], array) for path, array in values(other).items())


def test_at_once_is_told_by_name(tmp_path):
    tensors = seeded_paper_state_dict("fcn8s_atonce_vgg16")
    plain = fcn_jax.fcn8s_vgg16(weights=tensors)
    scaled = fcn_jax.fcn8s_atonce_vgg16(weights=tensors)
    assert not np.allclose(logits(plain), logits(scaled))
    fcn_jax.save_weights(scaled, tmp_path / "atonce.safetensors")
    again = fcn_jax.fcn8s_atonce_vgg16(weights=tmp_path / "atonce.safetensors")
    np.testing.assert_array_equal(logits(again), logits(scaled))
    with pytest.raises(
        CheckpointError, match=r"expected the .* of fcn8s_vgg16, got those of fcn8s_atonce_vgg16"
    ):
        fcn_jax.fcn8s_vgg16(weights=tmp_path / "atonce.safetensors")


def test_a_classifier_of_caffes_or_torchvisions_fills_the_backbone_and_shows_the_preset():
    backbone = {
        key: array
        for key, array in seeded_paper_state_dict("fcn32s_vgg16").items()
        if not key.startswith(("sc", "up"))
    }
    flat = {
        key: array.reshape(16, -1) if key in ("fc6.weight", "fc7.weight") else array
        for key, array in backbone.items()
    }
    caffe = flat | {"fc8.weight": np.ones((7, 16)), "fc8.bias": np.ones(7)}
    model = fcn_jax.fcn8s_vgg16(weights_backbone=caffe, num_classes=4, **WIDTHS)
    assert model.transforms == CaffeSegmentation()
    np.testing.assert_array_equal(
        model.backbone.fc6.kernel[...], backbone["fc6.weight"].transpose(2, 3, 1, 0).astype(np.float32)
    )
    assert (logits(model) == 0).all()  # score layers start at zero

    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    names = [key.removesuffix(".bias") for key in backbone if key.endswith(".bias")]
    places = [*(f"features.{number}" for number in numbers), "classifier.0", "classifier.3"]
    torchvisions = {
        f"{place}.{leaf}": flat[f"{name}.{leaf}"]
        for name, place in zip(names, places, strict=True)
        for leaf in ("weight", "bias")
    } | {"classifier.6.weight": np.ones((7, 16)), "classifier.6.bias": np.ones(7)}
    other = fcn_jax.fcn8s_vgg16(weights_backbone=torchvisions, num_classes=4, **WIDTHS)
    assert other.transforms == SemanticSegmentation(resize_size=None)
    assert all(np.array_equal(values(model)[key], values(other)[key]) for key in values(model))


def test_a_trunk_fills_the_convolutions_and_names_what_it_lacks(tmp_path, caplog):
    tensors = seeded_paper_state_dict("fcn32s_vgg16")
    trunk = {name: array for name, array in tensors.items() if name.startswith("conv")}
    model = fcn_jax.fcn8s_vgg16(features=WIDTHS["features"], fc_features=7, num_classes=4)
    before = values(model)
    account = load_backbone(model, trunk)
    after = values(model)
    fresh = [name for name in account.fresh if name.startswith("backbone.")]
    assert fresh == [f"backbone.{name}" for name in ("fc6.bias", "fc6.kernel", "fc7.bias", "fc7.kernel")]
    assert {account.fresh[name] for name in fresh} == {"the file has the convolutions alone"}
    for name in after:
        assert np.array_equal(after[name], before[name]) == (name not in account.loaded), name
    np.testing.assert_array_equal(
        after["backbone.conv5_3.kernel"], trunk["conv5_3.weight"].transpose(2, 3, 1, 0).astype(np.float32)
    )
    write_safetensors(tmp_path / "trunk.safetensors", trunk, {})
    assert caplog.messages == []
    fcn_jax.fcn16s_vgg16(
        weights_backbone=tmp_path / "trunk.safetensors", features=WIDTHS["features"], fc_features=7
    )
    assert caplog.messages == [
        f"{tmp_path / 'trunk.safetensors'}: not in it, so at random: backbone.fc6, backbone.fc7"
    ]
    with pytest.raises(CheckpointError, match=r"expected a backbone, vgg16 .* got vgg16_trunk"):
        fcn_jax.fcn16s_vgg16(weights_backbone=trunk)


def test_the_preset_travels_with_the_file(tmp_path):
    model = fcn_jax.fcn32s_vgg16(weights=seeded_paper_state_dict("fcn32s_vgg16"))
    model.update_meta(transforms=SemanticSegmentation(resize_size=None), categories=tuple("abcde"))
    fcn_jax.save_weights(model, tmp_path / "net.safetensors")
    again = fcn_jax.fcn32s_vgg16(weights=tmp_path / "net.safetensors")
    assert again.transforms == SemanticSegmentation(resize_size=None)
    assert again.categories == ("a", "b", "c", "d", "e")
    assert fcn_jax.Segmenter(again).transforms == again.transforms


def test_loading_into_a_model_takes_over_what_its_pictures_go_through(tmp_path):
    trained = fcn_jax.fcn32s_vgg16(weights=seeded_paper_state_dict("fcn32s_vgg16"))
    trained.update_meta(transforms=SemanticSegmentation(resize_size=None), categories=tuple("abcde"))
    fcn_jax.save_weights(trained, tmp_path / "net.safetensors")
    model = fcn_jax.fcn32s_vgg16(num_classes=5, **WIDTHS)
    assert model.transforms == CaffeSegmentation()
    fcn_jax.load_weights(model, tmp_path / "net.safetensors")
    assert model.transforms == SemanticSegmentation(resize_size=None)
    assert model.categories == tuple("abcde")
    fcn_jax.load_weights(model, seeded_paper_state_dict("fcn32s_vgg16"))
    assert model.transforms == CaffeSegmentation()


def test_a_file_that_makes_no_sense_changes_nothing(tmp_path):
    found = to_ours(seeded_paper_state_dict("fcn32s_vgg16"))
    save_model_file(tmp_path / "net.safetensors", found.params, found.spec, {"categories": '["a"]'})
    model = fcn_jax.fcn32s_vgg16(num_classes=5, **WIDTHS)
    before = values(model)
    with pytest.raises(
        CheckpointError, match=r"net\.safetensors: its metadata .* categories: expected 5.*, got 1"
    ):
        fcn_jax.load_weights(model, tmp_path / "net.safetensors")
    assert all(np.array_equal(before[name], array) for name, array in values(model).items())


@pytest.mark.parametrize(("coarse", "fine"), PARENTS)
def test_a_stage_resets_what_its_parent_lacks_and_nothing_else(coarse, fine):
    tensors = dict(seeded_paper_state_dict(coarse))
    expected = values(fcn_jax.get_model(fine, weights=tensors))
    model = fcn_jax.get_model(fine, weights=seeded_paper_state_dict(fine))  # trained before
    before = values(model)
    del tensors["conv1_2.weight"]
    account = fcn_jax.load_weights(model, tensors, strict=False)
    assert account.fresh["backbone.conv1_2.kernel"] == "strict=False: not in the file"
    expected["backbone.conv1_2.kernel"] = before["backbone.conv1_2.kernel"]
    assert all(np.array_equal(array, expected[name]) for name, array in values(model).items())


def test_three_stages_from_file_to_file(tmp_path):
    fcn_jax.save_weights(
        fcn_jax.fcn32s_vgg16(weights=seeded_paper_state_dict("fcn32s_vgg16")), tmp_path / "32.safetensors"
    )
    fcn_jax.save_weights(
        fcn_jax.fcn16s_vgg16(weights=tmp_path / "32.safetensors", learn_upsampling="intermediate"),
        tmp_path / "16.safetensors",
    )
    last = fcn_jax.fcn8s_vgg16(weights=tmp_path / "16.safetensors")
    assert (last.spec.name, last.spec.learn_upsampling) == ("fcn8s_vgg16", "intermediate")
    first = seeded_paper_state_dict("fcn32s_vgg16")["score_fr.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(last.score_fr.kernel[...], first.astype(np.float32))


@pytest.mark.parametrize("load", [fcn_jax.load_model, lambda path: fcn_jax.fcn16s_vgg16(weights=path)])
def test_a_file_says_what_learns_and_in_what_colours_its_classes_are_drawn(load, tmp_path):
    model = fcn_jax.fcn16s_vgg16(num_classes=2, **WIDTHS, learn_upsampling="intermediate")
    model.update_meta(categories=["road", "sky"], palette=((128, 64, 128), (0, 0, 255)))
    fcn_jax.save_weights(model, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.spec == model.spec
    assert again.spec.learn_upsampling == "intermediate"
    assert again.meta == model.meta
    assert isinstance(again.upscore2.kernel, nnx.Param)


def test_old_names_do_not_stay_with_new_colours(tmp_path):
    tensors = seeded_paper_state_dict("fcn32s_vgg16")
    model = fcn_jax.fcn32s_vgg16(weights=tensors)
    model.update_meta(categories=tuple("abcde"), palette=((9, 9, 9),) * 5)
    plain = fcn_jax.fcn32s_vgg16(weights=tensors)
    plain.update_meta(categories=tuple("vwxyz"))
    fcn_jax.save_weights(plain, tmp_path / "net.safetensors")
    fcn_jax.load_weights(model, tensors)  # a file that says nothing leaves both
    assert (model.categories, model.meta.palette) == (tuple("abcde"), ((9, 9, 9),) * 5)
    fcn_jax.load_weights(model, tmp_path / "net.safetensors")
    assert (model.categories, model.meta.palette) == (tuple("vwxyz"), None)


def test_a_file_from_before_the_spec_still_loads(tmp_path):
    params = to_ours(seeded_paper_state_dict("fcn8s_vgg16")).params
    said = {
        "format": "fcn_jax",
        "model": "fcn8s_atonce_vgg16",
        "num_classes": "5",
        "categories": '["a", "b", "c", "d", "e"]',
        "transforms": json.dumps(SemanticSegmentation(resize_size=None).to_dict()),
        "preset": "torchvision",
    }
    write_safetensors(tmp_path / "old.safetensors", params, said)
    model = fcn_jax.load_model(tmp_path / "old.safetensors")
    assert model.spec.name == "fcn8s_atonce_vgg16"
    assert model.categories == tuple("abcde")
    assert model.transforms == SemanticSegmentation(resize_size=None)


def test_a_preset_that_makes_no_sense_is_refused(tmp_path):
    resnet = to_ours(seeded_state_dict("fcn_resnet50", 5)).params
    with pytest.raises(CheckpointError, match="the preset 'caffe' was asked for; expected 'torchvision'"):
        to_ours(resnet, preset="caffe")
    model = fcn_jax.fcn32s_vgg16(num_classes=5, **WIDTHS)
    with pytest.raises(TypeError, match=r"transforms: expected a preset of fcn_jax.transforms"):
        fcn_jax.save_weights(model, tmp_path / "net.safetensors", transforms=len)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pictures_are_counted_with_the_border(monkeypatch):
    monkeypatch.setattr("fcn_jax.inference.plan.MAX_MODEL_PIXELS", 90_000)
    segmenter = fcn_jax.Segmenter(fcn_jax.fcn32s_vgg16(num_classes=2, **WIDTHS))
    with pytest.raises(fcn_jax.ImageError, match=r"surroundings 355 x 350 = 124,250; choose a smaller tile$"):
        segmenter(np.zeros((150, 155, 3), np.uint8))


def test_the_head_may_be_replaced_for_another_class_count():
    model = fcn_jax.fcn16s_vgg16(num_classes=3, **WIDTHS)
    account = fcn_jax.load_weights(model, seeded_paper_state_dict("fcn16s_vgg16"), head="replace")
    assert {path.partition(".")[0] for path in account.fresh} == {
        "score_fr",
        "score_pool4",
        "upscore2",
        "upscore16",
    }
    assert all(path.startswith("backbone.") for path in account.loaded)


def test_learned_and_fixed_upsamplings_are_loaded_alike():
    tensors = seeded_paper_state_dict("fcn16s_vgg16")
    fixed = fcn_jax.fcn16s_vgg16(weights=tensors)
    learned = fcn_jax.fcn16s_vgg16(weights=tensors, learn_upsampling="intermediate")
    np.testing.assert_array_equal(logits(fixed), logits(learned))
    counts = [len(jax.tree.leaves(nnx.state(model, nnx.Param))) for model in (fixed, learned)]
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"num_classes": 7},
            r"num_classes=7 was asked for, but fcn32s_vgg16 \(5 classes.* has num_classes=5",
        ),
        (
            {"features": (1, 2, 3, 4, 5)},
            r"features=\(1, 2, 3, 4, 5\) was asked for.* has features=\(4, 6, 8, 10, 12\)",
        ),
        ({"fc_features": 8}, "fc_features=8 was asked for.* has fc_features=16"),
    ],
)
def test_a_contradiction_with_the_weights_names_both(asked, message):
    with pytest.raises(ValueError, match=message):
        fcn_jax.fcn32s_vgg16(weights=seeded_paper_state_dict("fcn32s_vgg16"), **asked)


def test_other_networks_weights_are_refused():
    with pytest.raises(
        CheckpointError, match="expected the tensors of fcn32s_alexnet, got those of fcn32s_vgg16"
    ):
        fcn_jax.fcn32s_alexnet(weights=seeded_paper_state_dict("fcn32s_vgg16"))
    with pytest.raises(
        CheckpointError, match="expected the tensors of fcn32s_vgg16, got those of fcn8s_vgg16"
    ):
        fcn_jax.fcn32s_vgg16(weights=seeded_paper_state_dict("fcn8s_vgg16"))
    with pytest.raises(TypeError, match="expected FCN8s_VGG16_Weights, its name or None"):
        fcn_jax.fcn8s_vgg16(weights=fcn_jax.get_model_weights("fcn32s_vgg16").DEFAULT)
