"""fcn-jax convert: both directions to the last bit, and nothing left behind by a failure."""

import errno
import json
import os

import numpy as np
import pytest

import fcn_jax
from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.cli.convert import metadata_for
from fcn_jax.transforms import CaffeSegmentation, SemanticSegmentation
from tests.seeded import seeded_paper_state_dict
from weights_converter import Conversion, ModelSpec, load_model_file, read_checkpoint, write_torch_zip
from weights_converter.__main__ import main as convert_without_jax
from weights_converter.writers import verified

PORT = "fcn8s_vgg16 (5 classes, widths 4, 6, 8, 10, 12, 16), 39 arrays"


def assert_same_tensors(one, other):
    """Names in order, dtypes, shapes and bits; the counters of batch norm too."""
    one, other = read_checkpoint(one), read_checkpoint(other)
    assert list(one) == list(other)
    for name, array in one.items():
        assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape)
        assert array.tobytes() == other[name].tobytes(), name


def test_there_and_back_bit_for_bit(cli, port, tmp_path):
    ours, back, again = tmp_path / "a.safetensors", tmp_path / "b.pth", tmp_path / "c.safetensors"
    status, out, err = cli("convert", port, ours)
    assert (status, err) == (0, "")
    assert out == f"{ours}: {PORT}\n"
    found = load_model_file(ours)
    assert found.metadata["source"] == "port.pth"
    assert json.loads(found.metadata["transforms"]) == CaffeSegmentation().to_dict()
    assert "categories" not in found.metadata
    assert cli("convert", ours, back).status == 0
    assert_same_tensors(port, back)
    assert cli("convert", back, again).status == 0
    assert_same_tensors(ours, again)
    assert sorted(tmp_path.iterdir()) == [ours, back, again]


def test_names_of_classes_go_along(cli, port, tmp_path):
    names, ours = tmp_path / "names.txt", tmp_path / "a.safetensors"
    names.write_text("sky\n\n  sea \nsand\nÜber\na b\n", encoding="utf-8-sig")  # as an editor may leave it
    assert cli("convert", port, ours, "--categories", names).status == 0
    assert json.loads(load_model_file(ours).metadata["categories"]) == ["sky", "sea", "sand", "Über", "a b"]
    assert cli("convert", ours, tmp_path / "b.safetensors").status == 0
    assert load_model_file(tmp_path / "b.safetensors").metadata == load_model_file(ours).metadata


VOC = json.dumps(VOC_CATEGORIES)
OWN, RESIZED = (json.dumps(SemanticSegmentation(resize_size=size).to_dict()) for size in (520, 64))


@pytest.mark.parametrize(
    ("spec", "stated", "added"),
    [
        ({"num_classes": 21}, {}, {"categories": VOC, "transforms": OWN}),
        ({"num_classes": 5}, {"transforms": RESIZED}, {"transforms": RESIZED}),  # the file's own word stands
        ({"name": "resnet50"}, {}, {}),
    ],
)
def test_what_the_metadata_get(spec, stated, added):
    spec = ModelSpec(**{"name": "fcn_resnet50"} | spec)
    conversion = Conversion(spec=spec, params={}, metadata=stated)
    assert metadata_for(conversion, preset=None, categories=None) == added


def test_the_preset_is_the_callers_word(cli, port, tmp_path):
    """For vgg16_from_caffe.pth and its like; what pictures go through follows, and nothing contradicts."""
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert cli("convert", port, first).status == 0
    assert cli("convert", first, second, "--preset", "torchvision").status == 0
    assert fcn_jax.load_model(first).transforms == CaffeSegmentation()
    assert fcn_jax.load_model(second).transforms == SemanticSegmentation(resize_size=None)
    assert load_model_file(second).metadata["preset"] == "torchvision"


def test_at_once_is_the_callers_word_too(cli, tmp_path):
    port, ours = tmp_path / "port.pth", tmp_path / "a.safetensors"
    write_torch_zip(port, seeded_paper_state_dict("fcn8s_atonce_vgg16"))
    assert cli("convert", port, ours, "--model", "fcn8s_atonce_vgg16").status == 0
    assert fcn_jax.load_model(ours).spec.name == "fcn8s_atonce_vgg16"
    out = cli("convert", ours, tmp_path / "back.pth").out
    assert "dropped names of classes and transforms" in out


def test_a_classifier_says_what_it_drops(cli, classifier, tmp_path):
    target = tmp_path / "backbone.safetensors"
    status, out, err = cli("convert", classifier, target)
    assert (status, err) == (0, "")
    assert out.startswith(f"{target}: vgg16 (an ImageNet classifier, widths 4, 6, 8, 10, 12, 16), ")
    assert "  dropped classifier.6.weight: " in out
    assert "  dropped classifier.6.bias: " in out


