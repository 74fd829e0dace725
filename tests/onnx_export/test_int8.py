"""8-bit files: what is quantized and what is not, what they compute, the pictures, mistakes."""

import numpy as np
import pytest
from flax import nnx

from fcn_jax.onnx_export import export_int8_onnx, export_onnx
from fcn_jax.onnx_export.int8 import CALIBRATING, COMPARING, share_out
from fcn_jax.onnx_export.quantization import Prepared
from fcn_jax.transforms import CaffeSegmentation, FitWithin, SemanticSegmentation
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import picture
from tests.onnx_export.runtime import onnx, run, session

PICTURES = [picture(47 + seed, 33, seed) for seed in range(8)]


@pytest.fixture(scope="module")
def model():
    model = nnx.clone(drawn_model("fcn8s_vgg16", "float32"))
    model.update_meta(transforms=SemanticSegmentation(resize_size=48))
    return model


@pytest.fixture(scope="module")
def quantized(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "m.onnx"
    return path, export_int8_onnx(model, path, PICTURES, output="logits", verify=True)


def test_what_is_quantized(model, quantized, tmp_path):
    path, _ = quantized
    proto = onnx.load(path)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    kernels = {name: weight for name, weight in weights.items() if name.endswith("kernel_quantized")}
    assert len(kernels) == 15  # conv1_1 to fc7
    for name, kernel in kernels.items():
        assert kernel.data_type == onnx.TensorProto.INT8
        assert list(weights[name.replace("_quantized", "_scale")].dims) == [kernel.dims[0]]  # by channel
    floats = {name for name, weight in weights.items() if weight.data_type == onnx.TensorProto.FLOAT}
    assert {"score_fr.kernel", "score_pool3.kernel", "upscore8.kernel"} <= floats
    said = session(path).get_modelmeta().custom_metadata_map
    export_onnx(model, tmp_path / "m.onnx", output="logits")
    assert said == session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map | {"quantized": "int8"}


def test_what_it_computes(model, quantized, tmp_path):
    """One file for all sizes; random weights lose more than trained ones."""
    path, report = quantized
    export_onnx(model, tmp_path / "m.onnx", output="logits")
    for size in (1, 1), (33, 47), (64, 40):
        images = model.transforms.with_resize(None)(picture(*size, seed=9))[None]
        exact, found = run(tmp_path / "m.onnx", images)["logits"], run(path, images)["logits"]
        assert np.abs(found - exact).max() < 0.1 * np.abs(exact).max()
    assert (report.calibrated, report.compared, report.seen) == (6, 2, False)
    assert 0.9 < report.comparison.agreement <= 1
    assert report.comparison.bytes[1] == path.stat().st_size
    assert report.verification.error < 1e-5


@pytest.mark.parametrize(
    "preset",
    [SemanticSegmentation(resize_size=48), FitWithin(long=80, short=40), CaffeSegmentation()],
)
def test_pictures_are_prepared_as_the_preset_does(preset):
    image = picture(47, 33)
    found = Prepared(preset, "uint8")(image)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(preset.normalize(found), preset(image)[None])
    np.testing.assert_array_equal(Prepared(preset, "normalized")(image), preset(image)[None])


def test_uint8_pictures_and_few_of_them(model, quantized, tmp_path):
    report = export_int8_onnx(model, tmp_path / "m.onnx", PICTURES[:3], input="uint8", output="logits")
    assert (report.calibrated, report.compared, report.seen) == (3, 3, True)
    image = Prepared(model.transforms, "uint8")(PICTURES[0])
    found = run(tmp_path / "m.onnx", image)["logits"]
    expected = run(quantized[0], model.transforms(PICTURES[0])[None])["logits"]
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("count", [1, 3, 4, 8, 70, 1000])
def test_pictures_are_shared_out(count):
    calibrating, comparing = share_out(range(count))
    for chosen in calibrating, comparing:
        assert chosen == sorted(set(chosen))
        assert set(chosen) <= set(range(count))
    if count < 4:
        assert calibrating == comparing == list(range(count))
    else:
        assert not set(calibrating) & set(comparing)
        assert len(calibrating) == min(CALIBRATING, count - len(comparing))
        assert len(comparing) == min(COMPARING, count // 4)


def test_unfit_pictures(model, tmp_path):
    with pytest.raises(ValueError, match="pictures: expected pictures to calibrate on, got none"):
        export_int8_onnx(model, tmp_path / "m.onnx", [])
    with pytest.raises(ValueError, match=r"nothing\.png"):
        export_int8_onnx(model, tmp_path / "m.onnx", [tmp_path / "nothing.png"])
    unprepared = nnx.clone(model)
    unprepared.update_meta(transforms=None)
    with pytest.raises(ValueError, match=r"model: expected transforms, .* got a model without; set them by"):
        export_int8_onnx(unprepared, tmp_path / "m.onnx", PICTURES)
    assert list(tmp_path.iterdir()) == []
