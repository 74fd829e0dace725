"""Models onto a stand-in for the hub and back, their cards, and every way in which that fails."""

import json
import re

import numpy as np
import pytest

import fcn_jax
from fcn_jax.cli import main
from fcn_jax.models.arrays import named_variables
from fcn_jax.weights.hub import HubError
from tests.seeded import seeded_paper_state_dict
from tests.weights.hub.conftest import connect, hub  # noqa: F401
from tests.weights.hub.stand_in import TOKEN

# What the client itself does.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=")
NAMES = ("road", "grass", "sky")


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture(scope="module")
def model():
    model = fcn_jax.load_model(seeded_paper_state_dict("fcn32s_vgg16", 3))
    model.update_meta(categories=NAMES)
    return model


def same(one, other):
    arrays = named_variables(other)
    return all(np.array_equal(array[...], arrays[name][...]) for name, array in named_variables(one).items())


def test_there_and_back(hub, token, model):  # noqa: F811
    name = fcn_jax.push_to_hub(model, "user/fields", licence="apache-2.0", data="200 aerial pictures")
    found = fcn_jax.load_model("hf://user/fields")
    assert same(model, found)
    assert (found.spec, found.meta) == (model.spec, model.meta)
    assert name.revision == hub.repositories["user/fields"].branches["main"]
    assert same(model, fcn_jax.load_model(str(name)))
    other = fcn_jax.fcn32s_vgg16(weights="hf://user/fields")
    assert same(model, other)
    fcn_jax.load_weights(other, "hf://user/fields/model.safetensors")
    card = hub.repositories["user/fields"].commits[name.revision]["README.md"].decode()
    assert "license: apache-2.0" in card
    assert "200 aerial pictures" in card
    for line in ("0. road", "1. grass", "2. sky", str(model.spec)):
        assert line in card


def test_the_lines_of_a_card_work(hub, token, model, tmp_path, monkeypatch, capsys):  # noqa: F811
    from PIL import Image

    fcn_jax.push_to_hub(model, "user/fields")
    card = hub.repositories["user/fields"].commits[hub.repositories["user/fields"].branches["main"]][
        "README.md"
    ]
    assert b"license: unknown" in card
    assert card.count(b"to be filled in") == 3  # scores, data, licence
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (24, 32, 3), dtype=np.uint8)).save("picture.jpg")
    (python,) = re.findall(r"```python\n(.*?)```", card.decode(), re.DOTALL)
    exec(python, {})
    assert (tmp_path / "masks" / "picture_labels.png").exists()
    (line,) = re.findall(r"^fcn-jax (.*)$", card.decode(), re.MULTILINE)
    assert main([*line.split(), "--write", "labels"]) == 0
    assert (tmp_path / "segmented" / "picture_labels.png").exists()


def test_a_training_starts_from_there(hub, token, model):  # noqa: F811
    pytest.importorskip("optax")
    from fcn_jax.categories import voc_palette
    from fcn_jax.training.command_line import parse_config
    from fcn_jax.training.setup import build_model

    fcn_jax.push_to_hub(model, "user/fields")
    words = "--model fcn32s_vgg16 --features 4 6 8 10 12 --fc-features 16 --weights hf://user/fields"
    assert same(model, build_model(parse_config(words.split()), NAMES, voc_palette(256)))


def test_a_card_that_is_there_stays(hub, token, model):  # noqa: F811
    repository = hub.add("user/fields", {"README.md": b"mine"})
    name = fcn_jax.push_to_hub(model, "user/fields")
    assert repository.commits[name.revision]["README.md"] == b"mine"
    assert "model.safetensors" in repository.commits[name.revision]


def test_a_branch(hub, token, model):  # noqa: F811
    hub.add("user/fields", {"README.md": b"mine"})
    fcn_jax.push_to_hub(model, "hf://user/fields@trial")
    assert same(model, fcn_jax.load_model("hf://user/fields@trial"))
    with pytest.raises(HubError, match="no file of weights"):
        fcn_jax.load_model("hf://user/fields")


def test_the_command(hub, token, model, tmp_path, capsys):  # noqa: F811
    """A run's scores go along, into the file and onto the card."""
    path = tmp_path / "best.safetensors"
    scores = {"split": "val", "size": "original", "pictures": 7, "step": 40, "mean_iou": 0.641}
    fcn_jax.save_weights(model, path, facts={"evaluation": json.dumps(scores)})
    assert main(["push", str(path), "user/fields", "--private", "--licence", "mit"]) == 0
    assert "--weights hf://user/fields\n" in capsys.readouterr().out
    repository = hub.repositories["user/fields"]
    assert repository.private
    card = repository.commits[repository.branches["main"]]["README.md"].decode()
    assert "64.1% on the split `val` (7 pictures, scored at the size `original`), after step 40" in card
    copy = tmp_path / "copy.safetensors"
    assert main(["convert", "hf://user/fields", str(copy)]) == 0
    assert json.loads(fcn_jax.load_model(copy) and _metadata(copy)["evaluation"]) == scores


def _metadata(path):
    from weights_converter import load_model_file

    return load_model_file(path).metadata


def refused(model, *arguments, **settings):
    with pytest.raises(HubError) as raised:
        fcn_jax.push_to_hub(model, *arguments, **settings)
    assert "\n  what to do: " in str(raised.value)
    return str(raised.value)


def test_one_message_for_each_mistake(hub, model, monkeypatch, tmp_path):  # noqa: F811
    text = refused(model, "user/fields")
    assert "there is no token" in text
    assert "hf auth login" in text
    assert "does not let this account write to user/fields" in refused(model, "user/fields", token="hf_wrong")
    with pytest.raises(fcn_jax.SettingError, match="expected a name as hf://user/repo"):
        fcn_jax.push_to_hub(model, "fields")
    with pytest.raises(fcn_jax.WrongTypeError):
        fcn_jax.push_to_hub("model", "user/fields", token=TOKEN)
    monkeypatch.setenv("FCN_JAX_OFFLINE", "1")
    assert "FCN_JAX_OFFLINE" in refused(model, "user/fields", token=TOKEN)
    assert hub.repositories == {}
    connect(monkeypatch, tmp_path, "http://127.0.0.1:9")
    assert "the hub cannot be asked" in refused(model, "user/fields", token=TOKEN)


def test_weights_of_others(hub, cli_status):  # noqa: F811
    """A file of weights that no family knows is named as any other file."""
    from weights_converter import write_safetensors

    status, err = cli_status(hub, write_safetensors)
    assert status == 1
    assert "of no" in err or "no architecture" in err


@pytest.fixture
def cli_status(tmp_path, capsys):
    def run(server, write):
        path = tmp_path / "model.safetensors"
        write(path, {"transformer.h.0.weight": np.zeros((2, 2), np.float32)}, {})
        server.add("user/text", {"model.safetensors": path.read_bytes()})
        status = main(["convert", "hf://user/text", str(tmp_path / "out.safetensors")])
        return status, capsys.readouterr().err

    return run
