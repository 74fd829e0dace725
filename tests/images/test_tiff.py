"""TIFF is the picture that it holds, or is refused in words that fit; the right values come from NumPy."""

import numpy as np
import pytest
from PIL import Image

from fcn_jax.images import ImageError, errors, open_image
from tests.images.tiff_files import write_tiff

ROWS, COLUMNS = np.mgrid[:32, :48]
COLOURS = np.stack([40 + 4 * COLUMNS, 6 * ROWS + 60, 200 - ROWS - COLUMNS], -1).astype(np.uint8)
INFRARED = (COLUMNS + 2 * ROWS).astype(np.uint8)[..., None]
FOUR = np.concatenate([COLOURS, INFRARED], -1)
GREY = COLOURS[..., :1]


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(errors, "TOLD", set())


def read(path, **options):
    return np.asarray(open_image(path, **options))


@pytest.fixture
def tiff(tmp_path):
    return lambda values, photometric, **layout: write_tiff(
        tmp_path / "a.tif", np.ascontiguousarray(values), photometric, **layout
    )


@pytest.mark.parametrize("extra", [(), (0,), (1,), (2,)])
@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2"])
def test_a_fourth_band_is_no_transparency_whatever_its_mark(tiff, extra, dtype):
    scale = 257 if dtype != "uint8" else 1
    path = tiff((FOUR.astype(dtype) * scale).astype(dtype), 2, extra=extra)
    np.testing.assert_array_equal(read(path), COLOURS)
    chosen = read(path, bands=(4, 1, 2))
    np.testing.assert_array_equal(chosen, FOUR[..., [3, 0, 1]])


def test_a_band_of_nothing_and_all_is_a_mask(tiff, caplog):
    mask = np.where(ROWS < 10, 0, 255).astype(np.uint8)[..., None]
    shown = read(tiff(np.concatenate([COLOURS, mask], -1), 2, extra=(2,)))
    np.testing.assert_array_equal(shown, np.where(ROWS[..., None] < 10, 255, COLOURS))
    assert not caplog.records
    read(tiff(FOUR, 2, extra=(2,)))
    assert "although marked as transparency, is left out" in caplog.text


@pytest.mark.parametrize("samples", [5, 6])
def test_five_and_six_bands(tiff, samples):
    many = np.concatenate([COLOURS] + [INFRARED] * (samples - 3), -1)
    for extra in ((0,) * (samples - 3), (1, *(0,) * (samples - 4))):
        np.testing.assert_array_equal(read(tiff(many, 2, extra=extra)), COLOURS)


def test_bands_without_colours_need_a_choice(tiff):
    path = tiff(FOUR, 1, extra=(0, 0, 0))
    with pytest.raises(
        ImageError,
        match=r"a.tif: expected colours, got TIFF with 4 bands of uint8, which names none; choose three",
    ) as error:
        open_image(path)
    assert error.value.words({"bands": "--bands"}).endswith("choose three with --bands, as 3,2,1")
    tifffile = pytest.importorskip("tifffile")
    np.testing.assert_array_equal(read(path, bands=(3, 2, 1)), COLOURS[..., ::-1])
    np.testing.assert_array_equal(read(path, bands=(4,)), INFRARED.repeat(3, 2))
    with pytest.raises(ImageError, match="expected a picture with at least 7 bands, got 4; choose other"):
        open_image(path, bands=(7, 1, 2))
    assert tifffile


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "float32"])
def test_band_after_band(tiff, dtype):
    pytest.importorskip("tifffile")
    scale = {"uint8": 1, "float32": 1 / 255}.get(dtype, 257)
    path = tiff((COLOURS * np.float64(scale)).astype(dtype), 2, by_bands=True)
    np.testing.assert_array_equal(read(path), COLOURS)


def test_what_to_install(tiff, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    np.testing.assert_array_equal(read(tiff(COLOURS, 2, by_bands=True)), COLOURS)
    with pytest.raises(ImageError, match=r"float32, which needs tifffile; pip install 'fcn_jax\[tiff\]'"):
        read(tiff((COLOURS / 255).astype(np.float32), 2))


@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "float32"])
def test_white_is_zero(tiff, dtype):
    if dtype == ">u2":
        pytest.importorskip("tifffile")
    scale = {"uint8": 1, "float32": 1 / 255}.get(dtype, 257)
    values = ((255 - GREY) * np.float64(scale)).astype(dtype)
    np.testing.assert_array_equal(read(tiff(values, 0)), GREY.repeat(3, 2))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("bands", [1, 3])
