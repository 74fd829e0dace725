"""What is asked of every file: docstrings, short functions, our own errors, and the process left alone."""

import ast
import importlib
import inspect

import pytest

from fcn_jax.models import SegmentationModel
from fcn_jax.transforms import Preset
from tests.sources import PACKAGES, module_name, sources, tree, within


def test_every_public_name_exists_and_is_explained():
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or callable(value):
                explained = value.__doc__ or ""
                # What dataclasses and enums write by themselves is no explanation.
                assert explained, name
                assert not explained.startswith((f"{name}(", "An enumeration")), name


def test_every_module_is_explained():
    for path in sources(*PACKAGES, "tests", "scripts"):
        assert ast.get_docstring(tree(path)), path


LONGEST = 60  # lines, without the docstring


def test_functions_are_short():
    long = []
    for path in sources(*PACKAGES, "scripts"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                explained = len((ast.get_docstring(node) or "").splitlines())
                lines = node.end_lineno - node.lineno + 1 - explained
                if lines > LONGEST:
                    long.append(f"{module_name(path)}.{node.name}: {lines}")
    assert not long, "\n".join(long)


# What changes the process. It belongs to the program that imports a library.
HANDS_OFF = (
    "jax.config.update",
    "logging.basicConfig",
    "logging.captureWarnings",
    "logging.disable",
    "os.chdir",
    "os.putenv",
    "os.umask",
    "print",
    "signal.signal",
    "sys.path.append",
    "sys.path.insert",
    "sys.setrecursionlimit",
    "warnings.catch_warnings",
    "warnings.filterwarnings",
    "warnings.resetwarnings",
    "warnings.simplefilter",
)
MAY_TOUCH = {
    "fcn_jax.cli": "a command owns its process",
    "weights_converter.__main__": "a command owns its process",
    "fcn_jax.datasets.stream": "in worker processes, which it owns",
    "fcn_jax.training.stop": "listens to signals while the program wants it to, then puts the handlers back",
}


def brought_in(module):
    """What a file's import statements name: {name in the file: full name}."""
    brought = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                brought |= {alias.asname: alias.name} if alias.asname else {top: top}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            brought |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return brought


def hands_on(path):
    """The nodes that change the process: calls of HANDS_OFF, other modules' names set, others' loggers."""
    module = tree(path)
    brought = brought_in(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            name = brought.get(first, first) + dot + rest
            arguments = [ast.unparse(argument) for argument in node.args]
            if name in HANDS_OFF or (name == "logging.getLogger" and arguments != ["__name__"]):
                yield node
        elif isinstance(node, ast.Constant) and node.value == "__main__":
            yield node
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            for target in getattr(node, "targets", None) or [node.target]:
                inner = target
                while isinstance(inner, ast.Attribute | ast.Subscript):
                    inner = inner.value
                if inner is not target and isinstance(inner, ast.Name) and inner.id in brought:
                    yield node


def test_the_library_leaves_the_process_alone():
    wrong = [
        f"{module_name(path)}:{node.lineno} {ast.unparse(node)}"
        for path in sources(*PACKAGES)
        for node in hands_on(path)
        if not within(module_name(path), MAY_TOUCH)
    ]
    assert not wrong, "\n".join(wrong)


PLAIN = ("ValueError", "TypeError", "RuntimeError", "ImportError", "MemoryError")
MAY_RAISE_PLAIN = {
    "fcn_jax.algorithms.region": "buffers that the networks choose",
    "fcn_jax.inference.receptive_field": "a network of ours repeats itself",
    "fcn_jax.models.deconvolution": "shapes that the networks choose",
    "fcn_jax.models.grid": "crops and sums that the networks choose",
    "fcn_jax.models.pooling": "windows that the networks choose",
    "fcn_jax.models.upsampling": "sizes that the networks choose",
    "fcn_jax.training.resume": "caught where it is raised",
}


def test_errors_that_users_can_cause_are_fcn_errors():
    wrong, plain = [], set()
    for path in sources(*PACKAGES):
        module = module_name(path)
        for node in ast.walk(tree(path)):
            raised = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(raised, ast.Call) and ast.unparse(raised.func) in PLAIN:
                plain.add(module)
                if module not in MAY_RAISE_PLAIN:
                    wrong.append(f"{module}:{node.lineno} {ast.unparse(raised)}")
    assert not wrong, "\n".join(wrong)
    assert plain == set(MAY_RAISE_PLAIN)  # no exception for a module that needs none


def test_interfaces_cannot_be_used_in_place_of_what_implements_them():
    for interface in (SegmentationModel, Preset):
        with pytest.raises(TypeError, match="abstract"):
            interface()
