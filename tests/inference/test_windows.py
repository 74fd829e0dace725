"""Windows that slide over a picture: where they lie, what is averaged, and what they cannot go with."""

import numpy as np
import pytest

from fcn_jax import Segmenter, SettingError, Window
from fcn_jax.inference.windows import average_windows, starts
from tests.inference.tiny import TinyFCN, picture


@pytest.mark.parametrize(
    ("length", "crop", "stride", "expected"),
    [
        (1024, 769, 513, [0, 255]),
        (2048, 769, 513, [0, 513, 1026, 1279]),
        (769, 769, 513, [0]),
        (500, 769, 513, [0]),
        (10, 4, 3, [0, 3, 6]),
        (11, 4, 3, [0, 3, 6, 7]),
        (5, 1, 1, [0, 1, 2, 3, 4]),
    ],
)
def test_where_windows_start(length, crop, stride, expected):
    assert starts(length, crop, stride) == expected


def test_logits_are_averaged_over_the_windows_that_see_a_pixel():
    image, seen = np.arange(77, dtype=np.float32).reshape(7, 11, 1), []

    def compute(part):
        return np.concatenate([part, np.full_like(part, len(seen))], axis=-1)

    window, progress = Window(crop=(4, 5), stride=(3, 4)), []
    result = average_windows(
        lambda part: (seen.append(part.shape), compute(part))[1],
        image,
        window,
        (8, 16),
        on_progress=lambda *counts: progress.append(counts),
    )
    assert seen == [(4, 5, 1)] * 6
    assert progress[-1] == (6, 6)
    assert result.shape == (8, 16, 2)
    np.testing.assert_allclose(result[:7, :11, :1], image)
    assert result[0, 0, 1] == 1
    assert result[3, 4, 1] == np.mean([1, 2, 4, 5])  # where four windows meet
    assert (result[7:] == 0).all()
    assert (result[:, 11:] == 0).all()


def test_one_window_is_the_whole_picture_and_more_are_not():
    model, image = TinyFCN(), picture(60, 40)
    whole = Segmenter(model)(image)
    for crop, equal in (((64, 64), True), ((40, 60), True), ((24, 24), False)):
        for settings in ({}, {"flip": True}):
            expected = Segmenter(model, **settings)(image) if settings else whole
            found = Segmenter(model, window=Window(crop=crop, stride=(8, 8)), **settings)(image)
            assert found.labels.shape == (40, 60)
            assert np.allclose(found.confidence, expected.confidence, atol=1e-5) == equal


def test_pictures_of_several_sizes_share_the_windows_program():
    segmenter = Segmenter(TinyFCN(), window=Window(crop=(32, 32), stride=(16, 16)))
    for size in ((80, 60), (60, 90), (33, 33)):
        assert segmenter(picture(*size)).labels.shape == size[::-1]
    assert segmenter.compilations == 1


def test_windows_that_make_no_sense():
    for settings, message in (
        ({"crop": (0, 4), "stride": (1, 1)}, "crop: expected two numbers of pixels of at least 1"),
        ({"crop": (4,), "stride": (1, 1)}, "crop: expected two numbers"),
        ({"crop": (4, 4), "stride": (2, 5)}, r"stride: expected at most the window, \(4, 4\), got \(2, 5\)"),
    ):
        with pytest.raises(SettingError, match=message):
            Window(**settings)
    window = Window(crop=(4, 4), stride=(2, 2))
    for settings in ({"tile": 64}, {"halo": 8}):
        with pytest.raises(SettingError, match=r"window: expected either windows, .* or tiles, .*got both"):
            Segmenter(TinyFCN(), window=window, **settings)
