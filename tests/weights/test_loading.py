"""Weights between files and models: what is loaded, dropped, kept, and refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.models.arrays import named_variables
from fcn_jax.models.fcn import create
from tests.seeded import seeded_paper_state_dict, seeded_state_dict
from weights_converter import CheckpointError, ModelSpec, load_model_file, read_checkpoint, write_torch_zip


def state_dict(num_classes: int = 5, aux: bool = True, name: str = "fcn_resnet50") -> dict[str, np.ndarray]:
    return dict(seeded_state_dict(name, num_classes, aux))


@pytest.fixture
def build():
    """Builds a model filled with ones, quickly: any variable that keeps its value can be told."""

    def build_ones(num_classes: int = 5, aux: bool = True) -> fcn_jax.FCN:
        spec = ModelSpec(name="fcn_resnet50", num_classes=num_classes, aux_loss=aux)
        model = nnx.eval_shape(lambda: create(spec, rngs=nnx.Rngs(0)))
        for variable in named_variables(model).values():
            variable.set_value(jnp.ones(variable.shape, variable.dtype))
        return model

    return build_ones


def values(model) -> dict[str, np.ndarray]:
    return {name: np.asarray(variable[...]) for name, variable in named_variables(model).items()}


def test_every_variable_is_filled_with_its_own_array(build):
    model, tensors = build(), state_dict()
    account = fcn_jax.load_weights(model, tensors)
    assert set(account.loaded) == set(named_variables(model))
    assert account.dropped == account.fresh == {}
    got = values(model)
    for ours, theirs, axes in [
        ("backbone.conv1.kernel", "backbone.conv1.weight", (2, 3, 1, 0)),
        ("backbone.layer3.0.downsample.conv.kernel", "backbone.layer3.0.downsample.0.weight", (2, 3, 1, 0)),
        ("backbone.layer4.2.bn2.scale", "backbone.layer4.2.bn2.weight", (0,)),
        ("backbone.layer4.2.bn2.bias", "backbone.layer4.2.bn2.bias", (0,)),
        ("backbone.layer4.2.bn2.mean", "backbone.layer4.2.bn2.running_mean", (0,)),
        ("backbone.layer4.2.bn2.var", "backbone.layer4.2.bn2.running_var", (0,)),
        ("aux_classifier.score.bias", "aux_classifier.4.bias", (0,)),
    ]:
        np.testing.assert_array_equal(got[ours], tensors[theirs].transpose(axes).astype(np.float32))


@pytest.mark.slow
def test_a_file_keeps_every_number_both_ways(build, tmp_path):
    model = build()
    fcn_jax.load_weights(model, state_dict())
    expected = values(model)
    for file in ("model.safetensors", "model.pth"):
        fcn_jax.save_weights(model, tmp_path / file)
        other = build()
        fcn_jax.load_weights(other, tmp_path / file)
        got = values(other)
        assert got.keys() == expected.keys()
        assert all(np.array_equal(got[name], expected[name]) for name in expected)
    assert set(read_checkpoint(tmp_path / "model.pth")) == set(state_dict())


def test_a_file_of_our_own_says_what_it_is(build, tmp_path):
    path = tmp_path / "model.safetensors"
    fcn_jax.save_weights(build(2), path, categories=["road", "sky"])
    metadata = load_model_file(path).metadata
    assert metadata["format"] == "fcn_jax"
    assert metadata["spec"] == '{"name": "fcn_resnet50", "num_classes": 2, "aux_loss": true}'
    assert metadata["categories"] == '["road", "sky"]'


def test_what_could_not_be_loaded_again_is_not_saved(build, tmp_path):
    with pytest.raises(ValueError, match="categories: expected 5, one for each class, got 1"):
        fcn_jax.save_weights(build(), tmp_path / "model.safetensors", categories=["a"])
    with pytest.raises(TypeError, match=r"expected a model of fcn_jax, got str; the model comes first"):
        fcn_jax.save_weights("model.safetensors", build())
    with pytest.raises(TypeError, match="the model comes first"):
        fcn_jax.load_weights("model.safetensors", build())
    assert not list(tmp_path.iterdir())


def test_the_account_is_short_to_read(build):
    account = fcn_jax.load_weights(build(aux=False), state_dict(), aux="drop")
    assert repr(account) == "Account(272 loaded, 7 dropped, 0 fresh)"


def test_loading_copies_so_that_a_file_may_change_later(build, tmp_path):
    tensors = state_dict()
    memory = np.empty(16 + 5, np.float32)
    start = -memory.ctypes.data // 4 % 16  # JAX shares only what begins at a multiple of 64 bytes
    bias = memory[start : start + 5]
    bias[:] = np.arange(5)
    tensors["classifier.4.bias"] = bias
    model = build()
    fcn_jax.load_weights(model, tensors)
    bias[:] = -1
    np.testing.assert_array_equal(model.classifier.score.bias[...], np.arange(5))


def test_aux_may_be_dropped(build):
    model = build(aux=False)
    with pytest.raises(
        CheckpointError, match=r"without aux_classifier.*with aux_classifier\); pass aux=\"drop\""
    ):
        fcn_jax.load_weights(model, state_dict())
    account = fcn_jax.load_weights(model, state_dict(), aux="drop")
    assert len(account.dropped) == 7
    assert account.dropped["aux_classifier.score.bias"] == 'aux="drop"'
    assert account.fresh == {}


@pytest.mark.slow
def test_aux_may_keep_its_values(build):
    model = build()
    with pytest.raises(CheckpointError, match='pass aux="keep"'):
        fcn_jax.load_weights(model, state_dict(aux=False))
    with pytest.raises(
        CheckpointError, match='aux="drop" is for a model without aux_classifier: pass aux="keep"'
    ):
        fcn_jax.load_weights(model, state_dict(), aux="drop")
    for tensors in (state_dict(aux=False), state_dict()):
        account = fcn_jax.load_weights(model, tensors, aux="keep")
        assert len(account.fresh) == 7
        assert (values(model)["aux_classifier.conv.kernel"] == 1).all()


def test_the_head_may_be_replaced_for_another_class_count(build):
    model = build(num_classes=9)
    with pytest.raises(CheckpointError, match=r"is fcn_resnet50 \(9 classes.*\(5 classes.*head=\"replace\""):
        fcn_jax.load_weights(model, state_dict())
    account = fcn_jax.load_weights(model, state_dict(), head="replace")
    scores = {
        f"{head}.score.{leaf}" for head in ("classifier", "aux_classifier") for leaf in ("kernel", "bias")
    }
    assert set(account.fresh) == set(account.dropped) == scores
    assert (values(model)["classifier.score.kernel"] == 1).all()
    assert not (values(model)["classifier.conv.kernel"] == 1).any()


def test_an_account_that_does_not_close_names_all_and_changes_nothing(build):
    model, tensors = build(), state_dict()
    del tensors["backbone.layer2.3.bn1.running_mean"], tensors["classifier.0.weight"]
    with pytest.raises(CheckpointError, match="no architecture known"):
        fcn_jax.load_weights(model, tensors)
    tensors["classifier.0.weight"] = np.ones((512, 2048, 3, 1), np.float32)
    tensors["surplus"] = np.ones(3, np.float32)
    tensors["backbone.bn1.bias"] = np.ones(64, np.int8)
    with pytest.raises(CheckpointError) as caught:
        fcn_jax.load_weights(model, tensors)
    for part in (
        "missing (1): backbone.layer2.3.bn1.running_mean",
        "unexpected (1): surplus",
        "classifier.0.weight: expected float (512, 2048, 3, 3), got float32 (512, 2048, 3, 1)",
        "backbone.bn1.bias: expected float (64,), got int8 (64,)",
    ):
        assert part in str(caught.value)
    assert all((array == 1).all() for array in values(model).values())


def test_strict_false_says_what_it_let_pass_but_not_other_shapes(build):
    model, tensors = build(), state_dict()
    del tensors["backbone.layer2.3.bn1.running_mean"]
    tensors["surplus"] = np.ones(3, np.float32)
    account = fcn_jax.load_weights(model, tensors, strict=False)
    assert account.fresh == {"backbone.layer2.3.bn1.mean": "strict=False: not in the file"}
    assert account.dropped == {"surplus": "strict=False: no place for it"}
    with pytest.raises(
        CheckpointError, match=r"classifier.score.bias: expected float \(7,\), got float64 \(5,\)"
    ):
        fcn_jax.load_weights(build(7), state_dict(), strict=False)


@pytest.mark.slow
def test_other_architectures_are_refused_with_advice(build):
    with pytest.raises(CheckpointError, match="of fcn_resnet50, got those of fcn_resnet101"):
        fcn_jax.load_weights(build(), state_dict(name="fcn_resnet101"))
    with pytest.raises(CheckpointError, match="a classifier's file fills a backbone"):
        fcn_jax.load_weights(build(), dict(seeded_state_dict("resnet50", None)))
    with pytest.raises(ValueError, match="aux: expected one of 'require', 'drop', 'keep', got 'maybe'"):
        fcn_jax.load_weights(build(), state_dict(), aux="maybe")


@pytest.mark.slow
def test_errors_name_the_file(build, tmp_path):
    path = tmp_path / "other.pth"
    write_torch_zip(path, {"features.0.weight": np.ones((4, 3, 3, 3), np.float32)})
    with pytest.raises(CheckpointError, match=r"other\.pth: .*no architecture known.*features\.0\.weight"):
        fcn_jax.load_weights(build(), path)
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        fcn_jax.load_weights(build(), tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"expected a name that ends in one of .safetensors.*got '.h5'"):
        fcn_jax.save_weights(build(), tmp_path / "model.h5")


def test_an_auxiliary_head_of_other_classes(build):
    """Only classifier[4] was replaced for a data set of 3 classes."""
    tensors = state_dict()
    tensors["classifier.4.weight"] = np.zeros((3, 512, 1, 1), np.float32)
    tensors["classifier.4.bias"] = np.arange(3, dtype=np.float32)
    model = build(3, aux=False)
    with pytest.raises(
        CheckpointError, match=r"auxiliary head has 5 classes, its classifier 3.*; aux=.drop. leaves"
    ):
        fcn_jax.load_weights(model, tensors)
    account = fcn_jax.load_weights(model, tensors, aux="drop")
    np.testing.assert_array_equal(model.classifier.score.bias[...], [0, 1, 2])
    assert len(account.dropped) == 7
    assert fcn_jax.load_model(tensors, aux="drop").spec == model.spec
    with_aux = build(3)
    account = fcn_jax.load_weights(with_aux, tensors, aux="keep")
    assert len(account.fresh) == 7
    assert (values(with_aux)["aux_classifier.conv.kernel"] == 1).all()


SMALL = dict(seeded_paper_state_dict("fcn32s_vgg16"))


def test_a_model_is_found_by_its_key():
    other = {name: array + 1 for name, array in SMALL.items()}
    both = {"model": SMALL, "model_ema": other}
    with pytest.raises(CheckpointError, match=r"it holds 2 networks.*; choose one with key"):
        fcn_jax.load_model(both)
    for build in (fcn_jax.load_model, lambda source, **more: fcn_jax.fcn32s_vgg16(weights=source, **more)):
        model = build(both, key="model_ema")
        np.testing.assert_allclose(model.score_fr.bias[...], other["score_fr.bias"], rtol=1e-6)
    account = fcn_jax.load_weights(model, both, key="model")
    assert account.dropped == {"model_ema": f"{len(SMALL)} tensors"}
    np.testing.assert_allclose(model.score_fr.bias[...], SMALL["score_fr.bias"], rtol=1e-6)


def test_what_strict_false_lets_pass_is_logged(caplog):
    odd = SMALL | {"gate": np.ones(2)}
    del odd["conv1_2.bias"]
    with pytest.raises(
        CheckpointError, match=r"missing \(1\): conv1_2.bias\n.*gate; strict=False leaves out"
    ):
        fcn_jax.load_model(odd)
    for build in (fcn_jax.load_model, lambda source, **more: fcn_jax.fcn32s_vgg16(weights=source, **more)):
        caplog.clear()
        model = build(odd, strict=False)
        assert (model.backbone.conv1_2.bias[...] == 0).all()  # as every bias begins
        assert "not in the file, so with initial values: backbone.conv1_2.bias" in caplog.text
        assert "left out: gate" in caplog.text
