"""Every family as a file: one file, written once, gives the model's logits at all sizes and batches."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.algorithms.choice import choose_for_training
from fcn_jax.onnx_export import OnnxError, export_onnx
from tests.inference.drawn_models import NAMES, drawn_model, relative_error
from tests.inference.tiny import TinyFCN, TinyModel
from tests.onnx_export.runtime import clear, computed, onnx, run, session

BOUND = 1e-5  # seen: 2.8e-6 for fcn_resnet50 at 1x1, 8.4e-7 for the paper's networks


@pytest.fixture(scope="module", params=NAMES)
def written(request, tmp_path_factory):
    """A file of logits of each family; those on ResNets with their auxiliary head."""
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    aux = request.param.startswith("fcn_r")
    export_onnx(drawn_model(request.param, "float32"), path, output="logits", aux=aux)
    yield request.param, path
    path.unlink()


def check(name, run_file):
    """Compares a runtime with the model at all sizes, both images together and the first alone."""
    for images, expected in computed(name):
        for batch in (2, 1):
            found = run_file(images[:batch])
            assert set(found) == {"logits" if head == "out" else f"{head}_logits" for head in expected}
            for head, logits in expected.items():
                result = found["logits" if head == "out" else f"{head}_logits"]
                assert result.dtype == np.float32
                assert relative_error(result, logits[:batch]) < BOUND, (images.shape, head)
                sure = clear(logits[:batch])
                np.testing.assert_array_equal(result.argmax(-1)[sure], logits[:batch].argmax(-1)[sure])


def test_onnx_runtime(written):
    name, path = written
    opened = session(path)
    check(name, lambda images: run(opened, images))


def test_openvino(written):
    openvino = pytest.importorskip("openvino")
    name, path = written
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    names = [output.any_name for output in compiled.outputs]
    check(name, lambda images: {each: compiled(images)[each] for each in names})


def operators(path):
    return {node.name: node for node in onnx.load(path).graph.node}


def attributes(node):
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def test_upsamplings_that_learn(tmp_path):
    """Bilinear kernels leave the channels apart and are written so; others mix them."""
    model = drawn_model("fcn8s_vgg16", "float32")
    fixed = nnx.clone(model)
    channels = np.eye(5, dtype=bool)
    for name in ("upscore2", "upscore8"):
        kernel = getattr(fixed, name).kernel
        kernel.set_value(jnp.where(channels, kernel[...], 0))
    export_onnx(fixed, tmp_path / "m.onnx", output="logits", verify=True)
    nodes = operators(tmp_path / "m.onnx")
    groups = {
        name: attributes(nodes[f"{name}.ConvTranspose"])["group"]
        for name in ("upscore2", "upscore_pool4", "upscore8")
    }
    assert groups == {"upscore2": 5, "upscore_pool4": 1, "upscore8": 5}


@pytest.mark.parametrize(
    ("path", "layer", "message"),
    [
        (
            "classifier.score",
            nnx.Linear(512, 5, rngs=nnx.Rngs(0)),
            r"classifier\.score: .*, got flax.*\.Linear",
        ),
        ("backbone.layer1", nnx.List([TinyModel()]), r"backbone\.layer1\.0: expected one of .*\.TinyModel"),
        ("backbone.layer2.0.bn2", nnx.GroupNorm(128, rngs=nnx.Rngs(0)), r"layer2\.0\.bn2: .*\.GroupNorm"),
        ("backbone.layer3.0.add", jnp.maximum, r"backbone\.layer3\.0\.add: expected add_rectified, got"),
        (
            "classifier.score",
            nnx.Conv(512, 5, (3, 1), rngs=nnx.Rngs(0)),
            r"classifier\.score: .* square convolution .* kernel_size=\(3, 1\)",
        ),
        (
            "classifier.score",
            nnx.Conv(512, 5, (3, 3), padding="CIRCULAR", rngs=nnx.Rngs(0)),
            r"classifier\.score: .* padding='CIRCULAR'",
        ),
    ],
)
def test_a_layer_that_cannot_be_written_is_named(path, layer, message, tmp_path):
    model = nnx.clone(drawn_model("fcn_resnet50", "float32"))
    *parents, name = path.split(".")
    module = model
    for parent in parents:
        module = module[int(parent)] if parent.isdecimal() else getattr(module, parent)
    setattr(module, name, layer)
    with pytest.raises(OnnxError, match=message):
        export_onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", [TinyFCN(), TinyModel()])
def test_a_model_that_is_none_of_ours(model, tmp_path):
    with pytest.raises(
        OnnxError, match=r"model: expected a model of fcn_jax, one of FCN, .* got tests\..*Tiny"
    ):
        export_onnx(model, tmp_path / "m.onnx")


def test_convolutions_of_flaxs_own_making(tmp_path):
    """Surgery that stays a convolution is written: padded "SAME", settings as numbers."""
    model = nnx.clone(drawn_model("fcn_resnet50", "float32"))
    head = model.classifier
    for name, make in (
        ("conv", lambda: nnx.Conv(2048, 512, (3, 3), use_bias=False, rngs=nnx.Rngs(0))),
        ("score", lambda: nnx.Conv(512, 5, (1, 1), padding=0, strides=None, rngs=nnx.Rngs(0))),
    ):
        drawn, made = getattr(head, name), nnx.eval_shape(make)
        made.kernel, made.bias = drawn.kernel, drawn.bias
        setattr(head, name, made)
    export_onnx(model, tmp_path / "m.onnx", output="logits")
    images, expected = computed("fcn_resnet50")[1]
    assert relative_error(run(tmp_path / "m.onnx", images)["logits"], expected["out"]) < BOUND
    (tmp_path / "m.onnx").unlink()


def test_a_model_with_the_algorithms_of_training(tmp_path):
    model = nnx.clone(drawn_model("fcn_resnet50", "float32"))
    choose_for_training(model, "cpu")
    export_onnx(model, tmp_path / "m.onnx", output="logits")
    images, expected = computed("fcn_resnet50")[1]
    assert relative_error(run(tmp_path / "m.onnx", images)["logits"], expected["out"]) < BOUND
    (tmp_path / "m.onnx").unlink()
