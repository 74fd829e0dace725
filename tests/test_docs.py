"""What the pages say is so: their lines run, links lead somewhere, the packages and targets they name exist.

A block runs unless a comment above it says why it cannot: `<!-- wants a GPU -->`. Then it is parsed. All
pages share one folder, which holds

  fcn8s.pth, fcn8s.safetensors   a narrow network of 21 classes with random weights
  dog.jpg, photos/               small pictures
  fields/                        pictures with labels of three classes
  a stand-in for the hub         with the repository user/fields

Trainings make two steps, whatever the page says.
"""

import contextlib
import io
import re
import shlex
import tomllib
import traceback

import jax
import numpy as np
import pytest
import yaml
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

import fcn_jax
from fcn_jax.certificate import comparison
from fcn_jax.cli import main
from fcn_jax.cli.main import build_parser
from fcn_jax.training.command_line import parse_config
from tests.pages import DOCS, PAGES, SHELL, anchors, blocks, prose, run_python
from tests.seeded import seeded_paper_state_dict
from tests.sources import ROOT
from tests.weights.hub import stand_in
from tests.weights.hub.conftest import connect
from tests.weights_converter.legacy_writer import write_torch_legacy

RUN = [path for path in PAGES if path.is_relative_to(DOCS) and path.parent.name != "api" and blocks(path)]
QUICK = ["--steps", "2", "--eval-every", "2", "--checkpoint-every", "2", "--batch-size", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the pages name in it."""
    folder = tmp_path_factory.mktemp("pages")
    random = np.random.RandomState(0)
    tensors = seeded_paper_state_dict("fcn8s_vgg16", 21).items()
    write_torch_legacy(folder / "fcn8s.pth", {name: array.astype(np.float32) for name, array in tensors})
    model = fcn_jax.load_model(folder / "fcn8s.pth")
    fcn_jax.save_weights(model, folder / "fcn8s.safetensors", categories=fcn_jax.VOC_CATEGORIES)
    for name in ("photos", "fields/images", "fields/labels"):
        (folder / name).mkdir(parents=True)
    for name in ("dog.jpg", "photos/dog.jpg", "photos/street.jpg"):
        _patches(random).save(folder / name)
    for index in range(10):
        _patches(random).save(folder / f"fields/images/{index}.jpg")
        labels = Image.fromarray(random.randint(0, 3, (6, 8), dtype=np.uint8))
        labels.resize((64, 48), Image.Resampling.NEAREST).save(folder / f"fields/labels/{index}.png")
    (folder / "fields" / "classes.txt").write_text("soil\ncrop\nroad\n")
    return folder


def _patches(random):
    values = random.randint(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((64, 48), Image.Resampling.NEAREST)


@pytest.fixture
def workplace(folder, monkeypatch):
    """The folder as current folder, a hub that answers, and no other network."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FCN_JAX_CACHE", str(folder / "cache"))
    monkeypatch.setattr(comparison, "INPUTS", ((1, 9, 9),))  # one size to compile for
    with stand_in.serving() as hub:
        with contextlib.suppress(pytest.skip.Exception):
            connect(monkeypatch, folder, hub.address)
        monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
        hub.add("user/fields", {"model.safetensors": (folder / "fcn8s.safetensors").read_bytes()})
        before = jax.config.jax_compilation_cache_dir
        yield folder
    if jax.config.jax_compilation_cache_dir != before:  # a page chose a folder in the current one
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()


@pytest.mark.filterwarnings("ignore:Use .content=")  # of the hub's client
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_the_lines_of_a_page_run(path, workplace):
    names = {"__name__": "__main__"}
    for block in blocks(path):
        if block.language == "python":
            _run_or_compile(path, block, names)
        elif block.language in SHELL:
            for line, words in block.commands():
                _command(words, f"line {line} of {path.name}", run=block.why_not is None)
        else:
            assert block.language == "yaml", f"line {block.line} of {path.name}: nothing here runs that"
            for words in _commands_of_job(block.text):
                _command(words, f"line {block.line} of {path.name}", run=False)


