"""The enum's behaviour, which is torchvision's."""

import copy
import pickle
import re
import subprocess
import sys

import pytest

from fcn_jax.weights import FCN_ResNet50_Weights, FCN_ResNet101_Weights, ResNet50_Weights, Weights

MEMBER = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1


@pytest.mark.parametrize(
    "obj",
    [MEMBER, "DEFAULT", "COCO_WITH_VOC_LABELS_V1", "FCN_ResNet50_Weights.DEFAULT"],
)
def test_verify_accepts_a_member_and_its_names(obj):
    assert FCN_ResNet50_Weights.verify(obj) is MEMBER


def test_verify_lets_none_pass():
    assert FCN_ResNet50_Weights.verify(None) is None


@pytest.mark.parametrize("obj", [FCN_ResNet101_Weights.DEFAULT, 1, True, b"DEFAULT"])
def test_verify_refuses_another_type(obj):
    with pytest.raises(TypeError, match=rf"expected FCN_ResNet50_Weights.*got {type(obj).__name__}"):
        FCN_ResNet50_Weights.verify(obj)


@pytest.mark.parametrize("name", ["", "default", "COCO_V2", "FCN_ResNet101_Weights.DEFAULT", "verify"])
def test_verify_lists_the_names_that_exist(name):
    with pytest.raises(ValueError, match=re.escape(repr(name)) + ".*COCO_WITH_VOC_LABELS_V1, DEFAULT"):
        FCN_ResNet50_Weights.verify(name)


def test_a_member_shows_what_its_value_holds():
    assert repr(MEMBER) == "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"
    assert MEMBER.url == MEMBER.value.url
    assert MEMBER.meta is MEMBER.value.meta
    assert MEMBER.file_name == "fcn_resnet50_coco-1167a1af.pth"
    assert MEMBER.sha256_prefix == "1167a1af"


@pytest.mark.parametrize("member", [MEMBER, *ResNet50_Weights])
def test_a_member_survives_copying_and_pickling(member):
    assert copy.deepcopy(member) is member
    assert pickle.loads(pickle.dumps(member)) is member


def test_transforms_make_the_preset_and_pass_settings_on():
    from fcn_jax.transforms import ImageClassification, SemanticSegmentation

    assert MEMBER.transforms() == SemanticSegmentation(resize_size=520)
    assert MEMBER.transforms(resize_size=None) == SemanticSegmentation(resize_size=None)
    assert ResNet50_Weights.IMAGENET1K_V1.transforms() == ImageClassification(crop_size=224, resize_size=256)
    assert ResNet50_Weights.IMAGENET1K_V2.transforms() == ImageClassification(crop_size=224, resize_size=232)
    assert ResNet50_Weights.DEFAULT.transforms(crop_size=64).crop_size == 64


@pytest.mark.parametrize(
    ("url", "name", "prefix"),
    [
        ("https://host/a/net-0123abcd.pth", "net-0123abcd.pth", "0123abcd"),
        ("https://host/a/vgg16_features-amdegroot-88682ab5.pth?x=y-00000000.z", None, "88682ab5"),
        ("https://host/net.caffemodel", "net.caffemodel", None),
        ("https://host/net-0123abc.pth", "net-0123abc.pth", None),
        ("https://host/net-0123abcx.pth", "net-0123abcx.pth", None),
    ],
)
def test_the_address_tells_name_and_digest(url, name, prefix):
    weights = Weights(url, transforms=dict, meta={})
    assert weights.file_name == name or name is None
    assert weights.sha256_prefix == prefix


def test_two_digests_that_differ_are_refused():
    with pytest.raises(
        ValueError, match=r"sha256: expected 0123abcd\.\.\., as in the name net-0123abcd\.pth"
    ):
        Weights("https://host/net-0123abcd.pth", transforms=dict, meta={}, sha256="ff" * 32)


def test_the_catalogue_loads_without_heavy_modules():
    heavy = "{'jax', 'flax', 'rich', 'torch'}"
    program = (
        "import sys, types, pathlib\n"
        "package = types.ModuleType('fcn_jax'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules['fcn_jax'] = package  # the package's own __init__ is not the matter here\n"
        f"import fcn_jax.weights\nprint(sorted({heavy} & set(sys.modules)))"
    )
    folder = __import__("fcn_jax").__path__[0]
    answer = subprocess.run(
        [sys.executable, "-c", program, folder], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
