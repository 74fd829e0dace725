"""The maps of black pictures: computed once for each remainder, forgotten when the weights change."""

import numpy as np
import pytest

from fcn_jax import Segmenter
from fcn_jax.algorithms.black import BLACK
from fcn_jax.algorithms.choice import REGIONS
from fcn_jax.inference import frames as module
from fcn_jax.inference.frames import Frames, structure_of
from fcn_jax.inference.prepare import prepare
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import TinyFCN, picture

SIZES = np.array([(20, 33), (36, 33), (20, 41)], np.int32)


@pytest.fixture(scope="module", params=["fcn32s_vgg16", "fcn32s_alexnet"])
def model(request):
    return drawn_model(request.param, "float32")


@pytest.fixture(scope="module")
def prepared(model):
    prepared = prepare(model)
    structure = structure_of(prepared)
    params, rest = structure.split(prepared)
    return structure, params | rest


def test_sizes_with_the_same_remainders_share_a_map(prepared, monkeypatch):
    structure, arrays = prepared
    frames = Frames(structure)
    maps = frames.added(arrays, SIZES, transposed=False)[BLACK]
    assert maps.shape == (3, *arrays[BLACK].shape[1:])
    assert maps.shape[1:] in ((9, 9, 10), (6, 6, 10))  # VGG16's and AlexNet's
    np.testing.assert_array_equal(maps[0], maps[1])  # 20 and 36 differ by 16
    assert (maps[0] != maps[2]).any()
    monkeypatch.setattr(frames, "_compute", None)  # all are kept
    np.testing.assert_array_equal(frames.added(arrays, SIZES[::-1], transposed=False)[BLACK], maps[::-1])


def test_few_maps_are_kept(prepared, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    structure, arrays = prepared
    frames = Frames(structure)
    first = frames.added(arrays, SIZES, transposed=False)[BLACK]
    for size in (3, 7, 11):
        frames.added(arrays, SIZES + size, transposed=False)
    assert len(frames._kept) == 2
    np.testing.assert_array_equal(frames.added(arrays, SIZES, transposed=False)[BLACK], first)


def test_models_without_a_border_of_this_kind_get_none():
    prepared = prepare(TinyFCN())
    structure = structure_of(prepared)
    params, rest = structure.split(prepared)
    assert Frames(structure).added(params | rest, SIZES, transposed=False) == params | rest


def test_new_weights_have_new_maps(model):
    """A change of the first bias shows in the frame."""
    first = REGIONS[type(model.backbone)].first
    image, bias = picture(33, 20), getattr(model.backbone, first).bias
    before = bias[...]
    segmenter = Segmenter(model)
    old = segmenter(image).logits
    try:
        bias.set_value(before + 1)
        segmenter.update(model)
        fresh = Segmenter(model)(image).logits
    finally:
        bias.set_value(before)
    np.testing.assert_array_equal(segmenter(image).logits, fresh)
    assert np.abs(old - fresh).max() > 1e-3 * np.abs(old).max()
