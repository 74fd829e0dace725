"""Tiles give the result of the whole picture, and their surroundings are no larger than necessary."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.inference.receptive_field import Probe, ReceptiveField
from fcn_jax.inference.tiling import cut_axis, pixels_seen, tiled
from tests.inference.drawn_models import abstract_model, drawn_model
from tests.seeded import seeded_images

FIELDS = {
    "fcn_resnet50": ReceptiveField(8, -221, 221, 8),
    "fcn32s_vgg16": ReceptiveField(32, -189, 214, 32),  # 404 pixels, as in the paper
    "fcn16s_vgg16": ReceptiveField(16, -237, 214, 32),
    "fcn8s_vgg16": ReceptiveField(8, -261, 214, 32),
    "fcn8s_atonce_vgg16": ReceptiveField(8, -261, 214, 32),
    "fcn32s_alexnet": ReceptiveField(32, -164, 190, 32),
    "fcn_r50_d6": ReceptiveField(16, -421, 421, 16),
}


@pytest.mark.parametrize(
    "name",
    [
        "fcn_resnet50",
        pytest.param("fcn32s_vgg16", marks=pytest.mark.slow),
        pytest.param("fcn8s_vgg16", marks=pytest.mark.slow),
        "fcn32s_alexnet",
        "fcn_r50_d6",
    ],
)
def test_receptive_fields(name):
    """Measured, against values computed by hand from strides, kernels and paddings; no weights are needed."""
    assert Probe(abstract_model(name)).field == FIELDS[name]


def test_the_receptive_field_of_a_resnet_by_its_layers():
    """Most layers see every eighth pixel; a 3x3 kernel reaches as far as its dilation on either side."""
    stem = 3 + 2  # 7x7, then a 3x3 pool on every second pixel
    layer1, layer2 = 3 * 4, 4 + 3 * 8
    layer3, layer4, head = 8 * (1 + 5 * 2), 8 * (2 + 2 * 4), 8
    assert FIELDS["fcn_resnet50"].high == stem + layer1 + layer2 + layer3 + layer4 + head
    layer3, layer4, head = 8 + 16 * 5, 16 * (1 + 2 * 2), 16 * (6 + 6 + 1)
    assert FIELDS["fcn_r50_d6"].high == stem + layer1 + layer2 + layer3 + layer4 + head


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "size", "tile", "tiles"),
    [
        ("fcn_resnet50", (41, 385), 40, 10),
        ("fcn8s_vgg16", (641, 67), 65, 8),
        ("fcn_r50_d6", (41, 1400), 160, 9),
        ("fcn32s_alexnet", (701, 97), 100, 6),
    ],
)
def test_tiles_are_exact(name, size, tile, tiles):
    model, image = drawn_model(name), seeded_images(1, *size)[0]
    field = Probe(model).field
    compute = functools.partial(jax.jit(lambda model, images: model.coarse_logits(images)["out"]), model)
    expected = compute(jnp.asarray(image[None]))
    progress = []

    def error(**settings):
        whole = jax.tree.leaves(expected)[0]
        result = np.zeros_like(whole)

        def compute_tile(image):
            return jax.tree.leaves(compute(jnp.asarray(image[None])))[0]

        tiled(
            compute_tile,
            lambda rows, columns: image[rows, columns],
            size,
            result,
            whole.shape[1:3],
            tile,
            field,
            **settings,
        )
        return np.abs(result - whole).max() / np.abs(whole).max()

    assert error(on_progress=lambda *counts: progress.append(counts)) < 1e-12  # 0, mostly
    assert progress == [(number, tiles) for number in range(1, tiles + 1)]
    assert error(halo=40) > 1e-6  # an approximation


@pytest.mark.parametrize("length", [1, 7, 431, 512, 1000, 1033])
@pytest.mark.parametrize("tile", [1, 32, 100, 256])
@pytest.mark.parametrize("field", set(FIELDS.values()))
def test_every_row_is_kept_once_and_sees_all_it_depends_on(length, tile, field):
    coarse = -(-length // field.stride)
    cuts = cut_axis(length, coarse, tile, field)
    assert [row for cut in cuts for row in range(cut.first, cut.first + cut.kept)] == list(range(coarse))
    for cut in cuts:
        assert 0 <= cut.start <= length - cut.seen
        assert cut.start % field.alignment == 0
        assert cut.skipped == cut.first - cut.start // field.stride
        for row in (cut.first, cut.first + cut.kept - 1):
            low, high = field.stride * row + field.low, field.stride * row + field.high
            assert cut.start == 0 or cut.start <= low
            assert cut.start + cut.seen == length or high < cut.start + cut.seen
        assert cut.seen == min(pixels_seen(tile, field), length - cut.start)


@pytest.mark.parametrize("field", set(FIELDS.values()))
def test_a_halo_lies_around_the_middle_of_what_a_row_depends_on(field):
    cuts = cut_axis(4096, 4096 // field.stride, 64, field, halo=16)
    middle = next(cut for cut in cuts if cut.start > 1000)
    whole = middle.seen
    centre = field.stride * middle.first + (field.low + field.high + 1) / 2
    before, after = centre - middle.start, middle.start + whole - centre
    assert before >= 16 + field.stride / 2 - 1
    assert after >= 16 + 64 - field.stride / 2 - 1
    assert whole <= 64 + 2 * 16 + 2 * field.alignment


def test_the_size_seen_does_not_depend_on_the_image():
    field = FIELDS["fcn_resnet50"]
    assert {cut_axis(length, length // 8, 1024, field)[0].seen for length in (3000, 10_007, 100_000)} == {
        1466
    }