def _run_or_compile(path, block, names):
    if block.why_not is not None:
        compile(block.text, str(path), "exec")
        return
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run_python(path, block, names)
    except ImportError as error:
        if "huggingface_hub" not in str(error):
            raise
        pytest.skip(str(error))
    except Exception:
        pytest.fail(f"the Python block at line {block.line} of {path.name} fails:\n{traceback.format_exc()}")


def _command(words, where, run):
    """Runs a command of ours; other commands must be among those that are known here."""
    if words[0] == "taskset":
        words = words[3:]
    if words[0] == "srun":
        words, run = words[1:], False
    if words[0] == "export":
        assert re.fullmatch(r"[A-Z_]+=[\w.]+", words[1]), where
        return
    if words[:3] == ["hf", "auth", "login"]:
        return
    assert words[0] == "fcn-jax", f"{where}: {shlex.join(words)} is not known here"
    words = [word.replace("$SLURM_ARRAY_TASK_ID", "2") for word in words[1:]]
    run = run and not any("hf://" in word for word in words)
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        try:
            status = _run_quickly(words) if run else _parse(words)
        except SystemExit as end:
            status = end.code
    if status != 0 and "pip install 'fcn_jax[" in said.getvalue():
        pytest.skip(said.getvalue())  # an extra is not installed here
    assert status == 0, f"{where}, fcn-jax {shlex.join(words)}: {said.getvalue()}"


def _run_quickly(words):
    return main(words + QUICK if words[0] == "train" else words)


def _parse(words):
    if words[0] == "train":
        assert parse_config(words[1:]).output
    else:
        build_parser().parse_args(words)
    return 0


def _commands_of_job(text):
    """The commands of a Kubernetes job, with the index of its first pod."""
    job = yaml.safe_load(text)
    for container in job["spec"]["template"]["spec"]["containers"]:
        *_, command = container["command"]
        yield shlex.split(command.replace("$((JOB_COMPLETION_INDEX + 1))", "1"))


def test_blocks_that_cannot_run_are_few():
    """Each says why; the others run."""
    found = [block for path in RUN for block in blocks(path, "python", "bash")]
    assert len(found) > 40
    assert sum(block.why_not is not None for block in found) < 0.4 * len(found)


def test_the_links_lead_somewhere():
    wrong = []
    for path in PAGES:
        for link in LINKS.findall(prose(path)):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and anchor not in anchors(target)):
                wrong.append(f"{path.relative_to(ROOT)}: {link}")
    assert not wrong, "\n".join(wrong)


LINKS = re.compile(r"\]\(\s*<?([^)\s>]+)")


def test_every_page_is_in_the_navigation():
    navigation = re.findall(
        r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(navigation) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_what_the_pages_name_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    wrong = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        extras = [extra for found in re.findall(r"\[([\w,]+)\]'", text) for extra in found.split(",")]
        wrong += [
            f"{path.name}: extra {each}" for each in extras if each not in project["optional-dependencies"]
        ]
        targets = re.findall(r"(?:^ {4}|`)make ([a-z][\w-]*)", text, re.MULTILINE)
        wrong += [f"{path.name}: make {each}" for each in targets if f"\n{each}:" not in makefile]
        files = re.findall(r"(?:pytest|python) ((?:tests|scripts)/[\w/.]+)", text)
        wrong += [f"{path.name}: {each}" for each in files if not (ROOT / each).exists()]
    assert not wrong, "\n".join(wrong)


def test_the_api_pages_name_what_exists():
    import importlib

    wrong = []
    for path in (DOCS / "api").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            module, _, attribute = name.rpartition(".")
            try:
                importlib.import_module(name)
            except ImportError:
                if not hasattr(importlib.import_module(module), attribute):
                    wrong.append(name)
    assert not wrong, "\n".join(wrong)
