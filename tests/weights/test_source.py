"""What may be named as weights."""

import pytest

import fcn_jax
from fcn_jax.weights.source import as_file, published

MODEL = ("fcn_resnet50",)
DEFAULT = fcn_jax.FCN_ResNet50_Weights.DEFAULT


@pytest.mark.parametrize(
    "name", ["DEFAULT", "FCN_ResNet50_Weights.DEFAULT", DEFAULT, "COCO_WITH_VOC_LABELS_V1"]
)
def test_published_weights(name):
    assert published(name, MODEL) is DEFAULT
    assert published(name, (None, "no model", *MODEL)) is DEFAULT


def test_all_else_is_for_the_reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for source in ("a.pth", tmp_path / "DEFAULT", {"w": 1}, "FCN_ResNet101_Weights.DEFAULT"):
        assert as_file(source, MODEL) == (source, None)
    (tmp_path / "DEFAULT").touch()
    assert published("DEFAULT", MODEL) is None  # a file of this name comes first


def test_the_next_coarser_networks_weights_fit_too():
    coarser = fcn_jax.get_model_weights("fcn16s_vgg16")
    assert (
        published("DEFAULT", ("fcn8s_vgg16", "fcn16s_vgg16"))
        is fcn_jax.get_model_weights("fcn8s_vgg16").DEFAULT
    )
    assert published(coarser.DEFAULT, ("fcn8s_vgg16", "fcn16s_vgg16")) is coarser.DEFAULT


def test_weights_of_another_model():
    with pytest.raises(TypeError, match=r"weights: expected FCN_ResNet50_Weights, got FCN_ResNet101_Weights"):
        published(fcn_jax.FCN_ResNet101_Weights.DEFAULT, MODEL)


def test_names_reach_the_download(monkeypatch, tmp_path):
    """Offline, so the error says that the name was understood."""
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    monkeypatch.setenv("FCN_JAX_CACHE", str(tmp_path))
    narrow = {"features": (4, 6, 8, 10, 12), "fc_features": 16, "num_classes": 3}
    model = fcn_jax.fcn8s_vgg16(**narrow)
    for attempt in (
        lambda: fcn_jax.load_weights(model, "DEFAULT", head="replace"),
        lambda: fcn_jax.load_weights(model, fcn_jax.get_model_weights("fcn16s_vgg16").DEFAULT),
        lambda: fcn_jax.load_model("FCN8s_VGG16_Weights.DEFAULT"),
        lambda: fcn_jax.load_model("DEFAULT", model_name="fcn8s_vgg16"),
    ):
        with pytest.raises(
            fcn_jax.WeightsDownloadError,
            match=r"offline=True forbids the download|no digest of this file is known",
        ):
            attempt()
