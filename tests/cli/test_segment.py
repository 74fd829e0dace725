"""fcn-jax segment: what it says and writes, and how it fails."""

import dataclasses
import errno
import hashlib
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import fcn_jax
from fcn_jax.cli.segmenting.chosen_segmenter import class_indices
from fcn_jax.cli.segmenting.naming import check_output, output_stems
from fcn_jax.cli.segmenting.pictures import Found
from fcn_jax.cli.segmenting.table import printable
from fcn_jax.errors import ArrayError, OutOfMemoryError, SettingError
from fcn_jax.inference import Segmenter
from fcn_jax.multiband import Multiband
from fcn_jax.transforms import ImageClassification, SemanticSegmentation
from fcn_jax.weights import FCN_ResNet50_Weights, FCN_ResNet101_Weights
from weights_converter import load_model_file, write_safetensors

NAMES = ["sky", "sea", "sand", "a rock", "Über"]


@pytest.fixture(scope="module")
def run(cli, checkpoint, picture, tmp_path_factory):
    """One run over a folder of good, bad and other files, with most of the options."""
    folder = tmp_path_factory.mktemp("run")
    photos = folder / "photos"
    photos.mkdir()
    picture().save(photos / "b.png")
    turned = picture(seed=1)
    exif = turned.getexif()
    exif[0x0112] = 6  # orientation: turn clockwise to see it upright
    turned.save(photos / "a.jpg", exif=exif)
    picture(30, 24, seed=2).quantize(16).save(photos / "c.gif")
    picture().save(photos / "d.png")
    (photos / "d.png").write_bytes((photos / "d.png").read_bytes()[:200])
    (photos / "e.jpg").write_text("no picture")
    (photos / "notes.txt").write_text("not tried")
    (photos / ".b.png").write_text("not tried")
    (photos / "folder.png").mkdir()
    (folder / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    options = ["--weights", checkpoint, "--resize", 64, "--classes", "a rock,0", "--model", "fcn8s_vgg16"]
    options += ["--categories", folder / "names.txt", "--output", folder / "out"]
    return photos, folder / "out", cli("segment", photos, *options)


def summary_of(output):
    return json.loads((output / "summary.json").read_text(encoding="utf-8"))


def test_bad_pictures_are_named_and_the_others_done(run):
    photos, output, (status, out, err) = run
    assert status == 1
    complaints = err.splitlines()
    assert len(complaints) == 2
    assert complaints[0].startswith(f"fcn-jax: error: {photos / 'd.png'}: cannot be ")
    assert complaints[1].startswith(f"fcn-jax: error: {photos / 'e.jpg'}: expected an image file")
    assert out.endswith(f"\n3 of 5 segmented, into {output}{os.sep}\n")
    assert [item["source"] for item in summary_of(output)["images"]] == [
        str(photos / name) for name in ("a.jpg", "b.png", "c.gif")
    ]
    assert [f"fcn-jax: error: {item['error']}" for item in summary_of(output)["failed"]] == complaints
    assert [item["source"] for item in summary_of(output)["failed"]] == [
        str(photos / name) for name in ("d.png", "e.jpg")
    ]


def test_the_files(run):
    _, output, _ = run
    kinds = ("a_rock", "figure", "labels", "overlay", "sky")
    expected = [f"{stem}_{kind}.png" for stem in "abc" for kind in kinds]
    assert sorted(path.name for path in output.iterdir()) == [*expected, "summary.json"]
    for item in summary_of(output)["images"]:
        written = sorted(output.glob(f"{os.path.basename(item['source'])[0]}_*"))
        assert sorted(item["files"]) == list(map(str, written))


@pytest.mark.parametrize(("name", "size"), [("a.jpg", (48, 60)), ("b.png", (60, 48)), ("c.gif", (30, 24))])
def test_labels_are_the_segmenters_at_the_pictures_own_size(run, segmenter, name, size):
    photos, output, _ = run
    result = segmenter(photos / name)
    with Image.open(output / f"{name[0]}_labels.png") as labels:
        assert (labels.mode, labels.size) == ("P", size)  # a.jpg: upright, as a viewer shows it
        np.testing.assert_array_equal(np.asarray(labels), result.labels)
    assert len(result.classes) > 1  # or the labels would agree too easily
    for kind in ("overlay", "a_rock"):
        with Image.open(output / f"{name[0]}_{kind}.png") as drawn:
            assert drawn.size == size


def test_the_table(run, segmenter):
    photos, _, call = run
    blocks = call.out.split(str(photos) + os.sep)[1:]
    assert [block.partition(" (")[0] for block in blocks] == ["a.jpg", "b.png", "c.gif"]
    for block in blocks:
        name, _, rest = block.partition(" (")
        size, header, *rows = rest.splitlines()
        result = segmenter(photos / name)
        assert size == f"{result.image.width} x {result.image.height})"
        assert header.split() == ["index", "class", "pixels", "confidence"]
        for row, found in zip(rows, result.classes, strict=False):
            share, confidence = f"{found.share:.2%}", f"{found.confidence:.2%}"
            assert row.split() == [str(found.index), *NAMES[found.index].split(), share, confidence]
            assert row.index(NAMES[found.index]) == header.index("class")


def test_the_summary(run, segmenter, checkpoint):
    _, output, _ = run
    summary = summary_of(output)
    how = ["threshold", "tile", "approximate_halo", "test_time_augmentation"]
    names = ["model", "weights", "weights_sha256", "dtype", "transforms", "categories", *how]
    assert list(summary) == [*names, "settings", "images", "failed", "other_settings"]
    assert summary["weights_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert summary["dtype"] == "float32"
    assert [summary[key] for key in how] == [None, "auto", None, False]
    assert (summary["model"], summary["weights"]) == ("fcn8s_vgg16", str(checkpoint))
    assert summary["transforms"] == SemanticSegmentation(resize_size=64).to_dict()
    assert summary["categories"] == NAMES
    for item in summary["images"]:
        result = segmenter(item["source"])
        assert (item["width"], item["height"]) == result.image.size
        expected = [dataclasses.asdict(found) | {"name": NAMES[found.index]} for found in result.classes]
        assert item["classes"] == expected
    assert "Über" in (output / "summary.json").read_text(encoding="utf-8")


def test_same_stems_and_the_pictures_own_size(cli, checkpoint, picture, tmp_path, monkeypatch):
    """Several paths, two of one name, one given twice, one that is not there, and --resize 0."""
    monkeypatch.chdir(tmp_path)
    for folder, seed in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        picture(seed=seed).save(tmp_path / folder / "dog.png")
    paths = ["one/dog.png", "two", "no.jpg", "./one/dog.png"]
    status, out, err = cli("segment", *paths, "--weights", checkpoint, "--resize", 0, "--classes", "class 3")
    assert (status, err) == (1, "fcn-jax: error: no.jpg: cannot be read: No such file or directory\n")
    assert out.endswith(f"2 of 3 segmented, into segmented{os.sep}\n")
    summary = summary_of(tmp_path / "segmented")  # the default folder
    assert summary["transforms"] == SemanticSegmentation(resize_size=None).to_dict()
    assert summary["categories"] == [f"class {index}" for index in range(5)]
    expected = {os.path.join("one", "dog.png"): "dog", os.path.join("two", "dog.png"): "dog-2"}
    for item in summary["images"]:
        stem = expected.pop(item["source"])
        kinds = ("labels", "overlay", "class_3", "figure")
        assert item["files"] == [os.path.join("segmented", f"{stem}_{kind}.png") for kind in kinds]
    assert not expected
    one, two = ((tmp_path / "segmented" / f"{stem}_labels.png").read_bytes() for stem in ("dog", "dog-2"))
    assert one != two


def test_interrupted_half_way(cli, checkpoint, picture, tmp_path, monkeypatch):
    """What was done is written down; and nothing half-done is left."""
    for name in "abc":
        picture().save(tmp_path / f"{name}.png")
    stream = Segmenter.stream

    def interrupted(self, sources, on_error):
        yield next(stream(self, sources, on_error=on_error))
        raise KeyboardInterrupt

    monkeypatch.setattr(Segmenter, "stream", interrupted)
    output = tmp_path / "out"
    ended = cli("segment", tmp_path, "--weights", checkpoint, "--resize", 64, "--output", output)
    assert (ended.status, ended.err) == (130, "fcn-jax: interrupted\n")
    summary = summary_of(output)
    assert [item["source"] for item in summary["images"]] == [str(tmp_path / "a.png")]
    assert summary["failed"] == []
    kinds = ("figure", "labels", "overlay")
    assert sorted(p.name for p in output.iterdir()) == [*(f"a_{kind}.png" for kind in kinds), "summary.json"]


def test_what_the_file_says_of_itself(cli, checkpoint, picture, tmp_path):
    """Names and preset come from its metadata; --resize changes the size and nothing else."""
    preset = SemanticSegmentation(resize_size=300, mean=(0.5, 0.5, 0.5))
    palette = [[250, 10 * index, 0] for index in range(5)]
    metadata = {"categories": json.dumps(NAMES), "transforms": json.dumps(preset.to_dict())}
    state(checkpoint, tmp_path / "own.safetensors", metadata | {"palette": json.dumps(palette)})
    picture().save(tmp_path / "a.png")
    options = [
        "--weights",
        tmp_path / "own.safetensors",
        "--resize",
        64,
        "--output",
        tmp_path / "out",
        "--classes",
        "Über",
    ]
    assert cli("segment", tmp_path / "a.png", *options).status == 0
    summary = summary_of(tmp_path / "out")
    assert summary["categories"] == NAMES
    assert summary["transforms"] == dataclasses.replace(preset, resize_size=64).to_dict()
    with Image.open(tmp_path / "out" / "a_labels.png") as labels:
        assert labels.getpalette()[:15] == np.ravel(palette).tolist()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_file_name_that_is_no_text(cli, checkpoint, picture, tmp_path, monkeypatch):
    """From an old disc: its bytes can be neither printed nor written as UTF-8. And ":dog:" is no emoji."""
    name = os.fsdecode(b"\xe9:dog:[b].png")
    picture().save(tmp_path / name)
    status, out, err = cli(
        "segment", tmp_path, "--weights", checkpoint, "--resize", 64, "--output", tmp_path / "out"
    )
    assert (status, err) == (0, "")
    assert "\\udce9:dog:[b].png (60 x 48)" in out
    assert summary_of(tmp_path / "out")["images"][0]["source"] == str(tmp_path / name)


def state(checkpoint, target, metadata):
    """Copies the checkpoint, with these metadata in place of its own."""
    conversion = load_model_file(checkpoint)
    own = {name: conversion.metadata[name] for name in ("format", "spec")}
    write_safetensors(target, conversion.params, own | metadata)


def preset(**changes):
    return json.dumps(SemanticSegmentation().to_dict() | changes)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"categories": "not json"}, "categories: expected JSON, got 'not json'"),
        ({"categories": "3"}, "categories: expected a list, got 3"),
        ({"categories": "[1, 2, 3, 4, 5]"}, "categories: expected a list of names"),
        ({"categories": '["a", "b"]'}, "categories: expected 5, one for each class, got 2"),
        ({"categories": "[" * 10**5}, ""),
        ({"transforms": "[]"}, ""),
        ({"transforms": '{"name": "Flip"}'}, "transforms: expected the name of a preset"),
        (
            {"transforms": json.dumps(ImageClassification(crop_size=224).to_dict())},
            "transforms: expected a preset that keeps the whole picture, got ImageClassification",
        ),
        (
            {"transforms": preset(resize_size="520")},
            "transforms: resize_size: expected a length of at least 1",
        ),
        ({"transforms": preset(resize_size=-5)}, "transforms: resize_size: expected a length of at least 1"),
        ({"transforms": preset(mean=[1, 2])}, ""),
        ({"transforms": preset(std={})}, ""),
    ],
)
def test_metadata_that_make_no_sense(cli, wrong, checkpoint, metadata, message):
    state(checkpoint, wrong / "odd.safetensors", metadata)
    status, out, err = cli("segment", "a.png", "--weights", "odd.safetensors")
    assert (status, out) == (1, "")
    assert err.startswith(f"fcn-jax: error: odd.safetensors: its metadata are not as expected: {message}")
    assert not (wrong / "segmented").exists()


