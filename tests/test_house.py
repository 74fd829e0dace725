"""The house rules: which room imports which, and what stays unimported."""

import ast
import importlib.util
import sys
import tomllib

from tests.sources import PACKAGES, ROOT, module_name, python, sources, tree, within

# The rooms from the ground up, and what their modules may import of the two packages beside their own room.
# A module is in the room with the longest name that begins its own. A room names only rooms before it: that
# leaves no circle.
ARROWS = {
    "weights_converter": (),
    "fcn_jax.errors": ("weights_converter",),
    "fcn_jax.backend": ("fcn_jax.errors",),
    "fcn_jax.locking": (),
    "fcn_jax.images": ("fcn_jax.errors",),
    "fcn_jax.transforms": ("fcn_jax.errors", "fcn_jax.images"),
    "fcn_jax.bands": ("fcn_jax.errors", "fcn_jax.images"),
    "fcn_jax.multiband": ("fcn_jax.errors", "fcn_jax.bands", "fcn_jax.transforms"),
    "fcn_jax.categories": ("fcn_jax.errors",),
    "fcn_jax.meta": ("fcn_jax.errors", "fcn_jax.transforms", "fcn_jax.categories"),
    "fcn_jax.visualization": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.images",
        "fcn_jax.categories",
        "fcn_jax.meta",
    ),
    "fcn_jax.models": ("weights_converter", "fcn_jax.errors", "fcn_jax.transforms", "fcn_jax.meta"),
    "fcn_jax.algorithms": ("fcn_jax.errors", "fcn_jax.models"),
    "fcn_jax.weights.published": (
        "fcn_jax.errors",
        "fcn_jax.transforms",
        "fcn_jax.categories",
        "fcn_jax.meta",
    ),
    "fcn_jax.weights.download": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.locking",
        "fcn_jax.weights.published",
    ),
    "fcn_jax.weights.hub": ("weights_converter", "fcn_jax.errors", "fcn_jax.weights.download"),
    "fcn_jax.weights": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.transforms",
        "fcn_jax.categories",
        "fcn_jax.multiband",
        "fcn_jax.meta",
        "fcn_jax.models",
    ),
    "fcn_jax.sharing": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.meta",
        "fcn_jax.models",
        "fcn_jax.weights",
    ),
    "fcn_jax.zoo": ("weights_converter", "fcn_jax.errors", "fcn_jax.models", "fcn_jax.weights"),
    "fcn_jax.certificate": ("weights_converter", "fcn_jax.errors", "fcn_jax.zoo"),
    "fcn_jax.inference": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.images",
        "fcn_jax.bands",
        "fcn_jax.transforms",
        "fcn_jax.multiband",
        "fcn_jax.meta",
        "fcn_jax.visualization",
        "fcn_jax.models",
        "fcn_jax.algorithms",
    ),
    "fcn_jax.onnx_export": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.images",
        "fcn_jax.transforms",
        "fcn_jax.models",
        "fcn_jax.algorithms",
        "fcn_jax.inference",
    ),
    "fcn_jax.datasets": (
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.images",
        "fcn_jax.bands",
        "fcn_jax.transforms",
        "fcn_jax.categories",
        "fcn_jax.visualization",
    ),
    "fcn_jax.evaluation": (
        "fcn_jax.errors",
        "fcn_jax.bands",
        "fcn_jax.transforms",
        "fcn_jax.categories",
        "fcn_jax.meta",
        "fcn_jax.visualization",
        "fcn_jax.inference",
        "fcn_jax.datasets",
    ),
    "fcn_jax.training": (
        "fcn_jax.multiband",
        "weights_converter",
        "fcn_jax.errors",
        "fcn_jax.backend",
        "fcn_jax.locking",
        "fcn_jax.transforms",
        "fcn_jax.categories",
        "fcn_jax.meta",
        "fcn_jax.visualization",
        "fcn_jax.models",
        "fcn_jax.algorithms",
        "fcn_jax.weights",
        "fcn_jax.zoo",
        "fcn_jax.inference",
        "fcn_jax.datasets",
        "fcn_jax.evaluation",
    ),
    "fcn_jax.cli": PACKAGES,
}
DISTRIBUTIONS = {  # where the name to import is not the name to install
    "PIL": "pillow",
    "orbax": "orbax-checkpoint",
    "pillow_heif": "pillow-heif",
}
# Which extras modules whose names begin so may import besides.
EXTRAS = {
    "fcn_jax.bands": ("tiff",),
    "fcn_jax.onnx_export": ("onnx",),
    "fcn_jax.images": ("tiff", "heif"),
    "fcn_jax.datasets": ("train", "coco", "sbd"),
    "fcn_jax.training": ("train", "tensorboard"),
    "fcn_jax.cli.demo": ("train",),
    "fcn_jax.certificate": ("bench",),  # PyTorch, where it is at hand
    "fcn_jax.weights.hub": ("hub",),
}


