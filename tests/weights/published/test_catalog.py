"""The catalogue's own consistency; its facts are compared with torchvision's in tests/parity."""

import re

import pytest

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.weights import FCN_ResNet50_Weights, ResNet101_Weights, get_model_weights, get_weight
from fcn_jax.weights.published.catalog import MODEL_WEIGHTS

MEMBERS = [member for weights in MODEL_WEIGHTS.values() for member in weights]


def test_the_voc_categories():
    assert len(VOC_CATEGORIES) == len(set(VOC_CATEGORIES)) == 21
    assert VOC_CATEGORIES.index("__background__") == 0
    assert VOC_CATEGORIES.index("dog") == 12
    assert VOC_CATEGORIES.index("tvmonitor") == 20


def test_the_defaults():
    for weights in MODEL_WEIGHTS.values():
        assert weights.DEFAULT is list(weights)[-1]


@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_every_file_has_a_digest_or_is_one_of_three_without(member):
    digits = {"sha256": 8, "sha1": 40}
    if member.value.digest is None:
        assert member.file_name in (
            "fcn16s-heavy-pascal.caffemodel",
            "fcn8s-atonce-pascal.caffemodel",
            "fcn-alexnet-pascal.caffemodel",
        )
    else:
        algorithm, digest = member.value.digest
        assert re.fullmatch("[0-9a-f]+", digest)
        assert len(digest) in (digits[algorithm], 64)
    if member.file_name.endswith(".pth"):
        servers = r"download\.pytorch\.org/models|download\.openmmlab\.com/mmsegmentation/v0\.5/fcn/[\w-]+"
        assert re.fullmatch(rf"https://({servers})/[\w-]+\.pth", member.url)


@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_the_preset_is_that_of_the_files_family(member):
    preset = type(member.transforms()).__name__
    assert (preset == "CaffeSegmentation") == member.file_name.endswith(".caffemodel")


@pytest.mark.parametrize("member", [member for member in MEMBERS if member.value.sha256], ids=repr)
def test_second_hand_facts_agree_with_the_published(member):
    assert re.fullmatch("[0-9a-f]{64}", member.value.sha256)
    assert member.value.sha256.startswith(member.sha256_prefix)
    assert round(member.value.size / 2**20, 3) == member.meta["_file_size"]


def test_get_model_weights_takes_a_name_or_a_builder():
    def fcn_resnet50(*, weights=None):
        """Stands for the builder."""

    assert get_model_weights("fcn_resnet50") is FCN_ResNet50_Weights
    assert get_model_weights("FCN_ResNet50") is FCN_ResNet50_Weights
    assert get_model_weights(fcn_resnet50) is FCN_ResNet50_Weights
    assert get_model_weights("resnet101") is ResNet101_Weights


@pytest.mark.parametrize("name", ["fcn_resnet18", "", len])
def test_get_model_weights_lists_the_models_that_exist(name):
    with pytest.raises(ValueError, match=r"no weights are published.*fcn_resnet50, fcn_resnet101, resnet50"):
        get_model_weights(name)


def test_get_weight():
    assert get_weight("FCN_ResNet50_Weights.DEFAULT") is FCN_ResNet50_Weights.DEFAULT
    assert get_weight("ResNet101_Weights.IMAGENET1K_V1") is ResNet101_Weights.IMAGENET1K_V1


@pytest.mark.parametrize("name", ["", "DEFAULT", "FCN_ResNet50_Weights", "FCN_ResNet50_Weights.V9", "a.b.c"])
def test_get_weight_lists_the_names_that_exist(name):
    known = (
        "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1, FCN_ResNet50_Weights.DEFAULT, FCN_ResNet101_Weights"
    )
    with pytest.raises(ValueError, match=re.escape(f"no weights {name!r}") + ".*" + re.escape(known)):
        get_weight(name)