@pytest.fixture
def wrong(tmp_path, checkpoint, port, classifier, picture, monkeypatch):
    """A working folder with a good picture, good weights, and much that is wrong."""
    os.link(checkpoint, tmp_path / "seeded.safetensors")
    os.link(classifier, tmp_path / "vgg16.pth")
    (tmp_path / "truncated.pth").write_bytes(port.read_bytes()[:30_000])
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "empty").mkdir()
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "a_labels.png")
    Image.new("RGB", (20, 8000)).save(tmp_path / "long.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


GOOD = ["a.png", "--weights", "seeded.safetensors"]
FAILURES = {
    "missing": (
        ["no.jpg", "no"],
        "no.jpg, no: expected a picture or a folder of pictures, there is no such file",
    ),
    "empty_folder": (["empty"], "empty: expected pictures in this folder, found none"),
    "unknown_class": (
        [*GOOD, "--classes", "class 0,clas 1"],
        "--classes: expected a class, got 'clas 1'; did you",
    ),
    "class_too_high": ([*GOOD, "--classes", "5"], "--classes: expected a class from 0 to 4, got 5"),
    "class_below_0": (
        [*GOOD, "--classes", "0,-1"],
        "--classes: expected a class, got '-1'; there are class 0, ",
    ),
    "resize": ([*GOOD, "--resize", "-1"], "--resize: expected a length of at least 1, or None, got -1"),
    "contradiction": (
        [*GOOD, "--model", "fcn_resnet101"],
        "seeded.safetensors: expected the tensors of fcn_resnet101, got those of fcn8s_vgg16",
    ),
    "classifier": (
        ["a.png", "--weights", "vgg16.pth"],
        "vgg16.pth: expected weights of a segmentation model, one of fcn_resnet50, fcn_resnet101, ",
    ),
    "truncated": (["a.png", "--weights", "truncated.pth"], "truncated.pth: "),
    "foreign": (["a.png", "--weights", "page.pth"], "page.pth: is a web page, not a checkpoint"),
    "picture_as_weights": (["a.png", "--weights", "a.png"], "a.png: is not a checkpoint"),
    "folder_as_weights": (["a.png", "--weights", "empty"], "empty: "),
    "no_weights": (
        ["a.png", "--weights", "fcn.pth"],
        "fcn.pth: --weights: there is no such checkpoint file",
    ),
    "no_such_name": (
        ["a.png", "--weights", "DEFAULTS"],
        "--weights: expected a checkpoint file, or DEFAULT, or another name of published weights "
        "(FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1, ",
    ),
    "other_models_weights": (
        ["a.png", "--model", "fcn_resnet50", "--weights", "FCN_ResNet101_Weights.DEFAULT"],
        "--weights: expected a checkpoint file, or DEFAULT, or another name of published weights "
        "(FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1, FCN_ResNet50_Weights.DEFAULT), got "
        "'FCN_ResNet101_Weights.DEFAULT'; there is no such file and no such name",
    ),
    "categories": (
        [*GOOD, "--categories", "three.txt"],
        "three.txt: expected 5 names, a class on each line, got 3",
    ),
    "no_categories": ([*GOOD, "--categories", "no.txt"], "no.txt: No such file or directory"),
    "categories_no_text": (
        [*GOOD, "--categories", "a.png"],
        "a.png: expected 5 names, a class on each line, got a",
    ),
    "output_is_a_file": (
        [*GOOD, "--output", "taken"],
        "--output taken: expected a folder, but taken is a file; choose another",
    ),
    "output_below_a_file": (
        [*GOOD, "--output", "taken/out"],
        f"--output {os.path.join('taken', 'out')}: expected a folder, but taken is a file; choose another",
    ),
    "overwriting": (
        ["a.png", "a_labels.png", "--weights", "seeded.safetensors", "--output", "."],
        "a_labels.png: could be overwritten by the output; choose another folder with --output",
    ),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_mistake_is_explained_and_nothing_is_written(cli, wrong, what):
    arguments, message = FAILURES[what]
    before = {path: path.stat().st_mtime_ns for path in wrong.rglob("*")}
    status, out, err = cli("segment", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"fcn-jax: error: {message}")
    assert {path: path.stat().st_mtime_ns for path in wrong.rglob("*")} == before


def test_an_unknown_model(cli, wrong):
    status, out, err = cli("segment", *GOOD, "--model", "fcn_resnet18")
    assert (status, out) == (2, "")
    assert "argument --model: invalid choice: 'fcn_resnet18'" in err
    assert "fcn_resnet101" in err


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ([], FCN_ResNet50_Weights.DEFAULT),
        (["--offline"], FCN_ResNet50_Weights.DEFAULT),
        (["--model", "fcn_resnet101"], FCN_ResNet101_Weights.DEFAULT),
        (["--weights", "FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1"], FCN_ResNet101_Weights.DEFAULT),
    ],
)
def test_published_weights_without_a_network(cli, wrong, monkeypatch, options, weights):
    if "--offline" in options:
        monkeypatch.delenv("FCN_JAX_OFFLINE")
    status, out, err = cli("segment", "a.png", *options)
    assert (status, out) == (1, "")
    assert err.startswith(f"fcn-jax: error: cannot get {weights!r} ({weights.file_name})\n")
    assert weights.url in err  # what to fetch elsewhere
    assert f"put the file at\n    {wrong / 'cache' / weights.file_name}\n" in err
    assert err.endswith("\n  or anywhere, and pass its path as --weights\n")
    assert not (wrong / "segmented").exists()
    assert ("FCN_JAX_OFFLINE" in os.environ) == (
        "--offline" not in options
    )  # a call changes nothing for the next


