"""Files of the PyTorch port, converted to our layouts and back; the layouts against their definitions."""

import numpy as np
import pytest

from tests.parity.torch_reference import torch, torchvision
from tests.weights_converter.caffe_files import caffemodel
from weights_converter import ModelSpec, load_model_file, read_checkpoint, save_model_file
from weights_converter.conversion import to_ours
from weights_converter.spec import PUBLISHED_WIDTHS
from weights_converter.tables import paper
from weights_converter.tables.layer import SOURCE

WIDTHS = {
    "vgg16": {"features": (2, 3, 4, 5, 6), "fc_features": 8},
    "caffenet": {"features": (2, 4, 4, 6, 2), "fc_features": 5},
}
ONCE = pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])


class Port(torch.nn.Module):
    """The layers of the port's `FCN8s.__init__`, with its names and order but narrow widths."""

    def __init__(self, scores: dict[str, int], upscores: dict[str, int], classes: int = 3):
        super().__init__()
        inputs, blocks = 3, ((2, 2), (2, 3), (3, 4), (3, 5), (3, 6))
        for block, (count, width) in enumerate(blocks, 1):
            for index in range(1, count + 1):
                setattr(self, f"conv{block}_{index}", torch.nn.Conv2d(inputs, width, 3))
                inputs = width
        self.fc6 = torch.nn.Conv2d(6, 8, 7)
        self.fc7 = torch.nn.Conv2d(8, 8, 1)
        self.score_fr = torch.nn.Conv2d(8, classes, 1)
        for name, width in scores.items():
            setattr(self, name, torch.nn.Conv2d(width, classes, 1))
        for name, kernel in upscores.items():
            setattr(self, name, torch.nn.ConvTranspose2d(classes, classes, kernel, bias=False))


PORTS = {
    "fcn32s_vgg16": ({}, {"upscore": 64}),
    "fcn16s_vgg16": ({"score_pool4": 5}, {"upscore2": 4, "upscore16": 32}),
    "fcn8s_vgg16": (
        {"score_pool3": 4, "score_pool4": 5},
        {"upscore2": 4, "upscore8": 16, "upscore_pool4": 4},
    ),
}


@ONCE
@pytest.mark.parametrize("name", PORTS)
def test_a_module_of_the_port_converts_both_ways(name, new, tmp_path):
    module = Port(*PORTS[name])
    state_dict = module.state_dict()
    torch.save(state_dict, tmp_path / "in.pth", _use_new_zipfile_serialization=new)
    conversion = load_model_file(tmp_path / "in.pth")
    assert conversion.spec == ModelSpec(name=name, num_classes=3, **WIDTHS["vgg16"])
    save_model_file(tmp_path / "out.pth", conversion.params, conversion.spec)
    back = torch.load(tmp_path / "out.pth", weights_only=True)
    assert list(back) == list(state_dict)
    assert all(torch.equal(back[key], state_dict[key]) for key in state_dict)
    module.load_state_dict(back, strict=True)


@ONCE
def test_a_training_checkpoint_of_the_port(new, tmp_path):
    module = Port(*PORTS["fcn16s_vgg16"])
    checkpoint = {"epoch": 1, "arch": "FCN16s", "model_state_dict": module.state_dict(), "best_mean_iu": 0.5}
    torch.save(checkpoint, tmp_path / "f.pth.tar", _use_new_zipfile_serialization=new)
    assert load_model_file(tmp_path / "f.pth.tar").spec.name == "fcn16s_vgg16"


def test_a_caffe_file_and_the_port_give_the_same_weights(tmp_path):
    tensors = {name: tensor.numpy() for name, tensor in Port(*PORTS["fcn8s_vgg16"]).state_dict().items()}
    path = caffemodel(tmp_path / "f.caffemodel", tensors, "layers", "legacy")
    found = load_model_file(path).params
    expected = to_ours(tensors).params
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, groups: int = 1) -> np.ndarray:
    """Correlates (H, W, C) with a kernel (h, w, C / groups, out) by definition, without padding."""
    height, width, inputs, outputs = kernel.shape
    out = np.zeros((x.shape[0] - height + 1, x.shape[1] - width + 1, outputs))
    for row, column in np.ndindex(out.shape[:2]):
        for channel in range(outputs):
            begin = channel // (outputs // groups) * inputs
            window = x[row : row + height, column : column + width, begin : begin + inputs]
            out[row, column, channel] = (window * kernel[..., channel]).sum() + bias[channel]
    return out


