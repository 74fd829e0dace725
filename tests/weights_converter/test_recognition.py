"""Which network tensors belong to, by names and shapes."""

import numpy as np
import pytest

from weights_converter import CheckpointError, ModelSpec
from weights_converter.recognition import family_of, recognize
from weights_converter.tables import paper_families


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
            r"'classifier\.4\.bias', which shows the number of classes, is missing",
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
def test_an_unknown_architecture_is_refused(tensors, message):
    with pytest.raises(CheckpointError, match=message):
        recognize(tensors)


def test_a_spec_finds_its_family():
    spec = ModelSpec(name="fcn8s_vgg16", num_classes=3)
    assert family_of(spec) is paper_families.FCNS
    with pytest.raises(CheckpointError, match=r"expected one of the networks fcn_resnet50, .*, got mynet"):
        family_of(ModelSpec(name="mynet", num_classes=3))
