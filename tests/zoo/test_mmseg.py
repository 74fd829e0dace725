"""Builders of mmsegmentation's FCNs: choices, contradictions, and what has to be said."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.models import ConcatHead
from fcn_jax.transforms import FitWithin
from fcn_jax.weights.loading import load_backbone
from tests.weights_converter.test_mmsegmentation import stand_ins
from weights_converter import CheckpointError, ModelSpec, SettingError, read_weights

NAMES = ("fcn_r50_d8", "fcn_r101_d8", "fcn_r50_d6", "fcn_r101_d6", "fcn_r18_d8")
NARROW = (8, 4, 8, 16, 32)


@functools.cache
def tensors(**fields):
    spec = {"name": "fcn_r18_d8", "num_classes": 3, "aux_loss": True, "features": NARROW, "stem": "deep"}
    return stand_ins(ModelSpec(**spec | fields))


def test_random_models_have_the_published_form_without_aux():
    assert fcn_jax.list_models()[-5:] == list(NAMES)
    for name in ("fcn_r50_d6", "fcn_r18_d8"):
        model = nnx.eval_shape(lambda name=name: fcn_jax.get_model(name))
        assert model.spec == ModelSpec(
            name=name, num_classes=19, features=(64, 64, 128, 256, 512), stem="deep"
        )
        assert isinstance(model, fcn_jax.MMSegFCN)
        assert model.aux_classifier is None
        assert model.transforms == FitWithin(long=2048, short=1024)


def test_options_shape_the_network():
    model = nnx.eval_shape(
        lambda: fcn_jax.fcn_r50_d6(
            stem="torchvision", align_corners=True, num_classes=7, aux_loss=True, features=NARROW
        )
    )
    assert model.backbone.conv1.kernel.shape == (7, 7, 3, 8)
    assert model.backbone.stem is None
    assert model.classifier.conv_cat.kernel.shape == (3, 3, 128 + 32, 32)
    assert model.classifier.conv_cat.kernel_dilation == (1, 1)
    for conv in (model.classifier.conv1, model.classifier.conv2, model.aux_classifier.conv):
        assert (conv.kernel_dilation, conv.padding) == ((6, 6), ((6, 6), (6, 6)))
    assert (model.upsampler().stride, model.upsampler().align_corners) == (16, True)
    with pytest.raises(SettingError, match="stem: expected 'torchvision' or 'deep', got 'v1d'"):
        fcn_jax.fcn_r50_d6(stem="v1d")


def test_dropout_drops_whole_channels():
    dropout = ConcatHead(8, 2, rngs=nnx.Rngs(0)).dropout
    dropped = np.asarray(dropout(jnp.ones((8, 5, 5, 32)))) == 0
    assert 0 < dropped.mean() < 1
    assert (dropped.all((1, 2)) == dropped.any((1, 2))).all()


def test_a_state_dict_alone_needs_to_be_told_its_corners():
    message = (
        r"neither its tensors nor a config in it show align_corners; give align_corners \(True or False\)"
    )
    with pytest.raises(CheckpointError, match=message):
        fcn_jax.fcn_r18_d8(weights=tensors())
    for aligned in (True, False):
        assert fcn_jax.fcn_r18_d8(weights=tensors(), align_corners=aligned).spec.align_corners == aligned
        model = fcn_jax.load_model(tensors(), align_corners=aligned)
        assert (model.spec.align_corners, model.spec.features) == (aligned, NARROW)


def test_our_own_file_says_all_and_may_not_be_contradicted(tmp_path):
    path = tmp_path / "aligned.safetensors"
    fcn_jax.save_weights(fcn_jax.fcn_r18_d8(weights=tensors(), align_corners=True), path)
    assert fcn_jax.load_model(path).spec.align_corners
    with pytest.raises(
        SettingError, match=r"align_corners=False was asked for, but fcn_r18_d8 .*aligned corners"
    ):
        fcn_jax.load_model(path, align_corners=False)
    model = fcn_jax.fcn_r18_d8(weights=tensors(), align_corners=False)
    with pytest.raises(CheckpointError, match="build the model with align_corners=True"):
        fcn_jax.load_weights(model, path)
    aligned = fcn_jax.fcn_r18_d8(weights=tensors(), align_corners=True)
    assert not fcn_jax.load_weights(aligned, path).fresh
    assert read_weights(path).spec == aligned.spec


def test_a_model_tells_a_state_dict_its_corners():
    model = fcn_jax.fcn_r18_d8(weights=tensors(), align_corners=True)
    account = fcn_jax.load_weights(model, tensors())
    assert not account.dropped
    assert model.spec.align_corners


def test_the_backbone_comes_from_torchvision_only_with_its_stem():
    classifier = {
        name.removeprefix("backbone."): x
        for name, x in stand_ins(ModelSpec(name="fcn_r50_d8", num_classes=2)).items()
        if name.startswith("backbone.")
    }
    model = nnx.eval_shape(lambda: fcn_jax.fcn_r18_d8(features=NARROW))
    with pytest.raises(
        CheckpointError, match=r"no weights of a backbone for fcn_r18_d8 .*stem='torchvision'"
    ):
        load_backbone(model, classifier)
    model = nnx.eval_shape(lambda: fcn_jax.fcn_r50_d8(stem="torchvision"))
    assert model.backbone_spec == ModelSpec(name="resnet50")
