"""The catalogue of weights against torchvision's enums, field by field."""

import pytest

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.weights import get_weight
from fcn_jax.weights.published.catalog import MODEL_WEIGHTS
from fcn_jax.weights.published.paper import VGG16_Weights
from tests.parity.torch_reference import torchvision

MODELS = ["fcn_resnet50", "fcn_resnet101", "resnet50", "resnet101"]
ENUMS = [MODEL_WEIGHTS[model] for model in MODELS]
MEMBERS = [*(member for weights in ENUMS for member in weights), VGG16_Weights.IMAGENET1K_V1]
FACTS = ["num_params", "min_size", "recipe", "_metrics", "_ops", "_file_size"]


def theirs(name):
    return torchvision.models.get_weight(name)


@pytest.mark.parametrize("ours", ENUMS)
def test_the_same_members(ours):
    their_enum = type(theirs(f"{ours.__name__}.DEFAULT"))
    assert {name: member.name for name, member in ours.__members__.items()} == {
        name: member.name for name, member in their_enum.__members__.items()
    }


@pytest.mark.parametrize("model", MODELS)
def test_the_same_enum_for_each_model(model):
    assert MODEL_WEIGHTS[model].__name__ == torchvision.models.get_model_weights(model).__name__


@pytest.mark.parametrize("ours", MEMBERS, ids=repr)
def test_the_same_address_and_facts(ours):
    reference = theirs(repr(ours))
    assert repr(ours) == repr(reference)
    assert get_weight(repr(ours)) is ours
    assert ours.url == reference.url
    assert {fact: ours.meta[fact] for fact in FACTS} == {fact: reference.meta[fact] for fact in FACTS}
    assert set(reference.meta) - set(ours.meta) <= {"categories"}
    if "categories" in ours.meta:
        assert list(ours.meta["categories"]) == reference.meta["categories"]


@pytest.mark.parametrize("ours", MEMBERS, ids=repr)
def test_the_same_preset(ours):
    reference, preset = theirs(repr(ours)).transforms(), ours.transforms()
    assert type(preset).__name__ == type(reference).__name__
    assert [preset.resize_size] == reference.resize_size
    assert (list(preset.mean), list(preset.std)) == (reference.mean, reference.std)
    if hasattr(reference, "crop_size"):
        assert [preset.crop_size] == reference.crop_size


def test_the_same_voc_categories():
    assert list(VOC_CATEGORIES) == torchvision.models._meta._VOC_CATEGORIES
