"""fcn-jax check: table, faults and exit status; and what a training run says before its first step."""

import numpy as np
import pytest

from fcn_jax.datasets import DatasetError
from fcn_jax.training import Run
from tests.datasets.made_files import random_image, turned, write
from tests.training.tiny_run import tiny_config

MASK = np.random.default_rng(0).integers(0, 2, (9, 7)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Writes a folder of twelve pictures; returns its path."""

    def write_folder(values=(0, 1), classes="background\nroad\n", turns=""):
        for name in "abcdefghijkl":
            options = {"exif": turned(6)} if name in turns else {}
            write(tmp_path / "images" / f"{name}.png", random_image(0, (9, 7)), **options)
            write(tmp_path / "labels" / f"{name}.png", np.array(values, np.uint8)[MASK])
        (tmp_path / "classes.txt").write_text(classes)
        return tmp_path

    return write_folder


def test_a_whole_dataset(cli, folder):
    status, out, err = cli("check", "--data-dir", folder())
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "train: 11 pictures, labels of 11 read"
    background, road = 11 * (MASK == 0).sum(), 11 * MASK.sum()
    assert out.splitlines()[2].split()[:3] == ["0", "background", str(background)]
    assert out.splitlines()[3].split() == ["1", "road", str(road), f"{road / (11 * 63):.3%}", "11"]
    assert out.splitlines()[-1] == "no faults"


def test_faults_are_listed_with_what_to_do(cli, folder):
    status, out, _ = cli("check", "--data-dir", folder(values=(0, 255), turns="ck"), "--split", "train")
    assert status == 1
    for line in (
        "stops a training run:",
        "  2 pictures that EXIF asks to turn",
        "  1 split with nothing to learn",
    ):
        assert line in out.splitlines()
    assert "c.png: expected a picture that is stored upright" in out
    assert "say so with --values 0,255" in out
    assert out.splitlines()[-1] == "3 stops a training run, 0 spoils a training run, 0 worth knowing"


def test_the_options_of_label_values(cli, folder):
    root = folder(values=(0, 255))
    assert cli("check", "--data-dir", root, "--values", "0,255").status == 0
    root = folder(values=(1, 2))
    assert cli("check", "--data-dir", root).status == 1
    assert cli("check", "--data-dir", root, "--zero-is-void").status == 0
    status, _, err = cli("check", "--data-dir", root, "--void", "x")
    assert (status, err) == (
        1,
        "fcn-jax: error: --void: expected label values of at least 0, such as 0,255, got 'x'\n",
    )
    status, _, err = cli("check", "--dataset", "scenes", "--void", "0")
    assert (status, err.partition(" got")[0]) == (
        1,
        "fcn-jax: error: --void: expected no such option for the dataset scenes,",
    )


def test_channels(cli, tmp_path):
    for number, channels in enumerate((5, 5, 4)):
        name = f"{number}.npy"
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        np.save(tmp_path / "images" / name, np.zeros((*MASK.shape, channels), np.uint16))
        np.save(tmp_path / "labels" / name, MASK)
    (tmp_path / "classes.txt").write_text("soil\ncrop\n")
    arguments = "check", "--data-dir", tmp_path, "--split", "train"
    status, out, _ = cli(*arguments, "--in-channels", 5)
    assert status == 1
    assert "2.npy: expected 5 channels, got 4" in out
    assert "0.npy" not in out
    assert cli("check", "--dataset", "scenes", "--in-channels", 5).status == 1


def opened(root, output, **changes):
    with Run(tiny_config(output, dataset="folder", data_dir=root, **changes)) as run:
        run.open_folder()
        run.open_data()
    return run


def test_a_run_says_before_its_first_step_what_would_stop_it(folder, tmp_path):
    root = folder(turns="bck")
    with pytest.raises(DatasetError, match=r"^\d pictures that EXIF asks to turn: .*c.png, k.png.*; "):
        opened(root, tmp_path / "run")
    opened(root, tmp_path / "run", check_data=False)


def test_a_run_says_what_would_spoil_it_and_goes_on(folder, tmp_path, caplog):
    opened(folder(classes="background\nroad\nghost\n"), tmp_path / "run")
    assert "spoils a training run: 1 class without any pixel: ghost (in 11 label files" in caplog.text


def test_a_run_takes_the_options_of_label_values(folder, tmp_path, caplog):
    root = folder(values=(0, 255))
    with pytest.raises(DatasetError, match=r"^1 split with nothing to learn: only background has pixels"):
        opened(root, tmp_path / "run")
    run = opened(root, tmp_path / "run", values="0,255")
    assert np.unique(run.train_set[0].labels).tolist() == [0, 1]
