"""Tiles give what the whole gives, and their surroundings are no larger than they must be."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.inference.receptive_field import ReceptiveField, receptive_field
from fcn_jax.inference.rows import compute_scores
from fcn_jax.inference.tiling import cut_axis, pixels_seen, tiled_scores
from tests.inference.drawn_models import NAMES, drawn_model
from tests.seeded import seeded_images

FIELDS = {
    "fcn_resnet50": ReceptiveField(8, -221, 221, 8),
    "fcn32s_vgg16": ReceptiveField(32, -189, 214, 32),  # 404 pixels, as in the paper
    "fcn16s_vgg16": ReceptiveField(16, -237, 214, 32),
    "fcn8s_vgg16": ReceptiveField(8, -261, 214, 32),
    "fcn8s_atonce_vgg16": ReceptiveField(8, -261, 214, 32),
    "fcn32s_alexnet": ReceptiveField(32, -164, 190, 32),
}


@functools.cache
def measured(name):
    return receptive_field(drawn_model(name, "float32"))


@pytest.mark.parametrize("name", NAMES)
def test_receptive_fields(name):
    """Measured against what strides, kernels and paddings come to by hand."""
    assert measured(name) == FIELDS[name]


def test_the_receptive_field_of_a_resnet_by_its_layers():
    """Most layers see every eighth pixel, and 3x3 kernels their dilation to either side."""
    stem = 3 + 2  # 7x7, and a pool of 3x3 on every second pixel
    layer1, layer2 = 3 * 4, 4 + 3 * 8
    layer3, layer4, head = 8 * (1 + 5 * 2), 8 * (2 + 2 * 4), 8
    assert measured("fcn_resnet50").high == stem + layer1 + layer2 + layer3 + layer4 + head


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "size", "tile", "tiles"),
    [
        ("fcn_resnet50", (41, 701), 100, 7),
        ("fcn32s_vgg16", (699, 533), 200, 4),
        ("fcn16s_vgg16", (531, 830), 33, 14),
        ("fcn8s_vgg16", (1001, 733), 190, 30),
        ("fcn8s_atonce_vgg16", (760, 97), 65, 9),
        ("fcn32s_alexnet", (733, 675), 200, 16),
    ],
)
def test_tiles_are_exact(name, size, tile, tiles):
    model, field = drawn_model(name), measured(name)
    image = seeded_images(1, *size)[0]
    compute = functools.partial(jax.jit(compute_scores), model)
    expected = compute(jnp.asarray(image[None]))
    shape = jax.eval_shape(lambda: expected)
    seen = []

    def tiled(field, **settings):
        (result,) = jax.tree.leaves(
            tiled_scores(
                compute, lambda rows, columns: image[rows, columns], size, shape, tile, field, **settings
            )
        )
        (whole,) = jax.tree.leaves(expected)
        return np.abs(result - whole).max() / np.abs(whole).max()

    assert tiled(field, seen=lambda *counts: seen.append(counts)) < 1e-12  # 0, mostly
    assert seen == [(number, tiles) for number in range(1, tiles + 1)]
    assert tiled(field, halo=40) > 1e-6  # an approximation


@pytest.mark.parametrize("length", [1, 7, 431, 512, 1000, 1033])
@pytest.mark.parametrize("tile", [1, 32, 100, 256])
@pytest.mark.parametrize("field", set(FIELDS.values()))
def test_every_score_is_kept_once_and_sees_all_it_depends_on(length, tile, field):
    scores = -(-length // field.stride)
    seen, cuts = cut_axis(length, scores, tile, field)
    assert [score for cut in cuts for score in range(cut.first, cut.first + cut.kept)] == list(range(scores))
    for cut in cuts:
        assert 0 <= cut.start <= length - seen
        assert cut.start % field.alignment == 0
        assert cut.skipped == cut.first - cut.start // field.stride
        for score in (cut.first, cut.first + cut.kept - 1):
            low, high = field.stride * score + field.low, field.stride * score + field.high
            assert cut.start == 0 or cut.start <= low
            assert cut.start + seen == length or high < cut.start + seen
    assert seen <= pixels_seen(tile, field)


@pytest.mark.parametrize("field", set(FIELDS.values()))
def test_a_halo_lies_around_the_middle_of_what_a_score_depends_on(field):
    whole, cuts = cut_axis(4096, 4096 // field.stride, 64, field, halo=16)
    middle = next(cut for cut in cuts if cut.start > 1000)
    centre = field.stride * middle.first + (field.low + field.high + 1) / 2
    before, after = centre - middle.start, middle.start + whole - centre
    assert before >= 16 + field.stride / 2 - 1
    assert after >= 16 + 64 - field.stride / 2 - 1
    assert whole <= 64 + 2 * 16 + 2 * field.alignment


def test_the_size_seen_does_not_grow_with_the_image():
    field = FIELDS["fcn_resnet50"]
    assert [cut_axis(length, length // 8, 1024, field)[0] for length in (10_000, 10_007, 100_000)] == [
        1472,
        1471,
        1472,
    ]
