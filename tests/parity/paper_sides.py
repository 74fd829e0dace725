"""The paper's networks as PyTorch modules and as our models, with the same weights.

The PyTorch modules follow the authors' nets, including their crops, and use no code of ours. Their layers
have the names of Caffe's nets, as in the PyTorch port (torchfcn): LAYER.weight and LAYER.bias.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.models.layers import Fixed
from fcn_jax.models.skip_fcn import SkipFCN, create
from tests.parity.torch_reference import torch
from weights_converter import ModelSpec
from weights_converter.spec import LearnUpsampling

NAMES = ("fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16", "fcn8s_atonce_vgg16", "fcn32s_alexnet")
NUM_CLASSES = 5
FC_FEATURES = 16

Conv2d, ConvTranspose2d = torch.nn.Conv2d, torch.nn.ConvTranspose2d


def narrow_features(name: str) -> tuple[int, ...]:
    """Returns five small widths, all different where that is possible."""
    return (6, 8, 10, 12, 14) if name == "fcn32s_alexnet" else (4, 6, 8, 10, 12)


class VGG16Net(torch.nn.Module):
    """The backbone of voc-fcn32s, 16s and 8s; its layers are top-level, as in their nets."""

    def __init__(self, features=(64, 128, 256, 512, 512), fc_features=4096, num_classes=21):
        super().__init__()
        one, two, three, four, five = features
        self.pool = torch.nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.dropout = torch.nn.Dropout(0.5)
        self.conv1_1 = Conv2d(3, one, 3, padding=100)
        self.conv1_2 = Conv2d(one, one, 3, padding=1)
        self.conv2_1 = Conv2d(one, two, 3, padding=1)
        self.conv2_2 = Conv2d(two, two, 3, padding=1)
        self.conv3_1 = Conv2d(two, three, 3, padding=1)
        self.conv3_2 = Conv2d(three, three, 3, padding=1)
        self.conv3_3 = Conv2d(three, three, 3, padding=1)
        self.conv4_1 = Conv2d(three, four, 3, padding=1)
        self.conv4_2 = Conv2d(four, four, 3, padding=1)
        self.conv4_3 = Conv2d(four, four, 3, padding=1)
        self.conv5_1 = Conv2d(four, five, 3, padding=1)
        self.conv5_2 = Conv2d(five, five, 3, padding=1)
        self.conv5_3 = Conv2d(five, five, 3, padding=1)
        self.fc6 = Conv2d(five, fc_features, 7)
        self.fc7 = Conv2d(fc_features, fc_features, 1)
        self.score_fr = Conv2d(fc_features, num_classes, 1)

    def backbone(self, x):
        relu = torch.nn.functional.relu
        x = relu(self.conv1_2(relu(self.conv1_1(x))))
        x = relu(self.conv2_2(relu(self.conv2_1(self.pool(x)))))
        x = relu(self.conv3_3(relu(self.conv3_2(relu(self.conv3_1(self.pool(x)))))))
        pool3 = self.pool(x)
        pool4 = self.pool(relu(self.conv4_3(relu(self.conv4_2(relu(self.conv4_1(pool3)))))))
        x = self.pool(relu(self.conv5_3(relu(self.conv5_2(relu(self.conv5_1(pool4)))))))
        x = self.dropout(relu(self.fc6(x)))
        x = self.dropout(relu(self.fc7(x)))
        return pool3, pool4, self.score_fr(x)


def cropped(x, offset: int, like):
    return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]


class FCN32s(VGG16Net):
    def __init__(self, features=(64, 128, 256, 512, 512), fc_features=4096, num_classes=21):
        super().__init__(features, fc_features, num_classes)
        self.upscore = ConvTranspose2d(num_classes, num_classes, 64, stride=32, bias=False)

    def forward(self, x):
        _, _, score = self.backbone(x)
        return cropped(self.upscore(score), 19, x)


class FCN16s(VGG16Net):
    def __init__(self, features=(64, 128, 256, 512, 512), fc_features=4096, num_classes=21):
        super().__init__(features, fc_features, num_classes)
        self.score_pool4 = Conv2d(features[3], num_classes, 1)
        self.upscore2 = ConvTranspose2d(num_classes, num_classes, 4, stride=2, bias=False)
        self.upscore16 = ConvTranspose2d(num_classes, num_classes, 32, stride=16, bias=False)

    def forward(self, x):
        _, pool4, score = self.backbone(x)
        upscore2 = self.upscore2(score)
        fuse_pool4 = upscore2 + cropped(self.score_pool4(pool4), 5, upscore2)
        return cropped(self.upscore16(fuse_pool4), 27, x)


class FCN8s(VGG16Net):
    scale_pool4, scale_pool3 = 1.0, 1.0

    def __init__(self, features=(64, 128, 256, 512, 512), fc_features=4096, num_classes=21):
        super().__init__(features, fc_features, num_classes)
        self.score_pool4 = Conv2d(features[3], num_classes, 1)
        self.score_pool3 = Conv2d(features[2], num_classes, 1)
        self.upscore2 = ConvTranspose2d(num_classes, num_classes, 4, stride=2, bias=False)
        self.upscore_pool4 = ConvTranspose2d(num_classes, num_classes, 4, stride=2, bias=False)
        self.upscore8 = ConvTranspose2d(num_classes, num_classes, 16, stride=8, bias=False)

    def forward(self, x):
        pool3, pool4, score = self.backbone(x)
        upscore2 = self.upscore2(score)
        fuse_pool4 = upscore2 + cropped(self.score_pool4(pool4 * self.scale_pool4), 5, upscore2)
        upscore_pool4 = self.upscore_pool4(fuse_pool4)
        fuse_pool3 = upscore_pool4 + cropped(self.score_pool3(pool3 * self.scale_pool3), 9, upscore_pool4)
        return cropped(self.upscore8(fuse_pool3), 31, x)


class FCN8sAtOnce(FCN8s):
    scale_pool4, scale_pool3 = 0.01, 0.0001


class FCNAlexNet(torch.nn.Module):
    """voc-fcn-alexnet."""

    def __init__(self, features=(96, 256, 384, 384, 256), fc_features=4096, num_classes=21):
        super().__init__()
        one, two, three, four, five = features
        self.pool = torch.nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = torch.nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.dropout = torch.nn.Dropout(0.5)
        self.conv1 = Conv2d(3, one, 11, stride=4, padding=100)
        self.conv2 = Conv2d(one, two, 5, padding=2, groups=2)
        self.conv3 = Conv2d(two, three, 3, padding=1)
        self.conv4 = Conv2d(three, four, 3, padding=1, groups=2)
        self.conv5 = Conv2d(four, five, 3, padding=1, groups=2)
        self.fc6 = Conv2d(five, fc_features, 6)
        self.fc7 = Conv2d(fc_features, fc_features, 1)
        self.score_fr = Conv2d(fc_features, num_classes, 1)
        self.upscore = ConvTranspose2d(num_classes, num_classes, 63, stride=32, bias=False)

    def forward(self, images):
        relu = torch.nn.functional.relu
        x = self.norm(self.pool(relu(self.conv1(images))))
        x = self.norm(self.pool(relu(self.conv2(x))))
        x = relu(self.conv4(relu(self.conv3(x))))
        x = self.pool(relu(self.conv5(x)))
        x = self.dropout(relu(self.fc6(x)))
        x = self.dropout(relu(self.fc7(x)))
        return cropped(self.upscore(self.score_fr(x)), 18, images)


MODULES = {
    "fcn32s_vgg16": FCN32s,
    "fcn16s_vgg16": FCN16s,
    "fcn8s_vgg16": FCN8s,
    "fcn8s_atonce_vgg16": FCN8sAtOnce,
    "fcn32s_alexnet": FCNAlexNet,
}


@functools.cache
def seeded_paper_state_dict(name: str) -> dict[str, np.ndarray]:
    """Draws a narrow net's state_dict in float64; the transposed convolutions are dense, not bilinear."""
    with torch.device("meta"):
        module = MODULES[name](narrow_features(name), FC_FEATURES, NUM_CLASSES)
    return draw(module, np.float64)


