"""Plans for pictures: sizes, tiles, limits, and errors for what does not fit."""

from pathlib import Path

import numpy as np
import pytest

from fcn_jax.errors import FCNError
from fcn_jax.images import ImageError
from fcn_jax.inference.plan import AUTO_TILE, Plan, Planner
from fcn_jax.inference.receptive_field import Probe
from fcn_jax.transforms import CaffeSegmentation, SemanticSegmentation
from tests.inference.drawn_models import abstract_model

PATH = Path("strip.png")


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe(abstract_model("fcn_resnet50"))


@pytest.fixture
def planner(probe):
    def make(**settings) -> Planner:
        return Planner(
            **{"transforms": CaffeSegmentation(), "model": "FCN", "border": 100, "probe": probe} | settings
        )

    return make


def test_what_fits_goes_in_one_piece(planner):
    assert planner().plans((500, 375)) == [Plan((500, 375), None)]
    assert planner(tile=None).plans((50_000, 50_000)) == [Plan((50_000, 50_000), None)]


def test_scales_are_relative_to_the_output_of_the_transforms(planner):
    settings = {"transforms": SemanticSegmentation(resize_size=520), "scales": (0.5, 1.0, 0.001)}
    assert [plan.size for plan in planner(**settings).plans((100, 200), 1)] == [
        (260, 520),
        (520, 1040),
        (1, 1),
    ]


def test_a_picture_too_large_for_one_piece_is_tiled(planner):
    assert planner().plans((2628, 2628))[0].tile is None  # 2828 x 2828 with its border
    assert planner().plans((2629, 2629))[0].tile == AUTO_TILE
    assert planner(tile=300).plans((40, 40))[0].tile == 300


def test_a_scale_that_is_too_large_for_one_piece_is_tiled(planner):
    plans = planner(scales=(1.0, 2.5)).plans((2000, 1500))
    assert plans == [Plan((2000, 1500), None), Plan((5000, 3750), AUTO_TILE)]


def test_each_device_holds_its_share(planner):
    height, width = 2000, 3000
    shared = planner(devices=4)
    assert shared.plans((4 * height, width))[0].tile is None  # each device has its rows
    assert shared.plans((8 * height, width))[0].tile == AUTO_TILE


def test_tiles_too_large_are_refused(planner):
    message = r"tiles of 5000, with surroundings 5\d\d\d x .*; choose a smaller tile"
    with pytest.raises(ImageError, match=message) as error:
        planner(tile=5000).plans((9000, 9000), PATH)
    assert error.value.path == str(PATH)
    assert "choose a smaller --tile" in error.value.words({"tile": "--tile"})


@pytest.mark.parametrize(
    ("transforms", "advice"),
    [(SemanticSegmentation(), "crop it, or .*resize_size"), (CaffeSegmentation(), "crop or shrink it")],
)
def test_pictures_too_large_for_the_model_are_refused(planner, transforms, advice):
    """Also tileable ones that the transforms enlarge: they would take an hour."""
    size = (8000, 20) if transforms.resizes else (8000, 2000)
    with pytest.raises(ImageError, match=f"strip.png: .*at most 8,000,000 pixels.*; {advice}"):
        planner(transforms=transforms, probe=None).plans(size, PATH)
    if transforms.resizes:
        with pytest.raises(ImageError, match=r"got 20 x 8000, which becomes 720 x 208200 = 149,904,000"):
            planner(transforms=transforms).plans(size, PATH)


def test_advice_on_memory(planner, probe):
    for tiles, tileable, advice in (
        ([None], True, "try {tile}=1024"),
        ([1024, 256], True, "try {tile}=128"),
        ([32], True, "crop or shrink it"),
        ([None], False, "crop or shrink it"),
    ):
        plans = [Plan((9, 9), tile) for tile in tiles]
        assert planner(probe=probe if tileable else None).advice_on_memory(plans) == advice


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 0}, 'tile: expected a number of pixels, "auto" or None, got 0'),
        ({"tile": "all"}, "tile: expected a number of pixels, \"auto\" or None, got 'all'"),
        ({"halo": -1}, "halo: expected a number of pixels of at least 0, got -1"),
        ({"scales": ()}, r"scales: expected numbers above 0, got \(\)"),
        ({"scales": (1.0, -1.0)}, r"scales: expected numbers above 0, got \(1.0, -1.0\)"),
        ({"transforms": np.asarray}, "expected transforms with a method output_size"),
        (
            {"probe": None, "tile": 64},
            "whose receptive field can be measured, got one without: FCN; leave them out",
        ),
        (
            {"probe": None, "halo": 8},
            "whose receptive field can be measured, got one without: FCN; leave them out",
        ),
    ],
)
def test_unfit_settings(planner, settings, message):
    with pytest.raises(FCNError, match=message):
        planner(**settings)


def test_scales_need_a_preset(planner):
    class Other:
        def output_size(self, size):
            return size

        def __call__(self, image):
            return np.asarray(image, np.float32)

    assert planner(transforms=Other()).plans((9, 9)) == [Plan((9, 9), None)]
    with pytest.raises(ValueError, match="scales: other scales than 1 need a preset of fcn_jax"):
        planner(transforms=Other(), scales=(0.5,))
