"""Which pictures a command line names, in what order, and in which shard."""

import io
import os
import sys
import time
from pathlib import Path

import pytest

from fcn_jax.cli.segmenting.naming import check_output, output_stems
from fcn_jax.cli.segmenting.pictures import Found, find_pictures, parse_shard, read_list
from fcn_jax.errors import SettingError
from fcn_jax.images import ImageError


@pytest.fixture
def tree(tmp_path):
    """A folder with folders; only names matter here."""
    files = [
        "b.png",
        "a.jpg",
        "x/c.png",
        "x/y/a.png",
        "x/y/notes.txt",
        ".hidden/d.png",
        "x/.d.png",
        "out/a.png",
    ]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def test_folders_of_a_folder_are_searched_if_asked_for(tree):
    (tree / "loop").symlink_to(tree, target_is_directory=True)
    flat = find_pictures([str(tree)])
    assert [found.name for found in flat] == ["a.jpg", "b.png"]
    deep = find_pictures([str(tree)], recursive=True, output=tree / "out")
    assert [(found.name, found.folder) for found in deep] == [
        ("a.jpg", ""),
        ("b.png", ""),
        ("x/c.png", "x"),
        ("x/y/a.png", "x/y"),
    ]
    assert [found.path for found in deep] == [tree / found.name for found in deep]
    assert output_stems(deep) == ["a", "b", "x/c", "x/y/a"]


def test_a_folder_with_pictures_only_below(tree):
    with pytest.raises(ImageError, match="found none; --recursive looks into its folders too"):
        find_pictures([str(tree / "x" / "y" / ".."), str(tree / "x" / "y"), str(make(tree / "top" / "in"))])
    with pytest.raises(ImageError, match=r"found none$"):
        find_pictures([str(tree / "top")], recursive=True)


def make(folder):
    folder.mkdir(parents=True)
    return folder.parent


def test_a_picture_named_twice_is_done_once(tree, monkeypatch):
    monkeypatch.chdir(tree)
    found = find_pictures(["b.png", ".", str(tree / "b.png"), "./a.jpg"])
    assert [each.name for each in found] == ["b.png", "a.jpg"]


def test_a_list(tmp_path, monkeypatch):
    content = b"a.png\r\n\n  \nb c.png\n# d.png\n" + os.fsencode("\udce9.png")
    (tmp_path / "list.txt").write_bytes(content)
    paths = ["a.png", "b c.png", "# d.png", "\udce9.png"]
    assert read_list(str(tmp_path / "list.txt")) == paths
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read_list("-") == paths


@pytest.mark.parametrize(
    ("content", "got"), [(b"\n \n", "no line with text"), (b"a\nb\0c\n", "zero bytes in line 2")]
)
def test_a_list_that_is_none(tmp_path, content, got):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SettingError, match=f"list.txt: expected paths of pictures, one a line, got {got}"):
        read_list(str(tmp_path / "list.txt"))


def test_each_picture_belongs_to_one_shard():
    names = [f"folder/{number:05}.jpg" for number in range(4000)]
    for total in (1, 3, 8):
        shards = [parse_shard(f"{number}/{total}") for number in range(1, total + 1)]
        owners = [[shard.number for shard in shards if shard.has(name)] for name in names]
        assert {len(owner) for owner in owners} == {1}
        sizes = [sum(owner == [shard.number] for owner in owners) for shard in shards]
        assert min(sizes) > 0.8 * len(names) / total


def test_a_shard_is_the_same_everywhere(tree):
    """Known answers, from `sha256sum`; and where the folder itself lies does not count."""
    names = ["a.png", "b.png", "c/d.png", "Über.jpg", "\udce9.png"]
    assert [next(i for i in range(1, 8) if parse_shard(f"{i}/7").has(name)) for name in names] == [
        2,
        4,
        3,
        5,
        2,
    ]
    elsewhere = find_pictures([os.path.relpath(tree)], recursive=True)
    assert [found.name for found in elsewhere] == [
        found.name for found in find_pictures([str(tree)], recursive=True)
    ]


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "4", "a/b", "1/2/3", "-1/4", "1.5/4", "", "1 / 2", "²/3"]
)
def test_wrong_shards(text):
    with pytest.raises(
        SettingError, match=r"--shard: expected I/N with I from 1 to N, such as 2/8 .*, got '"
    ):
        parse_shard(text)