def imports(path):
    """Every module that a file imports, inside functions too."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(tree(path)):
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


def room_of(module):
    """The longest beginning in ARROWS that the module's name has; None where it has none."""
    return max((room for room in ARROWS if within(module, [room])), key=len, default=None)


def test_rooms_build_upon_lower_ones():
    rooms = list(ARROWS)
    for room in rooms[:-1]:
        for used in ARROWS[room]:
            assert used in rooms[: rooms.index(room)], f"{room} uses {used}, which is not below it"


def test_imports_follow_the_arrows():
    wrong = []
    for path in sources(*PACKAGES):
        module = module_name(path)
        room = room_of(module)
        if module == "fcn_jax":  # what `import fcn_jax` brings
            allowed = [name for name in ARROWS if name not in ("fcn_jax.cli", "fcn_jax.training")]
        else:
            assert room, f"{module} has no room yet: say in ARROWS what it may import"
            allowed = [room, *ARROWS[room]]
        ours = [name for name in imports(path) if within(name, PACKAGES)]
        wrong += [f"{module} imports {name}" for name in ours if not within(name, allowed)]
    assert not wrong, "\n".join(wrong)


def test_only_declared_packages_are_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional, wrong = project["optional-dependencies"], []
    for path in sources(*PACKAGES):
        module = module_name(path)
        requirements = list(project["dependencies"])
        for beginning, extras in EXTRAS.items():
            if within(module, [beginning]):
                requirements += [requirement for extra in extras for requirement in optional[extra]]
        declared = {requirement.partition(">=")[0] for requirement in requirements}
        if within(module, ["weights_converter"]):
            declared = {"numpy", "ml_dtypes", "safetensors"}
        declared |= {*sys.stdlib_module_names, *PACKAGES}
        tops = {name.partition(".")[0] for name in imports(path)}
        wrong += [
            f"{module} imports {name}" for name in tops if DISTRIBUTIONS.get(name, name) not in declared
        ]
    assert not wrong, "\n".join(wrong)


IMPORTED = "import sys; print(*sys.modules)"
EVERYTHING = """
import importlib, pkgutil
import weights_converter
for module in pkgutil.walk_packages(weights_converter.__path__, "weights_converter."):
    importlib.import_module(module.name)
"""


def test_the_converter_needs_numpy_alone():
    imported = python(EVERYTHING + IMPORTED)
    assert "weights_converter.readers.caffemodel" in imported
    assert {"jax", "jaxlib", "flax", "torch", "torchvision", "fcn_jax", "PIL"}.isdisjoint(imported)


def test_the_library_imports_nothing_it_does_not_need():
    """Compared with Flax, which brings some of these by itself."""
    imported = set(python("import fcn_jax\n" + IMPORTED)) - set(python("import flax.nnx, jax\n" + IMPORTED))
    assert {"fcn_jax.inference.segmenter", "weights_converter"} <= imported
    heavy = (
        "torch",
        "torchvision",
        "matplotlib",
        "optax",
        "orbax",
        "tensorstore",
        "tyro",
        "pandas",
        "argparse",
        "onnx",
        "onnxruntime",
    )
    ours = ("fcn_jax.cli", "fcn_jax.training", "fcn_jax.datasets", "fcn_jax.evaluation")
    assert [name for name in (*heavy, *ours, "tests") if name in imported] == []


WITHOUT_TORCH = """
import importlib.abc, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"{name} is hidden")

sys.meta_path.insert(0, Hidden())
import numpy as np
import fcn_jax, weights_converter
from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.legacy_writer import write_torch_legacy

path = sys.argv[1]
drawn = seeded_paper_state_dict("fcn32s_vgg16")
write_torch_legacy(path, drawn)
read = weights_converter.read_checkpoint(path)
assert list(read) == list(drawn)
assert all(np.array_equal(read[name], drawn[name]) for name in drawn)
model = fcn_jax.fcn32s_vgg16(weights=path)
result = fcn_jax.Segmenter(model)(np.zeros((33, 47, 3), np.uint8))
assert "torch" not in sys.modules
print(*result.labels.shape)
"""


def test_without_torch(tmp_path):
    """Import, read PyTorch's own form, segment: torch would raise if anything asked for it."""
    assert python(WITHOUT_TORCH, tmp_path / "seeded.pth") == ["33", "47"]
