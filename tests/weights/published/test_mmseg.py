"""mmsegmentation's catalogue: its facts agree with each other and with our networks."""

import math
import re

import jax
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.meta import Window
from fcn_jax.weights import get_model_weights
from fcn_jax.zoo import MODELS

NAMES = ("fcn_r50_d8", "fcn_r101_d8", "fcn_r50_d6", "fcn_r101_d6", "fcn_r18_d8")
MEMBERS = [(name, member) for name in NAMES for member in get_model_weights(name)]


def test_all_41_are_there_once():
    assert len(MEMBERS) == len({member.file_name for _, member in MEMBERS}) == 41
    assert len([name for name, _ in MEMBERS if "r18" not in name]) == 37


@pytest.mark.parametrize(
    "name", ["fcn_r50_d8", "fcn_r18_d8", pytest.param("fcn_r101_d6", marks=pytest.mark.slow)]
)
def test_parameters_are_those_of_the_network(name):
    """One network each; the counts of the others follow by the same sums."""
    spec = {"num_classes": 19, "stem": "deep"}
    weights = next(m for m in get_model_weights(name) if spec.items() <= m.meta["spec"].items())
    model = nnx.eval_shape(lambda: fcn_jax.get_model(name, aux_loss=True))
    count = sum(math.prod(p.shape) for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert weights.meta["num_params"] == count


def test_parameters_with_other_stems_and_classes():
    for member in ("B_CITYSCAPES_512X1024_80K", "ADE20K_512X512_80K"):
        weights = fcn_jax.FCN_R50_D8_Weights[member]
        asked = {key: weights.meta["spec"][key] for key in ("num_classes", "stem")}
        model = nnx.eval_shape(lambda asked=asked: fcn_jax.fcn_r50_d8(aux_loss=True, **asked))
        count = sum(math.prod(p.shape) for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
        assert weights.meta["num_params"] == count


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=str)
def test_each_file_is_named_for_its_network(name, member):
    depth, dilation = re.fullmatch(r"fcn_r(\d+)_d(\d)", name).groups()
    spec, file_name = member.meta["spec"], member.file_name
    assert (
        f"r{depth}{'' if spec['stem'] == 'deep' else 'b'}-d{'8' if dilation == '8' else '16'}_" in file_name
    )
    assert file_name.startswith("fcn_d6_") == (dilation == "6")
    assert spec["align_corners"] == ("769x769" in file_name)
    assert member.name.startswith("B_") == (spec["stem"] == "torchvision")
    assert len(member.meta["categories"]) == spec["num_classes"]
    assert member.sha256_prefix == re.search(r"-(\w{8})\.pth$", file_name)[1]
    window = member.meta["window"]
    if window is not None:
        assert Window(**window).crop in ((769, 769), (480, 480))


def test_the_published_spec_is_known_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    asked = {"num_classes": 21, "stem": "torchvision", "align_corners": False}
    for field, value in asked.items():
        with pytest.raises(ValueError, match=rf"{field}={value} was asked for, but FCN_R50_D8_Weights\.CITY"):
            fcn_jax.fcn_r50_d8(weights="CITYSCAPES_769X769_80K", **{field: value})
    with pytest.raises(
        fcn_jax.WeightsDownloadError, match=r"fcn_r50-d8_769x769_80k_cityscapes_.*f5caeabc\.pth"
    ):
        fcn_jax.fcn_r50_d8(weights="CITYSCAPES_769X769_80K", align_corners=True)


def test_every_model_of_the_table_has_its_enum():
    for name in NAMES:
        assert MODELS[name].weights is get_model_weights(name)