def test_few_bits_in_16(tiff, bits, order, bands, caplog):
    """White is 2**bits - 1, exactly; Pillow alone reads 12 bits as 0 to 15 of 255."""
    exact = np.rint(COLOURS[..., :bands] / 255 * (2**bits - 1))
    exact[0, 0] = 2**bits - 1
    shown = read(tiff(exact.astype(order), 2 if bands == 3 else 1))
    np.testing.assert_array_equal(shown, np.rint(exact * (255 / (2**bits - 1))).repeat(4 - bands, 2)[..., :3])
    if bits < 14 or bands == 1:
        assert f"{2**bits - 1} becomes white" in caplog.text


def test_all_16_bits_are_read_as_pillow_does(tiff, caplog):
    values = (COLOURS.astype(np.uint16) << 8) + 255
    np.testing.assert_array_equal(read(tiff(values, 2)), COLOURS)
    assert not caplog.records


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_signed(tiff, dtype):
    values = (GREY // 2).astype(dtype)
    np.testing.assert_array_equal(read(tiff(values, 1)), (GREY // 2).repeat(3, 2))
    values[3, 3] = -5
    with pytest.raises(ImageError, match=rf"from 0 to 65535, got -5 to 114 in {dtype}; scale them first"):
        read(tiff(values, 1))


def test_unsigned_32_bits_are_not_negative(tiff):
    values = GREY.astype(np.uint32) * 2**24
    with pytest.raises(ImageError, match=r"got 6\.7\d+e\+08 to 3\.8\d+e\+09 in uint32"):
        read(tiff(values, 1))


@pytest.mark.parametrize(("scale", "white"), [(1 / 255, 1), (1, 255), (4095 / 255, 4095), (1.3 / 255, 1)])
def test_floats(tiff, scale, white, caplog):
    values = np.float32(GREY) * np.float32(scale)
    values[0, 0] = 255 * scale
    shown = read(tiff(values, 1))[..., :1]
    np.testing.assert_allclose(shown, np.rint(values.clip(0, white) * (255 / white)), atol=1)  # ties
    assert bool(caplog.records) == (scale != 1 / 255)


def test_camera_raw_is_named(tiff):
    with pytest.raises(ImageError, match="camera raw, which needs to be developed"):
        read(tiff(COLOURS, 2, more={50706: [1]}))
    with pytest.raises(ImageError, match="camera raw"):
        read(tiff(GREY, 32803))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_readers_turn_alike(tiff, orientation):
    pytest.importorskip("tifffile")
    by_pillow = read(tiff(COLOURS, 2, more={274: [orientation]}))
    values = COLOURS.astype(np.uint16) * 257
    np.testing.assert_array_equal(read(tiff(values, 2, by_bands=True, more={274: [orientation]})), by_pillow)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed(tmp_path, compression):
    Image.fromarray(COLOURS).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), COLOURS)
    tifffile = pytest.importorskip("tifffile")
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.rint(FOUR / 255.0 * 4095).astype(np.uint16)
    values[0, 0] = 4095
    tifffile.imwrite(
        tmp_path / "b.tif", values, compression="lzw", predictor=True, photometric="rgb", extrasamples=[2]
    )
    np.testing.assert_allclose(read(tmp_path / "b.tif")[1:], COLOURS[1:], atol=1)  # 12 bits rounded to 8
    assert imagecodecs


def test_damaged_bands_are_one_error_or_a_picture(tiff):
    """Each byte of the tags overturned: never another error, never a hang."""
    path = tiff(FOUR.astype(np.uint16) * 16, 2, extra=(2,))
    whole = path.read_bytes()
    for place in range(len(whole) - 180, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            open_image(path)
        except (ImageError, UserWarning) as error:
            assert "a.tif" in str(error) or isinstance(error, UserWarning)  # noqa: PT017