def test_a_file_of_many_pixels_is_refused_unless_asked_for(cli, wrong, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    status, _, err = cli("segment", "a.png", "--weights", "seeded.safetensors")
    assert status == 1
    assert err.endswith("crop it first or raise --max-pixels\n")
    small = ["a.png", "--weights", "seeded.safetensors", "--resize", 64]
    assert cli("segment", *small, "--max-pixels", 60 * 48)[0] == 0
    assert cli("segment", *small, "--max-pixels", 60 * 48 - 1)[0] == 1
    assert Image.MAX_IMAGE_PIXELS == 10  # as before
    assert "--max-pixels: expected at least 1" in cli("segment", "a.png", "--max-pixels", 0).err


def test_a_picture_too_long_is_refused_with_numbers(cli, wrong):
    status, out, err = cli("segment", "long.png", "--weights", "seeded.safetensors", "--output", "out")
    assert status == 1
    assert out == f"0 of 1 segmented, into out{os.sep}\n"
    assert err.startswith("fcn-jax: error: long.png: expected a picture of at most 8,000,000 pixels")
    assert "got 20 x 8000, which becomes 720 x 208200 = 149,904,000" in err
    assert "; crop it, or choose a smaller --resize\n" in err
    summary = summary_of(wrong / "out")
    (failed,) = summary["failed"]
    assert (failed["source"], failed["path"]) == ("long.png", str(wrong / "long.png"))
    assert failed["error"] == err.removeprefix("fcn-jax: error: ").rstrip()
    assert [path.name for path in (wrong / "out").iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (MemoryError(), "there is not enough memory"),
        (OutOfMemoryError("out of memory", hint="try {tile}"), "out of memory; try --tile"),
        (ArrayError("expected finite logits"), "expected finite logits"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED"), "there is not enough memory: RESOURCE_EXHAUSTED"),
    ],
)
def test_one_failure_does_not_stop_the_others(cli, wrong, monkeypatch, failure, said):
    """And each is told with its picture's name, also if the stream cannot tell whose failure it is."""

    def fail(self, source):
        raise failure

    def fail_ahead(self, sources, on_error):
        if list(sources):
            raise failure
        yield from ()

    monkeypatch.setattr(Segmenter, "stream", fail_ahead)
    monkeypatch.setattr(Segmenter, "__call__", fail)
    status, _, err = cli("segment", "a.png", "long.png", "--weights", "seeded.safetensors")
    assert status == 1
    complaints = err.splitlines()
    for name, complaint in zip(("a.png", "long.png"), complaints, strict=True):
        assert complaint.startswith(f"fcn-jax: error: {name}: ")
        assert said in complaint
    assert [item["source"] for item in summary_of(wrong / "segmented")["failed"]] == ["a.png", "long.png"]


def test_a_picture_beside_its_output_is_safe():
    """Only a name that the output could take is refused: dog_park.jpg stays dog_park.jpg."""

    def check(*names, output="."):
        sources = [Found(Path(name), name) for name in names]
        check_output(sources, output_stems(sources), Path(output))

    check("dog.jpg", "dog_park.jpg", "dogs.png")
    check("dog.jpg", "dog_labels.png", output="no-such-folder")
    for name in ("dog_labels.png", "dog_anything.PNG"):
        with pytest.raises(SettingError, match=f"{name}: could be overwritten"):
            check("dog.jpg", name)


def test_stems_differ():
    def stems(*names):
        return output_stems([Found(Path(name), name) for name in names])

    assert stems("a/x.png", "b/x.jpg", "c/X.png", "x-2.png") == ["x", "x-2", "X-3", "x-2-2"]


def test_classes_by_name_or_index():
    categories = ("sky", "7", "a b")
    assert class_indices("2, sky,7,", categories) == [2, 0, 1]
    assert class_indices("", categories) == []


def test_a_terminal_without_the_letters():
    assert printable("Über 100 %", "ascii") == "\\xdcber 100 %"
    assert printable("Über 100 %", "utf-8") == "Über 100 %"


def test_arrays_of_many_channels(cli, tmp_path):
    sizes = {"features": (4, 6, 8, 8, 8), "fc_features": 8}
    model = fcn_jax.fcn8s_vgg16(num_classes=3, in_channels=4, rngs=nnx.Rngs(0), **sizes)
    model.eval()
    random = np.random.default_rng(0)
    scores = model.score_pool3
    scores.kernel.set_value(random.standard_normal(scores.kernel.shape, np.float32))
    logits = nnx.jit(lambda model, images: model(images))(
        model, random.standard_normal((1, 40, 50, 4), np.float32)
    )["out"]
    scores.bias.set_value(-logits.mean((0, 1, 2)))  # so that each class wins somewhere
    model.update_meta(transforms=Multiband(mean=(1500.0,) * 4, std=(900.0,) * 4))
    fcn_jax.save_weights(model, tmp_path / "four.safetensors")
    fields = tmp_path / "fields"
    fields.mkdir()
    for name, shape in (("a", (40, 50, 4)), ("b", (41, 33, 4)), ("c", (41, 33, 3))):
        np.save(fields / f"{name}.npy", random.integers(0, 3000, shape).astype(np.uint16))
    arguments = ("--weights", tmp_path / "four.safetensors", "--output", tmp_path / "out")
    status, out, err = cli("segment", fields, *arguments)
    assert (status, out.splitlines()[-1]) == (1, f"2 of 3 segmented, into {tmp_path / 'out'}/")
    assert err == f"fcn-jax: error: {fields}/c.npy: expected 4 channels, got 3 (uint16 (41, 33, 3))\n"
    for name in "ab":
        labels = np.asarray(Image.open(tmp_path / "out" / f"{name}_labels.png"))
        assert len(np.unique(labels)) > 1
        np.testing.assert_array_equal(labels, Segmenter(model)(fields / f"{name}.npy").labels)
