"""Pictures with any number of channels are read as stored, or refused with the name of the file."""

import sys

import numpy as np
import pytest
from PIL import Image

from fcn_jax.bands import open_bands, preview, resize_bands
from fcn_jax.errors import MissingPackageError, WrongTypeError
from fcn_jax.images import ImageError


def drawn(dtype, channels: int) -> np.ndarray:
    random = np.random.RandomState(channels)
    shape = (7, 9, channels)
    return random.rand(*shape).astype(dtype) if dtype == np.float32 else random.randint(0, 255, shape, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_numpy_files_are_as_stored(tmp_path, dtype, channels):
    values = drawn(dtype, channels)
    np.save(tmp_path / "a.npy", values)
    found = open_bands(tmp_path / "a.npy", channels)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiffs_with_many_bands_are_as_stored(tmp_path, dtype, planar):
    tifffile = pytest.importorskip("tifffile")
    values = drawn(dtype, 6)
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, planarconfig=planar, photometric="minisblack")
    found = open_bands(tmp_path / "a.tif", 6)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


def test_without_tifffile_plain_tiffs_are_read_and_others_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    values = drawn(np.uint8, 3)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(open_bands(tmp_path / "a.tif"), values)
    Image.fromarray(np.ones((3, 4), np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(MissingPackageError, match=r"b\.tif: this TIFF needs tifffile; pip install"):
        open_bands(tmp_path / "b.tif")


def test_pngs_keep_16_bits_and_palettes_become_colours(tmp_path):
    grey = drawn(np.uint16, 1) * 257
    Image.fromarray(grey[..., 0]).save(tmp_path / "grey.png")
    found = open_bands(tmp_path / "grey.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, grey)
    colours = Image.fromarray(drawn(np.uint8, 3)).quantize(16)
    colours.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(open_bands(tmp_path / "palette.png"), np.asarray(colours.convert("RGB")))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16])
def test_other_numbers_become_floats(dtype):
    found = open_bands(np.ones((2, 3), dtype))
    assert (found.dtype, found.shape) == (np.float32, (2, 3, 1))


@pytest.mark.parametrize(
    ("values", "channels", "message"),
    [
        (
            np.zeros((4, 8, 9), np.uint8),
            4,
            r"expected 4 channels, got 9 .*; channels come last: transpose it",
        ),
        (np.zeros((8, 9, 4), np.uint8), 3, r"expected 3 channels, got 4 \(uint8 \(8, 9, 4\)\)$"),
        (np.full((2, 2, 1), np.nan, np.float32), None, "expected finite numbers, got NaN or infinity"),
        (
            np.zeros((2, 2), np.int64),
            None,
            r"expected numbers of 8 or 16 bits, or floats, got int64 \(2, 2\)",
        ),
        (np.zeros((0, 2, 1), np.uint8), None, "with at least one pixel"),
        (np.zeros((1, 2, 2, 1), np.uint8), None, r"expected an array \(H, W\) or \(H, W, C\)"),
    ],
)
def test_other_arrays(values, channels, message):
    with pytest.raises(ImageError, match=message):
        open_bands(values, channels)


def test_what_is_no_picture(tmp_path):
    with pytest.raises(ImageError, match=r"no\.npy: cannot be read: there is no such file"):
        open_bands(tmp_path / "no.npy")
    (tmp_path / "a.npy").write_bytes(b"weights")
    with pytest.raises(ImageError, match=r"a\.npy: cannot be decoded"):
        open_bands(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", np.ones(3))
    with pytest.raises(ImageError, match=r"expected a file that ends in one of \.npy, .*, got '\.npz'"):
        open_bands(tmp_path / "b.npz")
    with pytest.raises(WrongTypeError, match="expected a path, a Pillow image or an array, got int"):
        open_bands(3)  # type: ignore[arg-type]


def test_resizing_is_pillows_channel_by_channel():
    values = drawn(np.uint8, 4)
    found = resize_bands(values, (5, 4))
    for channel in range(4):
        expected = Image.fromarray(values[..., channel]).resize((4, 5), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(found[..., channel], np.asarray(expected))
    assert resize_bands(values, (7, 9)) is values
    wide = resize_bands(np.full((3, 3, 1), 65535, np.uint16), (5, 5))
    assert wide.dtype == np.uint16
    assert (wide == 65535).all()


def test_a_preview_has_the_first_three_channels_or_grey():
    np.testing.assert_array_equal(preview(drawn(np.uint8, 5)), drawn(np.uint8, 5)[..., :3])
    grey = np.asarray(preview(np.linspace(0, 1, 101, dtype=np.float32)[None, :, None]))
    assert (grey[0, 0] == 0).all()
    assert (grey[0, -1] == 255).all()
    assert (np.diff(grey[0, :, 0].astype(int)) >= 0).all()
