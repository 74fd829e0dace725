"""The house rules: who imports whom, what stays unimported, and that everything public is explained."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fcn_jax", "weights_converter")
SOURCES = {package: sorted((ROOT / package).rglob("*.py")) for package in PACKAGES}

BUILDERS_USE = ("fcn_jax.models", "fcn_jax.weights.loading", "fcn_jax.weights", "weights_converter")
# What modules whose names begin so may import of the two packages. The longest beginning decides.
ARROWS = {
    "weights_converter": ("weights_converter",),
    "fcn_jax.categories": (),
    "fcn_jax.models.upsampling": (),
    "fcn_jax.images": (),
    "fcn_jax.visualization.panels": (),
    "fcn_jax.transforms": ("fcn_jax.images",),
    "fcn_jax.visualization": ("fcn_jax.images", "fcn_jax.visualization.panels"),
    "fcn_jax.weights": ("fcn_jax.weights", "fcn_jax.categories"),
    "fcn_jax.weights.loading": ("fcn_jax.models", "fcn_jax.transforms", "weights_converter"),
    "fcn_jax.models": ("fcn_jax.models", "fcn_jax.models.upsampling"),
    "fcn_jax.zoo": ("fcn_jax.zoo", *BUILDERS_USE),
    "fcn_jax.inference": (
        "fcn_jax.inference",
        "fcn_jax.categories",
        "fcn_jax.images",
        "fcn_jax.models",
        "fcn_jax.models.arrays",
        "fcn_jax.transforms",
        "fcn_jax.models.upsampling",
        "fcn_jax.visualization",
        "weights_converter",
    ),
    "fcn_jax.models.arrays": (),
    "fcn_jax.evaluation.metrics": (),
    "fcn_jax.visualization.confusion": (),
    "fcn_jax.datasets": (
        "fcn_jax.datasets",
        "fcn_jax.categories",
        "fcn_jax.images",
        "fcn_jax.transforms",
        "fcn_jax.visualization",
    ),
    "fcn_jax.evaluation": ("fcn_jax.datasets", "fcn_jax.inference", "fcn_jax.evaluation.metrics"),
    "fcn_jax.training": (
        "fcn_jax.training",
        "fcn_jax.weights.loading",
        "fcn_jax.datasets",
        "fcn_jax.evaluation.metrics",
        "fcn_jax.models",
        "fcn_jax.models.arrays",
        "fcn_jax.transforms",
        "fcn_jax.zoo",
        "weights_converter",
    ),
    "fcn_jax.cli": PACKAGES,
}
DISTRIBUTIONS = {  # where the name to import is not the name to install
    "PIL": "pillow",
    "absl": "absl-py",
    "orbax": "orbax-checkpoint",
}
# Which extras modules whose names begin so may import besides.
EXTRAS = {
    "fcn_jax.datasets": ("train", "coco", "sbd"),
    "fcn_jax.training": ("train", "tensorboard"),
    "fcn_jax.cli.demo": ("train",),
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Every module that a file imports, inside functions too."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            # `from fcn_jax import visualization` imports fcn_jax.visualization
            yield from (
                f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in node.names
            )


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def within(name, beginnings):
    return any(name == beginning or name.startswith(f"{beginning}.") for beginning in beginnings)


ALL_SOURCES = [path for paths in SOURCES.values() for path in paths]


@pytest.mark.parametrize("path", ALL_SOURCES, ids=map(module_name, ALL_SOURCES))
def test_imports_follow_the_arrows(path):
    module = module_name(path)
    if module == "fcn_jax":
        allowed = [name for name in ARROWS if name not in ("fcn_jax.cli", "fcn_jax.training")]
    else:
        rules = [beginning for beginning in ARROWS if within(module, [beginning])]
        assert rules, f"{module} has no arrows yet: say in ARROWS what it may import"
        allowed = ARROWS[max(rules, key=len)]
    ours = [name for name in imports(path) if within(name, PACKAGES)]
    assert [name for name in ours if not within(name, allowed)] == []


@pytest.mark.parametrize("path", ALL_SOURCES, ids=map(module_name, ALL_SOURCES))
def test_only_declared_packages_are_imported(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    for beginning, extras in EXTRAS.items():
        if within(module_name(path), [beginning]):
            optional = project["optional-dependencies"]
            requirements += [requirement for extra in extras for requirement in optional[extra]]
    declared = {requirement.partition(">=")[0] for requirement in requirements}
    if within(module_name(path), ["weights_converter"]):
        declared = {"numpy", "ml_dtypes", "safetensors"}
    tops = {name.partition(".")[0] for name in imports(path)}
    others = tops - set(sys.stdlib_module_names) - set(PACKAGES)
    assert {DISTRIBUTIONS.get(name, name) for name in others} <= declared


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists_and_is_explained(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or callable(value):
            explained = value.__doc__ or ""
            # What dataclasses and enums write by themselves is no explanation.
            assert explained, name
            assert not explained.startswith((f"{name}(", "An enumeration")), name


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "scripts"])
def test_every_module_is_explained(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def python(code, *arguments):
    """Runs code in a fresh interpreter in the repository's root; gives what it printed, word by word."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


IMPORTED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
EVERYTHING = """
import importlib, pkgutil
import weights_converter
for module in pkgutil.walk_packages(weights_converter.__path__, "weights_converter."):
    importlib.import_module(module.name)
"""


def test_the_converter_needs_numpy_alone():
    imported = python(EVERYTHING + IMPORTED)
    assert "weights_converter" in imported
    assert {"jax", "jaxlib", "flax", "torch", "torchvision", "fcn_jax", "PIL"}.isdisjoint(imported)


def test_the_library_imports_nothing_it_does_not_need():
    """Compared with Flax, which brings some of these by itself."""
    with_flax = python("import flax.nnx, jax\n" + IMPORTED)
    imported = set(python("import fcn_jax\n" + IMPORTED)) - set(with_flax)
    assert {"fcn_jax", "weights_converter"} <= imported
    for name in (
        "torch",
        "torchvision",
        "matplotlib",
        "optax",
        "orbax",
        "grain",
        "tyro",
        "pandas",
        "argparse",
        "tests",
    ):
        assert name not in imported
    for name in ("cli", "training", "datasets"):
        assert "False" in python(f"import sys, fcn_jax; print('fcn_jax.{name}' in sys.modules)")


WITHOUT_TORCH = """
import importlib.abc, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"{name} is hidden")

sys.meta_path.insert(0, Hidden())
import numpy as np
import fcn_jax, weights_converter
from fcn_jax.transforms import SemanticSegmentation
from tests.seeded import seeded_state_dict

path = sys.argv[1]
drawn = seeded_state_dict("fcn_resnet50", 5)
weights_converter.write_torch_legacy(path, drawn)
read = weights_converter.read_checkpoint(path)
assert list(read) == list(drawn)
assert all(np.array_equal(read[name], drawn[name]) for name in drawn)
model = fcn_jax.fcn_resnet50(weights=path)
result = fcn_jax.Segmenter(model, SemanticSegmentation(resize_size=32))(np.zeros((33, 47, 3), np.uint8))
assert "torch" not in sys.modules
print(*result.labels.shape)
"""


def test_without_torch(tmp_path):
    """Import, read PyTorch's own form, segment: torch would raise if anything asked for it."""
    path = tmp_path / "seeded.pth"
    assert python(WITHOUT_TORCH, path) == ["33", "47"]
    path.unlink()
