"""Pictures of all sizes in one program: each gets what it gets alone, and few programs are compiled."""

import gc
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from fcn_jax import Segmenter
from fcn_jax.inference.engine import MOST_PROGRAMS
from fcn_jax.inference.prepare import prepare
from fcn_jax.models.arrays import Structure
from fcn_jax.transforms import SemanticSegmentation
from tests.inference.drawn_models import drawn_model, relative_error
from tests.inference.tiny import TinyFCN, picture

BUFFER = 88, 104
SIZES = [(87, 104), (45, 97), (1, 1), (88, 1), (1, 103)]
NAMES = [  # every kind of layer and of skip
    "fcn_resnet50",
    "fcn_r50_d6",
    "fcn_r18_d8",
    "fcn32s_alexnet",
    pytest.param("fcn8s_vgg16", marks=pytest.mark.slow),
]


def largest_error(name: str, dtype: str) -> float:
    """Compares a batch in a buffer of NaN with each image alone: coarse logits of all heads."""
    model = prepare(drawn_model(name, dtype), aux=True)
    structure = Structure(model)
    arrays, rest = structure.split(model)
    compute = jax.jit(lambda arrays, *images: structure.merge(arrays).coarse_logits(*images))
    random = np.random.default_rng(0)
    batch = np.full((len(SIZES), *BUFFER, 3), np.nan, dtype)
    for image, (height, width) in zip(batch, SIZES, strict=True):
        image[:height, :width] = random.standard_normal((height, width, 3))
    found = compute(arrays | rest, batch, np.array(SIZES, np.int32))
    errors, largest = [], 0.0
    for place, (height, width) in enumerate(SIZES):
        alone = compute(arrays | rest, batch[place : place + 1, :height, :width])
        assert set(alone) == set(found)
        for head in alone:
            (expected,), (values, *extent) = map(jax.tree.leaves, (alone[head], found[head]))
            _, rows, columns, _ = expected.shape
            errors.append(np.abs(values[place : place + 1, :rows, :columns] - expected).max())
            largest = max(largest, np.abs(expected).max())
            assert not extent or extent[0][place].tolist() == [rows, columns]
    return max(errors) / largest


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("float64")
def test_a_buffer_holds_what_each_image_gives_alone(name):
    assert largest_error(name, "float64") < 1e-12  # seen: 4e-15 (ResNet), 1e-15 (the paper's networks)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn8s_vgg16"])
def test_a_buffer_holds_what_each_image_gives_alone_in_float32(name):
    assert largest_error(name, "float32") < 1e-5  # seen: 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcn_resnet50", "fcn8s_vgg16"])
def test_pictures_of_a_batch_get_their_own_results(name):
    """Landscape and portrait, through the whole Segmenter, against the model on each picture."""
    model, transforms = drawn_model(name, "float32"), SemanticSegmentation(resize_size=64)
    pictures = [picture(*size, seed) for seed, size in enumerate([(80, 70), (66, 80)])]
    plain = nnx.merge(*nnx.split(model))
    plain.eval()
    segmenter = Segmenter(model, transforms, batch_size=3)
    for image, result in zip(pictures, segmenter(pictures), strict=True):
        expected = np.asarray(nnx.jit(plain)(transforms(image)[None])["out"])[0]
        assert relative_error(result.logits, expected) < 1e-5  # seen: 3e-6
    portrait = segmenter(pictures[1]).views[0]
    assert portrait.transposed
    assert segmenter.compilations <= 3


def small_pictures(count: int):
    """Draws pictures of different sizes."""
    random = np.random.default_rng(0)
    sizes = np.unique(random.integers(20, 120, (4 * count, 2)), axis=0)
    random.shuffle(sizes)
    return [picture(width, height, seed) for seed, (height, width) in enumerate(sizes[:count].tolist())]


@pytest.mark.parametrize("settings", [{}, {"batch_size": 4}, {"scales": (0.5, 1.0), "flip": True}])
def test_few_programs_are_compiled_for_40_sizes(settings):
    model, pictures, compiled = TinyFCN(), small_pictures(40), []

    def listener(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    segmenter = Segmenter(model, **settings)
    alone = [Segmenter(model, **settings | {"batch_size": None})(image) for image in pictures[:3]]
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        results = list(segmenter.stream(pictures))
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert segmenter.compilations <= 8
    assert len(compiled) <= 16  # with what finishes; seen: 6, 6, 8
    for result, expected in zip(results, alone, strict=False):
        np.testing.assert_allclose(result.confidence, expected.confidence, atol=1e-5)
    assert [result.labels.shape for result in results] == [image.size[::-1] for image in pictures]


def test_memory_does_not_grow_with_the_number_of_sizes():
    def resident() -> float:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 2**20

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    segmenter, pictures = Segmenter(TinyFCN()), small_pictures(200)
    list(map(segmenter, pictures[:20]))
    before = resident()
    list(map(segmenter, pictures[20:]))
    assert resident() - before < 30  # MiB; seen: 8
    assert segmenter.compilations <= MOST_PROGRAMS


def test_programs_that_are_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("fcn_jax.inference.engine.MOST_PROGRAMS", 2)
    monkeypatch.setattr("fcn_jax.inference.buffers.PRICE", {"cpu": -1})  # every size gets its own
    segmenter = Segmenter(TinyFCN())
    for size in (40, 48, 56, 40, 56):
        segmenter(picture(size, size))
    assert segmenter.compilations == 4  # 40, 48, 56; 40 was dropped; 56 is still there
