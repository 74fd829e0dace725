"""Generated scenes: the same ones everywhere, every class in sight, labels that fit the picture."""

import pickle
import zlib

import numpy as np
import pytest

from fcn_jax.datasets import DatasetError, Scenes
from fcn_jax.datasets.scenes import COLOURS, SCENE_CATEGORIES, draw_scene


def test_a_scene_depends_on_seed_and_number_alone():
    scenes = Scenes(5, (33, 47), seed=3)
    last = scenes[4]
    assert last.image.shape == (33, 47, 3)
    assert last.labels.shape == (33, 47)
    assert last.image.dtype == last.labels.dtype == np.uint8
    for others in (scenes, Scenes(9, (33, 47), seed=3), pickle.loads(pickle.dumps(scenes))):
        np.testing.assert_array_equal(others[4].image, last.image)
        np.testing.assert_array_equal(others[4].labels, last.labels)
    for other in (scenes[3], Scenes(5, (33, 47), seed=4)[4]):
        assert (other.labels != last.labels).any()


def test_scenes_stay_as_they_are():
    """What this package once drew, give or take a rounded sine."""
    image, labels = Scenes(3, (33, 47), seed=7)[2]
    assert np.bincount(labels.ravel(), minlength=6).tolist() == [1051, 133, 191, 125, 0, 51]
    np.testing.assert_allclose(image.mean((0, 1)), [136.044, 110.712, 97.562], atol=0.05)


def test_scenes_of_the_skips_page_stay_as_they_are():
    """Seed 10,000 of scripts/draw_skips.py, whose figures were measured on these scenes."""
    thin = ["disc"] * 2 + ["square"] * 2 + ["triangle"] * 2 + ["ring"] * 3 + ["bar"] * 4
    settings = {"radius": (10, 30), "half_width": (2, 3.5), "margin": 10}
    image, labels = draw_scene(np.random.default_rng(10_000), (224, 224), things=thin, **settings)
    assert zlib.crc32(labels) == 1880459980
    np.testing.assert_allclose(image.mean((0, 1)), [130.88, 132.668, 112.52], atol=0.05)


def test_every_class_is_in_sight_and_little_of_it_is_hidden():
    scenes = Scenes(50)
    shares = np.mean([np.bincount(labels.ravel(), minlength=6) for _, labels in scenes], axis=0) / 128**2
    assert 0.4 < shares[0] < 0.7  # seen: 0.51, and 0.06 for the triangles
    assert shares[1:].min() > 0.04


def test_the_palette_shows_the_things_in_their_colours():
    """The mean of what is labelled as a thing lies nearest to that thing's colour."""
    scenes = Scenes(20)
    images, labels = (np.stack(each) for each in zip(*scenes, strict=True))
    colours = np.array([COLOURS[name] for name in scenes.categories])
    for label in range(6):
        mean = images[labels == label].mean(0)
        assert abs(colours - mean).sum(1).argmin() == label
    np.testing.assert_array_equal(scenes.palette[1:6], colours[1:])
    assert scenes.palette.shape == (256, 3)
    assert scenes.palette.dtype == np.uint8


def inside(name, turn=0.0):
    """Draws one thing of radius 20 near the middle; gives its share of the picture and its extent."""

    class Fixed(np.random.RandomState):
        def uniform(self, low, high):
            return {2 * np.pi: turn, 0.4: 0.1}.get(high, (low + high) / 2)

    scene = draw_scene(Fixed(0), (99, 121), things=[name], radius=(20, 20), half_width=(4, 4), margin=10)
    rows, columns = np.nonzero(scene.labels == SCENE_CATEGORIES.index(name))
    return len(rows), (np.ptp(rows) + 1, np.ptp(columns) + 1), (rows.mean(), columns.mean())


@pytest.mark.parametrize(
    ("name", "area", "extent"),
    [
        ("disc", np.pi * 20**2, (40, 40)),
        ("square", 36**2, (36, 36)),
        ("triangle", 3**0.5 / 4 * (36 / 0.866) ** 2, (36, 41)),
        ("ring", np.pi * (24**2 - 16**2), (48, 48)),
        ("bar", 8 * 80, (8, 80)),
    ],
)
def test_things_have_their_form_and_size(name, area, extent):
    found, size, middle = inside(name)
    assert abs(found / area - 1) < 0.05
    np.testing.assert_allclose(size, extent, atol=1.5)
    if name != "triangle":
        np.testing.assert_allclose(middle, (49.5, 60.5), atol=0.51)
    if name == "bar":
        np.testing.assert_allclose(inside(name, np.pi / 2)[1], extent[::-1], atol=1.5)


@pytest.mark.parametrize("settings", [{"count": 0}, {"size": (0, 5)}, {"seed": -1}, {"seed": 2**32}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(
        DatasetError, match=r"expected at least one scene of at least 1 x 1 and a seed from 0 to"
    ):
        Scenes(**{"count": 3, **settings})


def test_numbers_and_names():
    scenes = Scenes(2, (1, 1))
    assert scenes[1].image.shape == (1, 1, 3)
    assert [scenes.name(0), scenes.name(1), len(scenes)] == ["scene_0", "scene_1", 2]
    for call in (scenes.__getitem__, scenes.name):
        with pytest.raises(IndexError, match="a picture's index from 0 to 1, got 2"):
            call(2)
