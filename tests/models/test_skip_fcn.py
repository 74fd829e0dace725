"""The paper's networks: published counts, sizes and crops; which layers learn; initial values."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fcn_jax.models import grid
from fcn_jax.models.deconvolution import bilinear_kernel
from fcn_jax.models.layers import Fixed
from fcn_jax.models.skip_fcn import VARIANTS, SkipFCN, create
from tests.models.drawn import drawn
from tests.seeded import seeded_images
from weights_converter import ModelSpec

NAMES = list(VARIANTS)


def narrow(name: str, dtype=None, param_dtype=jnp.float32, **facts) -> SkipFCN:
    features = (2, 4, 6, 8, 10) if name == "fcn32s_alexnet" else (2, 3, 4, 5, 6)
    facts = {"features": features, "fc_features": 7, "num_classes": 5} | facts
    return create(ModelSpec(name=name, **facts), rngs=nnx.Rngs(0), dtype=dtype, param_dtype=param_dtype)


@functools.cache
def abstract(name: str) -> SkipFCN:
    model = nnx.eval_shape(lambda: narrow(name))
    model.eval()
    return model


@functools.cache
def random(name: str) -> SkipFCN:
    return drawn(lambda: narrow(name))


def new(name: str, **settings) -> SkipFCN:
    """Makes a network with its initial values, except in the backbone."""
    return drawn(lambda: narrow(name, **settings), as_created=("score", "upscore"))


def forward(model, images):
    return jax.jit(lambda model, images: model(images))(model, images)


def logits_shape(model, height: int, width: int) -> tuple[int, ...]:
    images = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
    return nnx.eval_shape(lambda model, images: model(images), model, images)["out"].shape


def paths(model, kind) -> dict[str, nnx.Variable]:
    return {".".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, kind)}


@pytest.mark.parametrize(
    ("name", "learned", "fixed"),
    [
        ("fcn32s_vgg16", 134_346_581, 1_806_336),
        ("fcn16s_vgg16", 134_357_354, 458_640),
        ("fcn8s_vgg16", 134_362_751, 127_008),
        ("fcn8s_atonce_vgg16", 134_362_751, 127_008),
        ("fcn32s_alexnet", 56_954_261, 1_750_329),
    ],
)
def test_parameter_counts_are_the_published_ones(name, learned, fixed):
    model = nnx.eval_shape(lambda: create(ModelSpec(name=name, num_classes=21), rngs=nnx.Rngs(0)))
    for kind, count in ((nnx.Param, learned), (Fixed, fixed)):
        assert sum(math.prod(variable.shape) for variable in paths(model, kind).values()) == count


@pytest.fixture
def crops(monkeypatch) -> list[tuple[int, tuple[int, int]]]:
    """Records (offset, size of the map that is cropped) of every crop."""
    seen = []
    cut = grid.crop

    def crop(x, offset, size):
        seen.append((offset, x.shape[1:3]))
        return cut(x, offset, size)

    monkeypatch.setattr(grid, "crop", crop)
    return seen


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("fcn32s_vgg16", [(19, {500: 544, 375: 416, 224: 288, 1: 64})]),
        (
            "fcn16s_vgg16",
            [
                (5, {500: 44, 375: 36, 224: 27, 1: 13}),
                (27, {500: 560, 375: 432, 224: 304, 1: 80}),
            ],
        ),
        (
            "fcn8s_vgg16",
            [
                (5, {500: 44, 375: 36, 224: 27, 1: 13}),
                (9, {500: 88, 375: 72, 224: 53, 1: 25}),
                (31, {500: 568, 375: 440, 224: 312, 1: 88}),
            ],
        ),
        ("fcn32s_alexnet", [(18, {500: 543, 375: 415, 224: 287, 1: 63})]),
    ],
)
def test_crops_and_the_sizes_they_cut_are_the_published_ones(crops, name, published):
    for height, width in [(375, 500), (500, 224), (1, 1), (224, 1)]:
        crops.clear()
        assert logits_shape(abstract(name), height, width) == (2, height, width, 5)
        assert crops == [(offset, (sizes[height], sizes[width])) for offset, sizes in published]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left_over"),
    [
        ("fcn32s_vgg16", [(19, 50)]),
        ("fcn16s_vgg16", [(4, 5), (27, 58)]),
        ("fcn8s_vgg16", [(4, 5), (6, 9), (31, 62)]),
        ("fcn32s_alexnet", [(15, 46)]),
    ],
)
def test_crops_stay_inside_for_every_size_from_1_to_96(monkeypatch, name, left_over):
    """The part outside the crops repeats every 32 pixels, the coarsest stride."""
    left = []
    cut = grid.crop

    def crop(x, offset, size):
        left.append([n - offset - part for n, part in zip(x.shape[1:3], size, strict=True)])
        return cut(x, offset, size)

    monkeypatch.setattr(grid, "crop", crop)
    for height in range(1, 49):
        assert logits_shape(abstract(name), height, 48 + height)[1:3] == (height, 48 + height)
    for number, (least, most) in enumerate(left_over):
        rows = [row for pair in left[number :: len(left_over)] for row in pair]
        assert len(rows) == 96
        assert (min(rows), max(rows)) == (least, most)


VGG_LAYERS = [
    f"backbone.{layer}"
    for layer in (
        *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
        *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7"),
    )
]
ALEXNET_LAYERS = [
    f"backbone.{layer}" for layer in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
]
EIGHT = (["score_fr", "score_pool4", "score_pool3"], ["upscore2", "upscore_pool4"], "upscore8")


@pytest.mark.parametrize(
    ("name", "backbone", "score_layers", "intermediate", "last"),
    [
        ("fcn32s_vgg16", VGG_LAYERS, ["score_fr"], [], "upscore"),
        ("fcn16s_vgg16", VGG_LAYERS, ["score_fr", "score_pool4"], ["upscore2"], "upscore16"),
        ("fcn8s_vgg16", VGG_LAYERS, *EIGHT),
        ("fcn8s_atonce_vgg16", VGG_LAYERS, *EIGHT),
        ("fcn32s_alexnet", ALEXNET_LAYERS, ["score_fr"], [], "upscore"),
    ],
)
def test_names_are_the_papers_and_learn_upsampling_says_what_learns(
    name, backbone, score_layers, intermediate, last
):
    learned = {f"{layer}.{leaf}" for layer in backbone + score_layers for leaf in ("kernel", "bias")}
    upsamplings = {f"{layer}.kernel" for layer in intermediate}
    released = abstract(name)
    assert set(paths(released, nnx.Param)) == learned
    assert set(paths(released, Fixed)) == upsamplings | {f"{last}.kernel"}
    cvpr = nnx.eval_shape(lambda: narrow(name, learn_upsampling="intermediate"))
    assert set(paths(cvpr, nnx.Param)) == learned | upsamplings
    assert set(paths(cvpr, Fixed)) == {f"{last}.kernel"}


@pytest.mark.slow
def test_fixed_upsamplings_have_no_gradient_and_the_rest_has():
    model = random("fcn8s_vgg16")
    gradient = nnx.jit(nnx.grad(lambda model: jnp.square(model(jnp.ones((1, 2, 3, 3)))["out"]).sum()))(model)
    found = {".".join(map(str, path)): value for path, value in nnx.to_flat_state(gradient)}
    assert set(found) == set(paths(model, nnx.Param))
    assert all(jnp.any(found[f"{layer}.kernel"][...]) for layer in ("score_pool3", "score_pool4", "score_fr"))


def test_a_new_network_has_logits_of_zero_and_upsamples_bilinearly():
    model = new("fcn8s_vgg16")
    assert not jnp.any(forward(model, jnp.asarray(seeded_images(1, 9, 8), jnp.float32))["out"])
    for name, size in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
        kernel = np.asarray(getattr(model, name).kernel[...])
        expected = bilinear_kernel(size)[..., None, None] * np.eye(5)
        np.testing.assert_array_equal(kernel, expected.astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_all_maps_add_up_in_full(name):
    model = new(name)
    layers = [layer for layer in ("score_fr", "score_pool4", "score_pool3") if hasattr(model, layer)]
    for power, layer in enumerate(layers):
        getattr(model, layer).bias.set_value(10.0**power * jnp.arange(1.0, 6.0))
    logits = forward(model, jnp.zeros((1, 100, 140, 3)))["out"]
    total = sum(10.0**power for power in range(len(layers)))
    # Away from the border, where bilinear upsampling fades out, constants are kept.
    np.testing.assert_allclose(
        logits[:, 40:60, 40:100], np.broadcast_to(total * np.arange(1.0, 6.0), (1, 20, 60, 5)), rtol=1e-5
    )


def test_the_at_once_network_is_fcn8s_with_scaled_skips():
    plain, at_once = random("fcn8s_vgg16"), nnx.clone(random("fcn8s_atonce_vgg16"))
    images = jnp.asarray(seeded_images(1, 33, 47), jnp.float32)
    assert float(jnp.abs(forward(plain, images)["out"] - forward(at_once, images)["out"]).max()) > 0.1
    for layer, scale in (("score_pool4", 0.01), ("score_pool3", 0.0001)):
        kernel = getattr(at_once, layer).kernel
        kernel.set_value(kernel[...] / scale)
    expected = forward(plain, images)["out"]
    np.testing.assert_allclose(forward(at_once, images)["out"], expected, atol=1e-5 * jnp.abs(expected).max())


@pytest.mark.parametrize("name", ["fcn8s_vgg16", "fcn32s_alexnet"])
def test_bfloat16_networks_return_float32(name):
    plain = random(name)
    half = drawn(lambda: narrow(name, dtype=jnp.bfloat16))
    images = jnp.asarray(seeded_images(1, 33, 47), jnp.float32)
    maps = nnx.eval_shape(lambda model, images: model(images), half.backbone, images)
    assert {x.values.dtype for x in maps.values()} == {jnp.dtype(jnp.bfloat16)}
    expected, logits = (forward(model, images)["out"] for model in (plain, half))
    assert logits.dtype == jnp.float32
    error = float(jnp.abs(logits - expected).max() / jnp.abs(expected).max())
    assert 1e-5 < error < 5e-2  # seen: 1.7e-2


def test_bfloat16_parameters_leave_fixed_kernels_exact_and_logits_in_float32():
    model = new("fcn8s_vgg16", param_dtype=jnp.bfloat16, learn_upsampling="intermediate")
    assert model.score_fr.kernel.dtype == model.upscore2.kernel.dtype == jnp.bfloat16
    assert model.upscore8.kernel.dtype == jnp.float32
    images = jnp.ones((1, 2, 3, 3), jnp.bfloat16)
    assert forward(model, images)["out"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "num_classes: expected a number of at least 1, got 0"),
        ({"learn_upsampling": "all"}, "learn_upsampling: expected 'none' or 'intermediate', got 'all'"),
        ({"features": (2, 3)}, r"widths of 5 blocks, got \(2, 3\)"),
    ],
)
def test_unfit_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: narrow("fcn8s_vgg16", **settings))


def test_channels_first_images_are_refused():
    with pytest.raises(ValueError, match="that looks channels-first"):
        nnx.eval_shape(lambda model: model(jnp.ones((1, 3, 8, 9))), abstract("fcn32s_vgg16"))
