"""The inference form of images of several sizes in one buffer, against the plain model on each alone."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcn_jax.inference import inference_function
from fcn_jax.models.bilinear import MAX_SIDE
from tests.inference.drawn_models import drawn_model, relative_error
from tests.inference.tiny import TinyFCN, TinyModel

BUFFER = 48, 72
SIZES = [BUFFER, (47, 71), (31, 33), (1, 1), (1, 72), (48, 1)]
NAMES = [
    "tiny",
    "fcn_r50_d6",
    "fcn32s_alexnet",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("fcn_resnet50", "fcn_r18_d8", "fcn8s_vgg16")),
]


def model_of(name):
    return TinyFCN() if name == "tiny" else drawn_model(name)


def images_in_buffer(sizes=SIZES, seed=0):
    """Draws images in the upper left corners of a buffer; the rest is NaN."""
    random, buffer = np.random.RandomState(seed), np.full((len(sizes), *BUFFER, 3), np.nan)
    for image, (height, width) in zip(buffer, sizes, strict=True):
        image[:height, :width] = random.standard_normal((height, width, 3))
    return buffer, np.array(sizes, np.int32)


def split(values, size):
    """Returns the part of (H, W, ...) that belongs to an image, and all values of the rest."""
    inside = np.zeros(values.shape[:2], bool)
    inside[: size[0], : size[1]] = True
    return values[: size[0], : size[1]], values[~inside]


@functools.cache
def alone(name):
    """The plain model's logits of each image."""
    forward, (buffer, _) = jax.jit(lambda model, images: model(images)), images_in_buffer()
    model = model_of(name)
    return [
        jax.device_get(forward(model, image[None, :height, :width]))
        for image, (height, width) in zip(buffer, SIZES, strict=True)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("float64")
def test_all_outputs_equal_the_plain_models(name, monkeypatch):
    monkeypatch.setattr("fcn_jax.inference.labels.BAND_VALUES", 72 * 5 * 6 * 7)  # bands of 7 rows, not 48 / 7
    model = model_of(name)
    aux = name.startswith("fcn_r")
    (arrays, logits), (_, probabilities), (_, labels) = (
        inference_function(model, output=output, aux=aux and output == "logits")
        for output in ("logits", "probabilities", "labels")
    )

    @jax.jit
    def everything(*arguments):
        return logits(*arguments), probabilities(*arguments), labels(*arguments)

    found, probabilities, labels = jax.device_get(everything(arrays, *images_in_buffer()))
    assert (set(found), labels.dtype) == ({"out", "aux"} if aux else {"out"}, np.uint8)
    for place, (size, expected) in enumerate(zip(SIZES, alone(name), strict=True)):
        for head, values in found.items():
            inside, outside = split(values[place], size)
            assert relative_error(inside, expected[head][0]) < 1e-12  # seen: 2e-15
            assert (outside == 0).all()
        inside, outside = split(probabilities[place], size)
        np.testing.assert_allclose(inside, jax.nn.softmax(expected["out"][0]), rtol=0, atol=1e-12)
        assert (outside == 0).all()
        inside, outside = split(labels[place], size)
        np.testing.assert_array_equal(inside, expected["out"][0].argmax(-1))
        assert (outside == 0).all()


@pytest.mark.parametrize("output", ["logits", "labels"])
def test_large_images_go_one_at_a_time(output, monkeypatch):
    buffer, sizes = images_in_buffer()
    arrays, function = inference_function(TinyFCN(), output=output)
    images = buffer.astype(np.float32)
    together = jax.jit(function)(arrays, images, sizes)
    monkeypatch.setattr(sys.modules["fcn_jax.inference.prepare"], "LARGE_IMAGE_PIXELS", 48 * 72)
    lowered = jax.jit(lambda *arguments: function(*arguments)).lower(arrays, images, sizes)
    assert "while" in lowered.as_text()
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-5),
        lowered.compile()(arrays, images, sizes),
        together,
    )


@pytest.mark.parametrize("name", ["tiny", "fcn32s_alexnet"])
@pytest.mark.usefixtures("float64")
def test_one_program_serves_all_sizes(name):
    arrays, function = inference_function(model_of(name))
    function = jax.jit(function)
    images = images_in_buffer(SIZES[:2])[0].astype(np.float32)
    for height in range(3, 48, 9):
        function(arrays, images, np.array([(height, 70), (48, height)], np.int32))
    assert function._cache_size() == 1


def test_unfit_sizes():
    arrays, function = inference_function(TinyFCN())
    images = jnp.zeros((2, 8, 8, 3))
    for sizes, got in (
        (np.ones((1, 2), np.int32), r"int32 \(1, 2\)"),
        (np.ones(2, np.int32), r"int32 \(2,\)"),
        (np.ones((2, 2), np.float32), r"float32 \(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=rf"sizes: expected \(2, 2\) integers, the height .*, got {got}"):
            function(arrays, images, sizes)
    images = jax.ShapeDtypeStruct((1, 8, MAX_SIDE + 1, 3), jnp.float32)
    with pytest.raises(
        ValueError, match=r"images: expected a buffer with sides of at most 32000, .* got \(8, 32001\)"
    ):
        jax.eval_shape(function, arrays, images, jax.ShapeDtypeStruct((1, 2), jnp.int32))


def test_foreign_models_take_no_sizes():
    arrays, function = inference_function(TinyModel())
    message = (
        r"sizes: expected none, because tests\..*\.TinyModel .* sees whole images, got sizes of 2 images"
    )
    with pytest.raises(ValueError, match=message):
        function(arrays, jnp.zeros((2, 8, 8, 3)), np.ones((2, 2), np.int32))