def test_many_pictures_are_named_at_once():
    """If every number is tried from the start, 20,000 pictures of one name take half a minute."""
    pictures = [Found(Path(f"{number}/x.png"), f"{number}/x.png") for number in range(20_000)]
    start = time.perf_counter()
    stems = output_stems(pictures)
    assert time.perf_counter() - start < 1
    check_output(pictures, stems, Path("no-such-folder"))
    assert time.perf_counter() - start < 5
    assert stems[:3] == ["x", "x-2", "x-3"]
    assert len(set(stems)) == 20_000


def test_a_picture_keeps_its_earlier_stem_and_no_other_gets_it():
    names = ["new/x.png", "old/x.png", "X.png"]
    pictures = [Found(Path(name), name) for name in names]
    earlier = {os.path.abspath("old/x.png"): "x", os.path.abspath("gone/x.png"): "x-2"}
    assert output_stems(pictures, earlier) == ["x-3", "x", "X-4"]


def test_a_picture_in_a_folder_of_the_output_is_safe(tmp_path):
    path = tmp_path / "out" / "sub" / "dog_labels.png"
    path.parent.mkdir(parents=True)
    pictures = [Found(path, "sub/dog_labels.png")]
    check_output(pictures, ["dog"], tmp_path / "out")  # another folder
    with pytest.raises(SettingError, match="could be overwritten"):
        check_output(pictures, ["sub/dog"], tmp_path / "out")


def test_patterns_that_no_shell_expanded(tree, monkeypatch):
    monkeypatch.chdir(tree)
    names = [found.name for found in find_pictures(["*.png", "x/**/*.png", "?.jpg"])]
    assert names == ["b.png", "x/c.png", "x/y/a.png", "a.jpg"]
    with pytest.raises(ImageError, match=r"^\*\.gif: expected pictures or folders .*, got no match"):
        find_pictures(["*.gif"])
    with pytest.raises(ImageError, match=r"got 1 others, such as x.y.notes.txt"):
        find_pictures(["x/y/*.txt"])
    (tree / "[1].png").touch()
    assert [found.name for found in find_pictures(["[1].png"])] == ["[1].png"]


def test_addresses_are_told_how():
    with pytest.raises(ImageError, match=r"is an address, .* curl -sL 'https://a.b/c.jpg' \|"):
        find_pictures(["https://a.b/c.jpg"])


def test_what_is_no_picture_is_named_or_left_alone(tmp_path, capsys):
    left = (
        "clip.mpg",
        "clip.mp4",
        "table.h5",
        "Thumbs.db",
        "._a.jpg",
        ".DS_Store",
        "field.grib",
        "notes.txt",
    )
    for name in ("a.JPG", "b.HEIC", "c.pdf", "d.PDF", "e.nef", *left):
        (tmp_path / name).touch()
    (tmp_path / "loop.png").symlink_to("loop.png")
    pipes = ["f.png"] if hasattr(os, "mkfifo") else []
    for name in pipes:
        os.mkfifo(tmp_path / name)
    assert [found.name for found in find_pictures([str(tmp_path)])] == ["a.JPG", "b.HEIC", "loop.png"]
    said = capsys.readouterr().err
    assert "c.pdf and 1 more: PDF: turn its pages into pictures first" in said
    assert "e.nef: camera raw" in said
    assert all(f"{name}: no file but a pipe" in said for name in pipes)
    assert not [name for name in left if name in said]


def test_long_names_are_cut_and_stay_apart():
    long = ["a" * 250 + "b.png", "a" * 250 + "c.png", "\u9053" * 83 + ".png"]
    stems = output_stems([Found(Path(name), name) for name in long])
    assert len(set(stems)) == 3
    assert all(len(os.fsencode(f"{stem}_overlay.png")) <= 255 for stem in stems)
    assert stems[2].startswith("\u9053" * 50)
