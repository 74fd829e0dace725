"""Builders: published facts, choices and contradictions."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax import zoo
from fcn_jax.models.arrays import named_variables
from tests.seeded import seeded_images, seeded_state_dict
from weights_converter import CheckpointError


@pytest.mark.parametrize(
    ("name", "aux_loss", "parameters"),
    [
        ("fcn_resnet50", True, 35_322_218),
        ("fcn_resnet101", True, 54_314_346),
        ("fcn_resnet50", False, 32_957_013),
        ("fcn_resnet101", None, 51_949_141),
    ],
)
def test_parameter_counts_are_the_published_ones(name, aux_loss, parameters):
    model = nnx.eval_shape(lambda: fcn_jax.get_model(name, aux_loss=aux_loss))
    assert sum(math.prod(p.shape) for p in jax.tree.leaves(nnx.state(model, nnx.Param))) == parameters


def test_models_are_listed_and_had_by_name():
    assert fcn_jax.list_models()[:3] == ["fcn_resnet50", "fcn_resnet101", "fcn32s_vgg16"]
    with pytest.raises(
        ValueError,
        match=r"one of fcn_resnet50, fcn_resnet101, .*, got 'fcn_resnet18'; did you mean",
    ):
        fcn_jax.get_model("fcn_resnet18")


@pytest.mark.parametrize("name", fcn_jax.list_models())
def test_builders_take_keywords_only_and_no_network_by_default(name):
    parameters = inspect.signature(zoo.BUILDERS[name]).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert parameters["weights_backbone"].default is None


@nnx.jit
def forward(model, images):
    return model(images.astype(jnp.float32))


@pytest.fixture(scope="module")
def model():
    return fcn_jax.fcn_resnet50(weights=seeded_state_dict("fcn_resnet50", 5))


def test_weights_decide_classes_and_aux_and_the_mode_is_evaluation(model):
    assert model.classifier.score.out_features == 5
    assert model.aux_classifier is not None
    assert model.classifier.bn.use_running_average is True
    assert model.classifier.dropout.deterministic is True
    first, second = (forward(model, seeded_images(1, 9, 8))["out"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_dropout_streams_advance_and_follow_the_seed():
    features = jnp.asarray(np.random.RandomState(0).standard_normal((1, 4, 4, 2048)), jnp.float32)

    def two_calls(seed: int):
        head = fcn_jax.fcn_resnet50(
            weights=seeded_state_dict("fcn_resnet50", 5), rngs=nnx.Rngs(seed)
        ).classifier
        head.dropout.deterministic = False
        return [np.asarray(head(features)) for _ in range(2)]

    (first, second), (again, _), (other, _) = two_calls(0), two_calls(0), two_calls(1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_bfloat16_computes_fast_and_answers_in_float32():
    weights = seeded_state_dict("fcn_resnet50", 5)
    images = seeded_images(1, 33, 47)
    half = fcn_jax.fcn_resnet50(weights=weights, dtype=jnp.bfloat16)
    logits, expected = (forward(m, images)["out"] for m in (half, fcn_jax.fcn_resnet50(weights=weights)))
    features = nnx.eval_shape(lambda m, images: m(images), half.backbone, jnp.ones((1, 33, 47, 3)))
    assert features["layer4"].dtype == jnp.bfloat16
    assert logits.dtype == jnp.float32
    assert named_variables(half)["backbone.conv1.kernel"].dtype == jnp.float32
    error = jnp.abs(logits - expected).max() / jnp.abs(expected).max()
    assert 1e-5 < error < 5e-2  # seen: 1e-2


def test_scores_are_float32_when_all_else_is_bfloat16():
    model = fcn_jax.fcn_resnet50(weights=seeded_state_dict("fcn_resnet50", 5), param_dtype=jnp.bfloat16)
    scores = jax.eval_shape(
        lambda x: model.classifier(x), jax.ShapeDtypeStruct((1, 4, 4, 2048), jnp.bfloat16)
    )
    assert scores.dtype == jnp.float32


def test_parameters_have_the_dtype_asked_for():
    model = fcn_jax.fcn_resnet50(weights=seeded_state_dict("fcn_resnet50", 5), param_dtype=jnp.bfloat16)
    assert model.backbone.conv1.kernel.dtype == jnp.bfloat16
    assert model.backbone.bn1.mean.dtype == jnp.float32


def test_a_jitted_caller_who_reads_only_out_does_not_pay_for_aux(model):
    def cost(head):
        lowered = jax.jit(lambda model, images: head(model(images))).lower(model, jnp.ones((1, 64, 64, 3)))
        return lowered.compile().cost_analysis()["flops"]

    assert cost(lambda logits: logits["out"]) < 0.99 * cost(lambda logits: logits)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_classes": 7}, r"num_classes=7 was asked for, but fcn_resnet50 \(5 classes"),
        (
            {"aux_loss": False},
            r"aux_loss=False was asked for, but fcn_resnet50 .* has aux_loss=True; .*aux=\"drop\"",
        ),
    ],
)
def test_a_contradiction_with_the_weights_names_both(asked, message):
    with pytest.raises(ValueError, match=message):
        fcn_jax.fcn_resnet50(weights=seeded_state_dict("fcn_resnet50", 5), **asked)


def test_published_weights_have_21_classes_and_aux(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    for asked in ({"num_classes": 7}, {"aux_loss": False}):
        with pytest.raises(
            ValueError, match=r"was asked for, but FCN_ResNet50_Weights\.COCO_WITH_VOC_LABELS_V1"
        ):
            fcn_jax.fcn_resnet50(weights="DEFAULT", **asked)  # before any download
    with pytest.raises(fcn_jax.WeightsDownloadError, match=r"fcn_resnet50_coco-1167a1af\.pth"):
        fcn_jax.fcn_resnet50(weights="DEFAULT", num_classes=21)


def test_weights_of_another_depth_are_refused():
    with pytest.raises(
        CheckpointError, match="expected the tensors of fcn_resnet101, got those of fcn_resnet50"
    ):
        fcn_jax.fcn_resnet101(weights=seeded_state_dict("fcn_resnet50", 5))


def test_weights_that_name_nothing_are_refused_with_the_names_there_are():
    with pytest.raises(
        ValueError, match=r"there is no file 'nowhere.pth'; expected a checkpoint file, or .*DEFAULT"
    ):
        fcn_jax.fcn_resnet50(weights="nowhere.pth")
    with pytest.raises(
        TypeError, match="expected FCN_ResNet50_Weights, its name or None, got FCN_ResNet101_Weights"
    ):
        fcn_jax.fcn_resnet50(weights=fcn_jax.FCN_ResNet101_Weights.DEFAULT)
    with pytest.raises(ValueError, match="num_classes: expected a number of at least 1, got -1"):
        fcn_jax.fcn_resnet50(num_classes=-1)


@pytest.mark.slow
def test_a_classifier_gives_its_backbone_only():
    weights = seeded_state_dict("resnet50", None) | {
        "fc.weight": np.ones((1000, 2048)),
        "fc.bias": np.ones(1000),
    }
    model = fcn_jax.fcn_resnet50(weights_backbone=weights, num_classes=4)
    np.testing.assert_array_equal(
        model.backbone.layer4[2].bn3.var[...], weights["layer4.2.bn3.running_var"].astype(np.float32)
    )
    assert model.classifier.score.out_features == 4
    with pytest.raises(CheckpointError, match=r"expected a backbone, resnet101 .* got resnet50"):
        fcn_jax.fcn_resnet101(weights_backbone=weights, num_classes=4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.ones((8, 8, 3), np.float32),
            r"got float32 \(8, 8, 3\); for one image add a batch axis: images\[None\]",
        ),
        (np.ones((1, 3, 8, 8), np.float32), r"got float32 \(1, 3, 8, 8\); that looks channels-first"),
        (
            np.ones((1, 8, 8, 4), np.float32),
            r"expected images \(N, H, W, 3\), float.*got float32 \(1, 8, 8, 4\)",
        ),
        (
            np.ones((1, 8, 8, 3), np.uint8),
            r"got uint8 \(1, 8, 8, 3\); pass pictures through the transforms first",
        ),
        (np.ones((1, 0, 8, 3), np.float32), "which is empty"),
    ],
)
def test_images_of_another_kind_are_refused(model, images, message):
    with pytest.raises(ValueError, match=message):
        model(images)


def test_a_picture_is_no_batch_of_images(model):
    with pytest.raises(TypeError, match=r"got str; for a picture use fcn_jax.Segmenter\(model\)\(picture\)"):
        model("dog.jpg")
