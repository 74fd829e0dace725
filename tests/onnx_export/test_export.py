"""What the file takes, returns and says of itself; the check at export; mistakes."""

import dataclasses
import importlib.util
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fcn_jax
from fcn_jax.models.arrays import named_variables
from fcn_jax.onnx_export import OnnxError, export_onnx, layers, saving
from fcn_jax.onnx_export.graph import Graph
from fcn_jax.transforms import CaffeSegmentation, FitWithin, SemanticSegmentation
from tests.inference.drawn_models import drawn_model, relative_error
from tests.onnx_export.runtime import clear, computed, onnx, run, session

BOUND = 1e-5
MISTAKES = {"ArgMax": "ArgMin", "Softmax": "LogSoftmax"}


@pytest.fixture
def model():
    """A copy that a test may change."""
    return nnx.clone(drawn_model("fcn8s_vgg16", "float32"))


def test_the_file_says_what_it_is(model, tmp_path):
    model.update_meta(categories=("a", "b", "c", "d", "e"), palette=((1, 2, 3),) * 5)
    export_onnx(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 17)]
    (images,), (labels,) = (
        session(tmp_path / "m.onnx").get_inputs(),
        session(tmp_path / "m.onnx").get_outputs(),
    )
    assert (images.name, images.type, images.shape) == (
        "images",
        "tensor(float)",
        ["batch", "height", "width", 3],
    )
    assert (labels.name, labels.type, labels.shape) == (
        "labels",
        "tensor(uint8)",
        ["batch", "height", "width"],
    )
    said = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert fcn_jax.ModelSpec.from_json(said["spec"]) == model.spec
    assert fcn_jax.WeightsMeta.from_metadata(said, 5) == model.meta
    assert (said["input"], said["output"], said["format"]) == ("normalized", "labels", "fcn_jax onnx 1")
    assert proto.producer_name == "fcn_jax"
    assert "backbone.conv1_1.kernel" in {tensor.name for tensor in proto.graph.initializer}


def test_classes_without_names_get_some(model, tmp_path):
    export_onnx(model, tmp_path / "m.onnx")
    said = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(said["categories"]) == [f"class {index}" for index in range(5)]


@pytest.mark.parametrize("output", ["labels", "probabilities"])
def test_what_is_returned(model, output, tmp_path):
    images, expected = computed("fcn8s_vgg16")[1]
    export_onnx(model, tmp_path / "m.onnx", output=output)
    (found,) = run(tmp_path / "m.onnx", images).values()
    logits = expected["out"]
    if output == "labels":
        assert found.dtype == np.uint8
        sure = clear(logits)
        np.testing.assert_array_equal(found[sure], logits.argmax(-1)[sure])
        assert sure.mean() > 0.99
    else:
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        np.testing.assert_allclose(found, shares / shares.sum(-1, keepdims=True), atol=1e-5)


@pytest.fixture(scope="module")
def binary():
    """A model of one logit, with a threshold of its own that splits its pixels."""
    sizes = {"features": (4, 8, 8, 8, 8), "fc_features": 8}
    model = fcn_jax.fcn16s_vgg16(num_classes=1, rngs=nnx.Rngs(0), **sizes)
    random = np.random.default_rng(0)
    for name in ("score_fr", "score_pool4"):
        layer = getattr(model, name)
        layer.kernel.set_value(random.standard_normal(layer.kernel.shape, np.float32))
    images = random.standard_normal((2, 40, 56, 3), np.float32)
    model.eval()
    logits = np.asarray(nnx.jit(lambda model, images: model(images))(model, images)["out"])
    scale = 1 / np.abs(logits).max()
    for layer in (model.score_fr, model.score_pool4):
        layer.kernel.set_value(layer.kernel[...] * scale)
    middle = float(np.median(logits * scale))
    model.update_meta(threshold=1 / (1 + np.exp(-middle)))
    return model, images, logits * scale


@pytest.mark.parametrize("output", ["labels", "probabilities"])
def test_one_logit_is_the_foregrounds(binary, output, tmp_path):
    model, images, logits = binary
    export_onnx(model, tmp_path / "m.onnx", output=output, verify=True)
    (found,) = run(tmp_path / "m.onnx", images).values()
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    if output == "probabilities":
        np.testing.assert_allclose(found, probability, atol=1e-6)
    else:
        assert found.dtype == np.uint8
        assert found.shape == logits.shape[:3]
        sure = np.abs(probability[..., 0] - model.threshold) > 1e-5
        np.testing.assert_array_equal(found[sure], (probability[..., 0] >= model.threshold)[sure])
        assert sure.mean() > 0.99
        assert 0.4 < found.mean() < 0.6
    said = session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(said["threshold"]) == model.threshold


def test_one_logit_without_a_threshold_of_its_own_has_a_half(binary, tmp_path):
    model = nnx.clone(binary[0])
    model.update_meta(threshold=None)
    export_onnx(model, tmp_path / "m.onnx", verify=True)
    found = run(tmp_path / "m.onnx", binary[1])["labels"]
    sure = np.abs(binary[2][..., 0]) > 1e-5
    np.testing.assert_array_equal(found[sure], (binary[2][..., 0] > 0)[sure])
    assert json.loads(session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map["threshold"]) == 0.5