def draw(module: torch.nn.Module, dtype) -> dict[str, np.ndarray]:
    """Draws arrays of the shapes of a module, scaled so that activations and logits stay near 1.

    The at-once net scales its skips down, so their score layers get larger weights.
    """
    random = np.random.RandomState(2015)
    arrays = {}
    for key, tensor in module.state_dict().items():
        shape = tuple(tensor.shape)
        array = random.standard_normal(shape).astype(dtype)
        if key.endswith(".bias"):
            array *= dtype(0.3)
        elif key.startswith("upscore"):
            array *= dtype(np.sqrt(1 / (4 * shape[0])))  # about four taps add up in an output pixel
        else:
            array *= dtype(np.sqrt(2 / np.prod(shape[1:])))
        if key in ("score_pool4.weight", "score_pool3.weight"):
            array /= dtype(getattr(module, key.replace("score", "scale").removesuffix(".weight"), 1.0))
        array.flags.writeable = False
        arrays[key] = array
    return arrays


def torch_paper(name: str, dtype=torch.float64) -> torch.nn.Module:
    """Builds PyTorch's narrow net with the seeded weights, in evaluation mode."""
    with torch.device("meta"):
        module = MODULES[name](narrow_features(name), FC_FEATURES, NUM_CLASSES)
    return filled_torch(module, seeded_paper_state_dict(name)).to(dtype)


def filled_torch(module: torch.nn.Module, arrays: dict[str, np.ndarray]) -> torch.nn.Module:
    """Copies the arrays into a module and sets evaluation mode."""
    tensors = {key: torch.tensor(array) for key, array in arrays.items()}
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.eval()


def jax_paper(name: str, dtype=jnp.float64, learn_upsampling: LearnUpsampling = "none") -> SkipFCN:
    """Builds our model with the same weights, in evaluation mode."""
    spec = ModelSpec(
        name=name,
        num_classes=NUM_CLASSES,
        features=narrow_features(name),
        fc_features=FC_FEATURES,
        learn_upsampling=learn_upsampling,
    )
    return filled_jax(spec, seeded_paper_state_dict(name), param_dtype=dtype)


def filled_jax(spec: ModelSpec, arrays: dict[str, np.ndarray], param_dtype=jnp.float32) -> SkipFCN:
    """Builds a model from the arrays, in evaluation mode; every array is used once."""

    def build() -> SkipFCN:
        return create(spec, rngs=nnx.Rngs(0), param_dtype=param_dtype)

    model = nnx.eval_shape(build)
    params = to_our_params(arrays)
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | Fixed):
            array = params.pop(".".join(map(str, path)))
            assert array.shape == variable.shape, path
            variable.set_value(jnp.array(array, variable.dtype))
    assert not params, params.keys()
    nnx.update(model, jax.jit(lambda: nnx.state(build(), nnx.RngState))())
    model.eval()
    return model


def to_our_params(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts layers to our names and layouts: {"backbone.conv1_1.kernel": (kh, kw, in, out), ...}."""
    params = {}
    for key, array in arrays.items():
        layer, leaf = key.split(".")
        place = layer if layer.startswith(("score", "upscore")) else f"backbone.{layer}"
        if leaf == "weight":
            params[f"{place}.kernel"] = array.transpose(2, 3, 1, 0)
        else:
            params[f"{place}.bias"] = array
    return params
