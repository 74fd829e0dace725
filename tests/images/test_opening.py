"""Pictures of every mode, right way up, and one clear error for the rest."""

import io
import os
import pickle
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from fcn_jax.errors import OutOfMemoryError, SettingError, WrongTypeError
from fcn_jax.images import ImageError, open_image

REAL = Path(__file__).parents[3] / "shared" / "data" / "photos"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


def values(source):
    image = open_image(source)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(source):
    array = values(source)
    np.testing.assert_array_equal(array, array[..., :1].repeat(3, 2))
    return array[..., 0]


def test_rgb_passes_unchanged_from_path_image_and_array(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels):
        np.testing.assert_array_equal(values(source), pixels)


def test_the_result_shares_nothing_with_the_source(pixels):
    image = Image.fromarray(pixels)
    open_image(image).paste("white", (0, 0, 5, 7))
    np.testing.assert_array_equal(np.asarray(image), pixels)


UPRIGHT = {  # what a viewer does to the stored array for each orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_once(pixels, tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(values(path), UPRIGHT[orientation](pixels))
    np.testing.assert_array_equal(values(open_image(path)), UPRIGHT[orientation](pixels))


def test_one_bit():
    np.testing.assert_array_equal(grey(Image.fromarray(np.eye(3, dtype=bool))), 255 * np.eye(3))


def test_16_bit_grey_png(tmp_path):
    stored = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(stored).save(tmp_path / "a.png")
    np.testing.assert_array_equal(grey(tmp_path / "a.png"), [[0, 1, 128, 255]])


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_byte_orders(mode):
    order = ">u2" if mode == "I;16B" else "=u2" if mode == "I;16N" else "<u2"
    image = Image.frombytes(mode, (2, 1), np.array([257, 65535], order).tobytes())
    np.testing.assert_array_equal(grey(image), [[1, 255]])


def test_mode_i_has_16_bits():
    np.testing.assert_array_equal(grey(Image.fromarray(np.array([[0, 514, 65535]], np.int32))), [[0, 2, 255]])


@pytest.mark.parametrize("full_scale", [1, 255, 65535])
def test_float_grey_finds_its_scale(full_scale):
    image = Image.fromarray(np.array([[0, 0.2, 1]], np.float32) * np.float32(full_scale))
    np.testing.assert_array_equal(grey(image), [[0, 51, 255]])


@pytest.mark.parametrize("bad", [-1.0, 65536.0, np.nan, np.inf])
def test_grey_without_a_scale_is_refused(bad):
    with pytest.raises(ImageError, match=r"values from 0 to 65535, got .* in mode F; scale them"):
        open_image(Image.fromarray(np.array([[0, bad]], np.float32)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_alpha_lies_on_white(mode):
    if mode == "PA":
        image = Image.new("PA", (3, 1))
        image.putpalette([0, 0, 0])
    else:
        image = Image.new("LA" if mode == "La" else "RGBA", (3, 1))
    image.putalpha(Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    np.testing.assert_array_equal(grey(image.convert(mode)), [[255, 127, 0]])


def test_transparent_palette_and_colour_key(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(values(image), [[[10, 20, 30], [40, 50, 60]]])
    for suffix in ("png", "gif"):
        image.save(tmp_path / f"a.{suffix}", transparency=1)
        np.testing.assert_array_equal(values(tmp_path / f"a.{suffix}"), [[[10, 20, 30], [255] * 3]])
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    np.testing.assert_array_equal(values(tmp_path / "key.png"), [[[255] * 3]])
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "grey.png", transparency=65535)
    np.testing.assert_array_equal(grey(tmp_path / "grey.png"), [[0, 255]])


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX"])
def test_other_colour_spaces(mode):
    red = Image.new("RGB", (2, 2), (200, 30, 60))
    np.testing.assert_allclose(values(red.convert(mode)), np.asarray(red), atol=3)


def test_lab():
    red = Image.new("RGB", (2, 2), (200, 30, 60))
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.applyTransform(red, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    np.testing.assert_allclose(values(lab), np.asarray(red), atol=3)


def test_cmyk_jpeg(tmp_path):
    Image.new("RGB", (8, 8), (200, 30, 60)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(values(tmp_path / "a.jpg"), np.full((8, 8, 3), (200, 30, 60)), atol=3)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png"])
def test_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("black", "white")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    assert values(tmp_path / f"a.{suffix}").max() == 0


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_array_shapes(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if shape[2:] == (4,):
        array[..., 3] = 255
    expected = array.reshape(4, 5, -1)[..., :3]
    np.testing.assert_array_equal(values(array), np.broadcast_to(expected, (4, 5, 3)))
    np.testing.assert_array_equal(values(array[::-1, ::2]), np.broadcast_to(expected, (4, 5, 3))[::-1, ::2])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((3, 8, 9), np.uint8),
            r"got .*\(3, 8, 9\); channels come last: try array.transpose\(1, 2, 0\)",
        ),
        (np.zeros((2, 8, 9, 3), np.uint8), r"got uint8 \(2, 8, 9, 3\); for a batch pass a list"),
        (np.zeros((8, 9, 2), np.uint8), r"expected an array \(H, W\).*got uint8 \(8, 9, 2\)"),
        (np.zeros(8, np.uint8), r"got uint8 \(8,\)"),
        (np.zeros((8, 9, 3), np.float32), r"expected a uint8 array, got float32 \(8, 9, 3\); .*255 \* array"),
        (np.zeros((8, 9), bool), r"got bool .* try 255"),
        (np.zeros((8, 9), np.uint16), r"got uint16 .* scale it to 0..255"),
        (np.zeros((0, 9, 3), np.uint8), r"at least one pixel, got uint8 \(0, 9, 3\)"),
        (Image.new("RGB", (0, 4)), r"at least one pixel, got 0 x 4"),
    ],
)
def test_refused(array, message):
    with pytest.raises(ImageError, match=message):
        open_image(array)


@pytest.mark.parametrize("source", [None, 3, b"a.png"])
def test_other_types(source):
    with pytest.raises(WrongTypeError, match="expected a path, a Pillow image or an array, got"):
        open_image(source)


def test_missing_folder_and_foreign_files(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    for name, reason in {
        "absent.png": "No such file",
        ".": "got a folder",
        "text.jpg": "not recognize",
        "empty.png": "not recognize",
    }.items():
        with pytest.raises(ImageError, match=reason) as error:
            open_image(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert error.value.path == str(tmp_path / name)
        assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "webp", "bmp"])
def test_every_truncation_is_one_error_or_a_picture(tmp_path, pixels, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).resize((64, 64)).save(path)
    whole = path.read_bytes()
    refused = 0
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        try:
            open_image(path)
        except ImageError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused > 20


def test_damaged_exif_does_not_hide_the_picture(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        assert open_image(tmp_path / "a.jpg").size == (5, 7)
    with pytest.raises(UserWarning, match="Corrupt EXIF data"):  # a remark that someone made an error
        open_image(tmp_path / "a.jpg")


def png(width, height, bits, colour_type, packed_pixels):
    def chunk(body):
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT" + packed_pixels) + chunk(b"IEND")


def png_without_pixels(width, height):
    return png(width, height, 8, 2, b"")


def test_decompression_bomb(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_without_pixels(60_000, 10_000))
    with pytest.raises(ImageError, match=r"bomb.png: .*600000000.*raise PIL.Image.MAX_IMAGE_PIXELS") as error:
        open_image(path)
    names = {"PIL.Image.MAX_IMAGE_PIXELS": "--max-pixels"}
    assert error.value.words(names).endswith("crop it first or raise --max-pixels")


def test_a_large_picture_is_no_bomb(tmp_path):
    path = tmp_path / "aerial.png"
    path.write_bytes(png_without_pixels(10_000, 10_000))
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ImageError, match="truncated"):
        open_image(path)


def test_pictures_opened_in_threads_leave_the_warning_filters_alone(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: open_image(tmp_path / "a.png"), range(400)))
    finally:
        sys.setswitchinterval(interval)
        after, warnings.filters[:] = list(warnings.filters), before
    assert after == before


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared pictures are not here")
def test_real_odd_files():
    readable = {path.name for path in REAL.glob("*.jpg")} | {
        "gray_pytorch.jpg",
        "gray_pytorch.png",
        "grayalpha_pytorch.png",
        "palette_pytorch.png",
        "rgbalpha_pytorch.png",
        "rgb_pytorch16.png",
        "cmyk_pytorch.jpg",
        "bad_huffman.jpg",
    }
    for path in sorted([*REAL.glob("*.jpg"), *(REAL / "odd").iterdir()]):
        if path.name in readable:
            assert open_image(path).mode == "RGB"
        else:
            with pytest.raises(ImageError, match=path.name):
                open_image(path)


def png_with_texts(path, pixels):
    """A PNG whose text is larger than Pillow allows, and which lies upside down."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 3_000_000, zip=True)
    info.add_itxt("workflow", "y" * 3_000_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(path, pnginfo=info, exif=exif)


def test_long_texts_in_png_do_not_matter(tmp_path, pixels):
    path = tmp_path / "a.png"
    png_with_texts(path, pixels)
    with pytest.raises(ValueError, match="MAX_TEXT_CHUNK"), Image.open(path) as image:
        image.load()
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    np.testing.assert_array_equal(values(path), pixels[::-1, ::-1])
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


@pytest.mark.parametrize("alpha", [False, True])
def test_few_bits_in_a_png_of_16(tmp_path, alpha):
    """Pillow keeps the upper 8 of 16 bits, so 12 bits would become 0 to 15."""
    exact = np.random.default_rng(0).integers(0, 4096, (6, 5, 3 + alpha), np.uint16)
    exact[0, 0] = 4095
    if alpha:
        exact[..., 3] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in exact)
    (tmp_path / "a.png").write_bytes(png(5, 6, 16, 6 if alpha else 2, zlib.compress(rows)))
    np.testing.assert_array_equal(values(tmp_path / "a.png"), np.rint(exact[..., :3] * (255 / 4095)))


def test_an_open_file(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(values(io.BytesIO(content)), pixels)
    moved = io.BytesIO(b"before" + content)
    moved.seek(6)
    np.testing.assert_array_equal(values(moved), pixels)
    with pytest.raises(ImageError, match="expected an image file, got a file that Pillow"):
        open_image(io.BytesIO(b"no picture"))


def test_bands_of_arrays_and_pictures(pixels):
    seven = np.random.default_rng(0).integers(0, 256, (4, 5, 7), np.uint8)
    np.testing.assert_array_equal(np.asarray(open_image(seven, bands=[7, 4, 1])), seven[..., [6, 3, 0]])
    np.testing.assert_array_equal(np.asarray(open_image(pixels, bands=(3, 2, 1))), pixels[..., ::-1])
    with pytest.raises(ImageError, match="at least 3 bands, got 1"):
        open_image(Image.new("L", (4, 4)), bands=(1, 2, 3))
    for wrong in ((1, 2), (0, 1, 2), (1.0, 2, 3), ()):
        with pytest.raises(SettingError, match="bands: expected three bands"):
            open_image(pixels, bands=wrong)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a.png: expected a picture, got a pipe, a socket or a device"):
        open_image(tmp_path / "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError, match=r"loop.png: cannot be read: Too many levels of symbolic links"):
        open_image(tmp_path / "loop.png")


def test_heic(tmp_path, monkeypatch):
    path = tmp_path / "a.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with monkeypatch.context() as hidden:
        hidden.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ImageError, match=r"needs pillow-heif; pip install 'fcn_jax\[heif\]'"):
            open_image(path)
    heif = pytest.importorskip("pillow_heif")
    with pytest.raises(ImageError, match=r"a.HEIC: cannot be"):
        open_image(path)
    drawn = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 20).convert("RGB")
    heif.from_pillow(drawn).save(path, quality=-1, chroma=444)
    before = dict(Image.OPEN)
    np.testing.assert_allclose(values(path), np.asarray(drawn), atol=4)  # seen: 0, of a grey picture
    assert before == Image.OPEN
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="exceeds limit of 200 pixels"):
        open_image(path)


def test_too_little_memory_is_said_of_the_picture(tmp_path, pixels, monkeypatch):
    Image.fromarray(pixels).save(tmp_path / "a.bmp")

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(OutOfMemoryError, match=r"a.bmp: there is not enough memory to read it"):
        open_image(tmp_path / "a.bmp")