def test_equal_logits_give_the_first_class(model, tmp_path):
    model.score_fr.kernel.set_value(jnp.zeros_like(model.score_fr.kernel[...]))
    for name in ("score_fr", "score_pool4", "score_pool3"):
        layer = getattr(model, name)
        layer.kernel.set_value(jnp.zeros_like(layer.kernel[...]))
        layer.bias.set_value(jnp.zeros(5))
    assert export_onnx(model, tmp_path / "m.onnx", verify=True).error == 0
    assert not run(tmp_path / "m.onnx", computed("fcn8s_vgg16")[1][0])["labels"].any()


@pytest.mark.parametrize(
    "preset", [SemanticSegmentation(), CaffeSegmentation(), FitWithin(long=96, short=64)]
)
def test_uint8_pictures(model, preset, tmp_path):
    """Random colours: a swap of red and blue shows."""
    model.update_meta(transforms=preset)
    export_onnx(model, tmp_path / "uint8.onnx", input="uint8", output="logits")
    export_onnx(model, tmp_path / "float.onnx", output="logits")
    pictures = np.random.RandomState(0).randint(0, 256, (2, 33, 47, 3), np.uint8)
    found = run(tmp_path / "uint8.onnx", pictures)["logits"]
    normalized = np.asarray(preset.normalize(pictures), np.float32)
    assert relative_error(found, run(tmp_path / "float.onnx", normalized)["logits"]) < BOUND
    assert export_onnx(model, tmp_path / "uint8.onnx", input="uint8", verify=True).error < BOUND


def test_the_check_at_export(model, tmp_path):
    before = {name: np.array(value[...]) for name, value in named_variables(model).items()}
    found = export_onnx(model, tmp_path / "m.onnx", output="logits", verify=True)
    assert found.error < BOUND
    assert found.pixels == 33 * 47 + 2 * 64 * 40
    assert found.different == 0
    for name, value in named_variables(model).items():
        np.testing.assert_array_equal(value[...], before[name])
    assert list(tmp_path.iterdir()) == [tmp_path / "m.onnx"]


@pytest.mark.parametrize("output", ["logits", "labels"])
def test_a_file_that_differs_is_refused(model, output, tmp_path, monkeypatch):
    crop = layers.crop
    monkeypatch.setattr(
        layers,
        "crop",
        lambda graph, path, x, grid, size: crop(graph, path, x._replace(grid=grid), grid, size),
    )
    with pytest.raises(OnnxError, match=r"the written graph differs from the model: error .*at most 1e-04"):
        export_onnx(model, tmp_path / "m.onnx", output=output, verify=True)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_differs_from_its_logits_is_refused(model, tmp_path, monkeypatch):
    add = Graph.add
    monkeypatch.setattr(
        Graph, "add", lambda self, op, *rest, **named: add(self, MISTAKES.get(op, op), *rest, **named)
    )
    for output in ("labels", "probabilities"):
        with pytest.raises(OnnxError, match=f"returns other {output} than its logits say"):
            export_onnx(model, tmp_path / "m.onnx", output=output, verify=True)
    assert list(tmp_path.iterdir()) == []


def test_other_dtypes_are_written_as_float32(model, tmp_path):
    model.backbone.conv3_1.dtype = jnp.bfloat16
    kernel = model.backbone.conv3_1.kernel
    kernel.set_value(kernel[...].astype(jnp.bfloat16))
    assert export_onnx(model, tmp_path / "m.onnx", output="logits", verify=True).error < BOUND
    assert model.backbone.conv3_1.dtype == kernel.dtype == jnp.bfloat16  # the caller's model does not change


def test_large_weights_go_to_a_second_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "ONE_FILE", 1000)
    path = tmp_path / "m.onnx"
    assert export_onnx(model, path, output="logits", verify=True).error < BOUND
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "m.onnx.data"]
    assert path.stat().st_size < (tmp_path / "m.onnx.data").stat().st_size
    images, expected = computed("fcn8s_vgg16")[1]
    assert relative_error(run(path, images)["logits"], expected["out"]) < BOUND


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input": "bgr"}, "input: expected one of normalized, uint8, got 'bgr'"),
        ({"output": "masks"}, "output: expected one of logits, probabilities, labels, got 'masks'"),
        ({"aux": True}, r"aux: expected a model with an auxiliary head, got fcn8s_vgg16"),
    ],
)
def test_unfit_settings(model, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_onnx(model, tmp_path / "m.onnx", **settings)
    assert list(tmp_path.iterdir()) == []


def test_uint8_needs_a_preset(model, tmp_path):
    model.update_meta(transforms=None)
    with pytest.raises(
        ValueError, match=r"input: expected 'normalized', .*RGB.* got 'uint8' .* transforms None"
    ):
        export_onnx(model, tmp_path / "m.onnx", input="uint8")


def test_labels_need_few_classes(model, tmp_path):
    model.spec = dataclasses.replace(model.spec, num_classes=257)
    with pytest.raises(ValueError, match="at most 256 classes"):
        export_onnx(model, tmp_path / "m.onnx")


def test_no_model(tmp_path):
    with pytest.raises(TypeError, match=r"expected a model, an nnx\.Module, got str"):
        export_onnx("model.pth", tmp_path / "m.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_packages(model, missing, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ImportError, match=rf"ONNX files needs {missing}; pip install 'fcn_jax\[onnx\]'"):
        export_onnx(model, tmp_path / "m.onnx", verify=True)