def test_a_matrix_and_its_convolution_compute_the_same():
    """fc6 flattens (C, H, W). If the kernel covers the whole input, matrix and convolution must agree."""
    tensors = {}
    for row in paper.torchvision_layers(ModelSpec(name="vgg16", **WIDTHS["vgg16"])):
        for leaf in row.kind.leaves:
            array = torch.randn(row.leaf_shape(leaf, SOURCE), dtype=torch.float64)
            tensors[row.name(leaf, SOURCE)] = array.numpy()
    params = to_ours(tensors).params
    pooled = torch.randn(1, 6, 7, 7, dtype=torch.float64)
    weight, bias = torch.tensor(tensors["classifier.0.weight"]), torch.tensor(tensors["classifier.0.bias"])
    dense = torch.nn.functional.linear(torch.flatten(pooled, 1), weight, bias)
    found = convolve(pooled[0].permute(1, 2, 0).numpy(), params["fc6.kernel"], params["fc6.bias"])
    np.testing.assert_allclose(found[0, 0], dense[0].numpy(), rtol=1e-12)


def test_groups_are_contiguous_halves():
    tensors = {}
    for row in paper.classifier_layers(ModelSpec(name="caffenet", **WIDTHS["caffenet"])):
        for leaf in row.kind.leaves:
            array = torch.randn(row.leaf_shape(leaf, SOURCE), dtype=torch.float64)
            tensors[row.name(leaf, SOURCE)] = array.numpy()
    params = to_ours(tensors).params
    images = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(
        images, torch.tensor(tensors["conv2.weight"]), torch.tensor(tensors["conv2.bias"]), groups=2
    )
    found = convolve(images[0].permute(1, 2, 0).numpy(), params["conv2.kernel"], params["conv2.bias"], 2)
    np.testing.assert_allclose(found, expected[0].permute(1, 2, 0).numpy(), rtol=1e-12, atol=1e-12)


def test_a_deconvolution_adds_each_input_times_the_kernel():
    """(h, w, out, in), unflipped: input pixel i is added to the output from index stride * i on."""
    module = Port(*PORTS["fcn8s_vgg16"]).double()
    params = to_ours({name: tensor.numpy() for name, tensor in module.state_dict().items()}).params
    scores = torch.randn(1, 3, 3, 2, dtype=torch.float64)
    weight = module.upscore_pool4.weight
    expected = torch.nn.functional.conv_transpose2d(scores, weight, stride=2)[0].detach().numpy()
    kernel, found = params["upscore_pool4.kernel"], np.zeros((8, 6, 3))
    for row, column in np.ndindex(3, 2):
        found[2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += (
            kernel @ scores[0, :, row, column].numpy()
        )
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, -1), rtol=1e-12, atol=1e-12)


def test_torchvision_keys_exist_in_torchvision():
    with torch.device("meta"):
        state_dict = torchvision.models.vgg16(weights=None).state_dict()
    rows = paper.torchvision_layers(ModelSpec(name="vgg16"))
    shapes = {
        row.name(leaf, SOURCE): row.leaf_shape(leaf, SOURCE) for row in rows for leaf in row.kind.leaves
    }
    assert {key: tuple(t.shape) for key, t in state_dict.items() if "classifier.6" not in key} == shapes
    tensors = {key: np.broadcast_to(np.float32(0), tuple(t.shape)) for key, t in state_dict.items()}
    features, fc_features = PUBLISHED_WIDTHS["vgg16"]
    assert to_ours(tensors).spec == ModelSpec(name="vgg16", features=features, fc_features=fc_features)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg13", "vgg19", "vgg16_bn", "squeezenet1_1"])
def test_other_classifiers_of_torchvision_are_refused(name):
    with torch.device("meta"):
        state_dict = torchvision.models.get_model(name, weights=None).state_dict()
    tensors = {key: np.broadcast_to(np.float32(0), tuple(t.shape)) for key, t in state_dict.items()}
    message = {"alexnet": "is torchvision's alexnet", "squeezenet1_1": "no architecture known here"}
    with pytest.raises(ValueError, match=message.get(name, "looks like a VGG of torchvision")):
        to_ours(tensors)


def test_a_stored_file_reads_back_bit_for_bit(tmp_path):
    module = Port(*PORTS["fcn32s_vgg16"])
    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    found = read_checkpoint(caffemodel(tmp_path / "f.caffemodel", tensors))
    assert list(found) == list(tensors)
    assert all(found[name].tobytes() == tensors[name].tobytes() for name in tensors)
