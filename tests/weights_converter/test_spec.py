"""The spec: JSON in and out, and what makes no sense."""

import dataclasses

import pytest

from weights_converter import FCNError, ModelSpec, SettingError

NARROW = {"features": (2, 3, 4, 5, 6), "fc_features": 8}


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(name="fcn_resnet50", num_classes=21, aux_loss=True),
        ModelSpec(name="fcn16s_vgg16", num_classes=2, **NARROW, learn_upsampling="intermediate"),
        ModelSpec(name="fcn_resnet101", num_classes=1, in_channels=4),
        ModelSpec(name="vgg16", **NARROW),
        ModelSpec(
            name="fcn_r50_d6", num_classes=19, features=(1, 2, 3, 4, 5), stem="deep", align_corners=True
        ),
    ],
)
def test_json_keeps_it(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert "\n" not in spec.to_json()


def test_json_says_only_what_is_not_usual():
    assert ModelSpec(name="fcn_resnet50", num_classes=2).to_json() == (
        '{"name": "fcn_resnet50", "num_classes": 2}'
    )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ModelSpec(name="fcn_resnet50", num_classes=21, aux_loss=True), "21 classes, with aux_classifier"),
        (
            ModelSpec(name="fcn32s_alexnet", num_classes=3, **NARROW),
            "3 classes, widths 2, 3, 4, 5, 6, 8",
        ),
        (
            ModelSpec(
                name="fcn8s_vgg16", num_classes=21, features=(64, 128, 256, 512, 512), fc_features=4096
            ),
            "21 classes",
        ),
        (ModelSpec(name="vgg16", **NARROW), "an ImageNet classifier, widths 2, 3, 4, 5, 6, 8"),
        (
            ModelSpec(
                name="fcn_r50_d8",
                num_classes=19,
                aux_loss=True,
                features=(64, 64, 128, 256, 512),
                stem="deep",
            ),
            "19 classes, with aux_classifier, deep stem",
        ),
        (
            ModelSpec(name="fcn_r50_d8", num_classes=2, features=(1, 2, 3, 4, 5), align_corners=True),
            "2 classes, without aux_classifier, widths 1, 2, 3, 4, 5, aligned corners",
        ),
        (ModelSpec(name="resnet50", in_channels=4), "an ImageNet classifier, 4 input channels"),
    ],
)
def test_words(spec, words):
    assert str(spec) == f"{spec.name} ({words})"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 0}, "num_classes: expected a number of at least 1, got 0"),
        ({"num_classes": True}, "num_classes: expected a number of at least 1, got True"),
        ({"num_classes": 2.0}, "num_classes: expected a number of at least 1, got 2.0"),
        ({"name": "resnet50"}, "num_classes: expected none for the classifier resnet50, got 5"),
        ({"in_channels": -1}, "in_channels: expected a number of at least 1, got -1"),
        ({"features": (1, 2, 3, 4, 0)}, "features: expected a number of at least 1, got 0"),
        ({"features": (1, 2)}, r"features: expected widths of 5 blocks, got \(1, 2\)"),
        ({"stem": "v1d"}, "stem: expected 'torchvision' or 'deep', got 'v1d'"),
        ({"align_corners": 1}, "align_corners: expected True or False, got 1"),
        ({"fc_features": 0}, "fc_features: expected a number of at least 1, got 0"),
        ({"learn_upsampling": "all"}, "learn_upsampling: expected 'none' or 'intermediate', got 'all'"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(SettingError, match=message):
        ModelSpec(**{"name": "net", "num_classes": 5} | fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "spec: expected JSON, got 'no json'"),
        ("[" * 10**5, "spec: expected JSON"),
        ("[]", r"""spec: expected an object with a "name", got \[\]"""),
        ('{"num_classes": 5}', 'spec: expected an object with a "name"'),
        ('{"name": 3}', "spec: name: expected str, got 3"),
        ('{"name": "net", "num_classes": "5"}', "spec: num_classes: expected int, got '5'"),
        ('{"name": "net", "num_classes": 5, "features": [1, 2, 3, 4, "5"]}', "features: expected a number"),
        ('{"name": "net", "depth": 5}', "expected the fields name, .*, got 'depth'; .* version of fcn_jax"),
    ],
)
def test_json_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(FCNError, match=message):
        ModelSpec.from_json(text)


def test_it_does_not_change_and_can_be_a_key():
    spec = ModelSpec(name="fcn_resnet50", num_classes=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.num_classes = 6
    assert {spec: 1}[ModelSpec(name="fcn_resnet50", num_classes=5)] == 1
