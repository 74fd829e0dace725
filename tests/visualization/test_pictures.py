"""Pictures, by their pixels where those are laid down, by size and legibility elsewhere."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.categories import voc_palette
from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.visualization import figure, heatmap, label_image, overlay


def test_palette_of_pascal_voc():
    colours = voc_palette(256)
    assert colours.dtype == np.uint8
    voc = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    np.testing.assert_array_equal(colours[:7], voc)
    np.testing.assert_array_equal(colours[15], (192, 128, 128))
    np.testing.assert_array_equal(colours[20], (0, 64, 128))
    np.testing.assert_array_equal(colours[255], (224, 224, 192))
    assert len(np.unique(colours, axis=0)) == 256
    np.testing.assert_array_equal(voc_palette(3), colours[:3])


@pytest.mark.parametrize("num_classes", [0, 257])
def test_palette_size(num_classes):
    with pytest.raises(SettingError, match=f"num_classes: expected 1 to 256, got {num_classes}"):
        voc_palette(num_classes)


def test_label_image_keeps_every_index_through_png(tmp_path):
    for labels in (np.arange(256, dtype=np.uint8).reshape(8, 32), np.array([[0, 1, 2]], np.uint8)):
        label_image(labels).save(tmp_path / "a.png")
        image = Image.open(tmp_path / "a.png")
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette(256)[labels])


@pytest.mark.parametrize("labels", [np.zeros((3, 3), int), np.zeros((1, 3, 3), np.uint8)])
def test_label_image_refuses(labels):
    with pytest.raises(ArrayError, match=r"expected uint8 labels \(H, W\), got (int64|uint8)"):
        label_image(labels)


def test_a_model_draws_in_its_own_colours():
    colours = np.random.default_rng(3).integers(0, 256, (256, 3), dtype=np.uint8)
    image, labels = scene(400, 600)
    drawn = np.asarray(label_image(labels, colours=colours).convert("RGB"))
    np.testing.assert_array_equal(drawn, colours[labels])
    named = overlay(image, labels, ["class"] * 21, alpha=1, colours=colours)
    np.testing.assert_array_equal(np.asarray(named)[150, 250], colours[12])
    legend = np.asarray(named)[labels == 0].tolist()  # where nothing is painted but the legend's squares
    assert legend.count(colours[12].tolist()) > 50
    assert legend.count(voc_palette(256)[12].tolist()) < 5
    panes = np.asarray(figure(image, labels, colours=colours)), np.asarray(figure(image, labels))
    assert not np.array_equal(*panes)


@pytest.mark.parametrize("draw", [label_image, lambda labels, **colours: overlay(labels, labels, **colours)])
@pytest.mark.parametrize("wrong", [np.zeros((21, 3), np.uint8), np.zeros((256, 3), int)])
def test_colours_of_another_shape_or_dtype(draw, wrong):
    message = rf"colours: expected uint8 \(256, 3\), got {wrong.dtype} \({len(wrong)}"
    with pytest.raises(ArrayError, match=message):
        draw(np.zeros((4, 6), np.uint8), colours=wrong)


def scene(height=100, width=150):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = np.zeros((height, width), np.uint8)
    labels[height // 4 : height // 2, width // 3 : width // 2] = 12
    labels[height // 2 :, width // 2 :] = 255
    return image, labels


def test_overlay_blends_classes_and_leaves_background_alone():
    image, labels = scene()
    for alpha in (0.3, 0.5, 1):
        painted = np.asarray(overlay(image, labels, alpha=alpha)).astype(int)
        inside = np.zeros(labels.shape, bool)
        inside[30:45, 55:70] = True
        np.testing.assert_array_equal(painted[:20], image[:20])
        expected = (1 - alpha) * image[inside] + alpha * voc_palette(256)[12]
        np.testing.assert_allclose(painted[inside], expected, atol=1)


def test_overlay_draws_white_where_classes_meet():
    image, labels = scene()
    painted = np.asarray(overlay(image // 2, labels))
    assert (painted[24:26, 60] == 255).all(-1).any()
    assert (painted[60, 74:76] == 255).all(-1).any()
    assert not (painted[30:45, 55:70] == 255).all(-1).any()


def test_lines_grow_with_the_picture():
    labels = np.zeros((1200, 1200), np.uint8)
    labels[:, 600:] = 1
    white = (np.asarray(overlay(np.zeros((1200, 1200), np.uint8), labels)) == 255).all(-1)
    np.testing.assert_array_equal(white.sum(1), 4)
    np.testing.assert_array_equal(white[:, 598:602], True)


def test_without_background_class_0_is_painted_too():
    image, labels = scene()
    assert not np.array_equal(np.asarray(overlay(image, labels, background=None))[:20], image[:20])


def test_the_legend_names_what_is_found_in_the_emptiest_corner():
    image, labels = scene(400, 600)
    names = [f"name {index}" for index in range(21)]
    plain, named = overlay(image, labels), overlay(image, labels, names)
    different = (np.asarray(plain) != np.asarray(named)).any(-1)
    assert different.any()
    assert not different[labels != 0].any()
    empty = np.zeros_like(labels)
    np.testing.assert_array_equal(np.asarray(overlay(image, empty, names)), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (16, 16), (40, 900)])
def test_any_size_is_drawn(size):
    image, labels = np.zeros((*size, 3), np.uint8), np.full(size, 3, np.uint8)
    names = ["a rather long name of a class"] * 4
    heat = np.full(size, 0.5, np.float32)
    assert overlay(image, labels, names).size == heatmap(image, heat, names[0]).size == size[::-1]
    figure(image, labels, names, heat=heat, heat_name=names[0], title="a title that is long " * 5)


def test_more_classes_than_a_legend_holds():
    labels = np.arange(256, dtype=np.uint8).repeat(256).reshape(256, 256)
    assert overlay(np.zeros((256, 256), np.uint8), labels, ["a", "b"]).size == (256, 256)


def test_the_heat_map_brightens_evenly_and_keeps_the_pictures_detail():
    probability = np.tile(np.linspace(0, 1, 200, dtype=np.float32), (20, 1))
    drawn = heatmap(np.full((20, 200), 128, np.uint8), probability)
    lightness = np.asarray(drawn.convert("L"))[0].astype(int)
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] - lightness[0] > 120
    striped = heatmap(np.tile([[0], [255]], (10, 200)).astype(np.uint8), probability)
    assert np.abs(np.diff(np.asarray(striped.convert("L")).astype(int), axis=0)).min() > 60


def test_sizes_must_agree():
    image = np.zeros((4, 6, 3), np.uint8)
    for draw in (overlay, heatmap, figure):
        with pytest.raises(ArrayError, match=r"values of the picture's size \(4, 6\), got \(6, 4\)"):
            draw(image, np.zeros((6, 4), np.uint8))


def test_the_figure_has_two_panes_or_three():
    image, labels = scene()
    two = figure(image, labels)
    three = figure(image, labels, heat=np.zeros(labels.shape))
    assert two.mode == "RGB"
    assert two.height == three.height
    assert 2 * 400 < two.width < 2 * 450
    assert 3 * 400 < three.width < 3 * 450
    large = figure(*scene(2000, 3000))
    assert 2 * 800 < large.width < 2 * 900


def test_names_may_be_any_text():
    image, labels = scene(400, 600)
    for name in ("", "two\nlines\t", "naïve ☃ 漢字", "classes"):
        heat = np.zeros(labels.shape)
        drawn = figure(image, labels, [name] * 21, heat=heat, heat_name=name, title=name)
        assert drawn.size == figure(image, labels, heat=heat).size


def test_the_figure_refuses_other_dtypes():
    with pytest.raises(ArrayError, match=r"expected uint8 labels \(H, W\), got int64"):
        figure(np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.int64))