# What fails: arguments (in the folder of the fixture below), and how the message begins.
FAILURES = {
    "missing": (["no.pth", "a.safetensors"], "no.pth: "),
    "folder": (["folder", "a.safetensors"], "folder: "),
    "empty": (["empty.pth", "a.safetensors"], "empty.pth: "),
    "truncated": (["truncated.pth", "a.safetensors"], "truncated.pth: "),
    "foreign": (["page.pth", "a.safetensors"], "page.pth: is a web page, not a checkpoint"),
    "over_a_target": (["truncated.pth", "kept.safetensors"], "truncated.pth: "),
    "suffix": (
        ["port.pth", "a.onnx"],
        "a.onnx: expected a name that ends in one of .safetensors, .pth, .pt",
    ),
    "no_suffix": (
        ["port.pth", "kept"],
        "kept: expected a name that ends in one of .safetensors, .pth, .pt",
    ),
    "same": (["port.pth", "port.pth"], "port.pth: source and target are the same file"),
    "same_by_link": (["port.pth", "link.pth"], "port.pth: source and target are the same file"),
    "no_folder": (["port.pth", "no/a.safetensors"], "no/a.safetensors: cannot be written: No such file"),
    "target_folder": (["port.pth", "folder.pt"], "folder.pt: cannot be written: Is a directory"),
}
NAMES_FAILURES = {
    "four": (
        ["port.pth", "a.safetensors", "--categories", "four.txt"],
        "four.txt: expected 5 names, a class on each line, got 4; the background is a class too",
    ),
    "six": (["port.pth", "a.safetensors", "--categories", "six.txt"], "six.txt: expected 5 names"),
    "no_text": (
        ["port.pth", "a.safetensors", "--categories", "port.pth"],
        "port.pth: expected 5 names, a class on each line, got a file that is not UTF-8 text",
    ),
    "no_names": (["port.pth", "a.safetensors", "--categories", "no.txt"], "no.txt: No such file"),
    "names_in_pth": (
        ["port.pth", "a.pth", "--categories", "six.txt"],
        "--categories: only a .safetensors file can hold names of classes, not a.pth",
    ),
}


@pytest.fixture
def folder(tmp_path, port, monkeypatch):
    """A working folder with much that is wrong in it."""
    os.link(port, tmp_path / "port.pth")
    (tmp_path / "link.pth").symlink_to("port.pth")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "empty.pth").touch()
    (tmp_path / "truncated.pth").write_bytes(port.read_bytes()[:30_000])
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>not found</html>")
    (tmp_path / "kept.safetensors").write_text("precious")
    (tmp_path / "kept").write_text("precious")
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "six.txt").write_text("a\nb\nc\nd\ne\nf\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    """Everything in a folder, to be compared: what is small by content, what is large by size and time."""

    def seen(path):
        if path.is_file() and path.stat().st_size < 10**6:
            return path.read_bytes()
        return path.stat().st_size, path.stat().st_mtime_ns

    return {path: seen(path) for path in folder.rglob("*")}


@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("without_jax", [False, True])
def test_a_failure_is_explained_and_leaves_nothing(cli, folder, what, without_jax):
    arguments, message = FAILURES[what]
    before = contents(folder)
    if without_jax:
        status, out, err = cli(*arguments, entry=convert_without_jax)
    else:
        status, out, err = cli("convert", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"{'error' if without_jax else 'fcn-jax: error'}: {message}")
    assert contents(folder) == before


@pytest.mark.parametrize("what", NAMES_FAILURES)
def test_wrong_categories_leave_nothing(cli, folder, what):
    arguments, message = NAMES_FAILURES[what]
    before = contents(folder)
    status, out, err = cli("convert", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"fcn-jax: error: {message}")
    assert contents(folder) == before


def test_a_classifier_has_no_classes_to_name(cli, classifier, folder):
    status, _, err = cli("convert", classifier, "a.safetensors", "--categories", "six.txt")
    assert status == 1
    assert (
        "--categories: vgg16 (an ImageNet classifier, widths 4, 6, 8, 10, 12, 16) has no classes here to name"
        in err
    )


def test_tensors_of_another_network(cli, folder):
    write_torch_zip("other.pth", {"conv.weight": np.zeros((2, 3), np.float32)})
    status, _, err = cli("convert", "other.pth", "a.safetensors")
    assert status == 1
    assert err.startswith(
        "fcn-jax: error: other.pth: the tensors belong to no architecture known here; expected "
    )
    assert "conv.weight" in err


@pytest.mark.parametrize("target", ["kept.safetensors", "new.pth"])
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "cannot be written: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_cut_off_half_way(cli, folder, monkeypatch, target, error, status, said):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(verified, "_compare", fail)  # the bytes are written, but the file has no name yet
    before = contents(folder)
    ended = cli("convert", "port.pth", target)
    assert ended.status == status
    assert said in ended.err
    assert contents(folder) == before


def test_without_jax_too(cli, port, tmp_path):
    ours, back = tmp_path / "a.safetensors", tmp_path / "b.pt"
    status, out, err = cli(port, ours, entry=convert_without_jax)
    assert (status, err) == (0, "")
    assert out == f"{ours}: {PORT}\n"
    assert cli(ours, back, entry=convert_without_jax).status == 0
    assert_same_tensors(port, back)


@pytest.mark.parametrize("without_jax", [False, True])
def test_what_was_taken_is_said_and_may_be_chosen(cli, port, tmp_path, without_jax):
    tensors = {name: np.array(array) for name, array in read_checkpoint(port).items()}
    two = {f"student.{name}": array for name, array in tensors.items()}
    two |= {f"teacher.{name}": array + 1 for name, array in tensors.items()} | {"teacher.gate": np.ones(2)}
    write_torch_zip(tmp_path / "two.pth", two)

    def convert(*options):
        arguments = (tmp_path / "two.pth", tmp_path / "a.safetensors", *options)
        return cli(*arguments, entry=convert_without_jax) if without_jax else cli("convert", *arguments)

    status, _, err = convert()
    assert status == 1
    assert err.endswith("; choose one with --key, such as 'student'\n")
    status, out, _ = convert("--key", "student")
    assert status == 0
    assert "took the tensors of fcn8s_vgg16 behind 'student.'; passed over 'teacher' (40 tensors)" in out
    status, _, err = convert("--key", "teacher")
    assert status == 1
    assert "gate; --not-strict leaves out what has no place" in err
    status, out, _ = convert("--key", "teacher", "--not-strict")
    assert status == 0
    assert "dropped gate: strict=False: no place for it" in out
