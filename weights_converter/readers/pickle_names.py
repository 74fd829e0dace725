"""Which names a checkpoint's pickle may use beside those of tensors.

No name is ever imported, and nothing is ever called: an object is kept as data, its class's name and what it
was made from. So these rules do not protect the reader. They protect a person who opens the same file in a
program that runs pickles: a file that would run something there is refused here. What is read here is not
thereby safe there.

  * Python, NumPy, PyTorch: only names in the tables below, which hold data and run nothing. Refused are
    os.system, builtins.eval, subprocess.Popen, runpy, torch.load, numpy.load, and all others.
  * Other packages, and the program that wrote the file: any name may be named, as a metric or a callback may
    be a value. Objects may be made of classes. A function must not be called. A name is that of a class if
    its last part begins with a capital letter, or if the pickle makes an instance of it (NEWOBJ), which
    Python does with classes only.
  * `getattr` only as pickles write members of enums and methods: getattr(a class, a name).
  * Names with two leading underscores: none but those in the tables.
  * RUNNERS, packages that exist to run what they are given: none.
"""

import re
import sys

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_values import shown

# Python's modules: also those that only other versions have.
PYTHON = sys.stdlib_module_names | {
    *("UserDict", "UserList", "UserString", "__builtin__", "_winreg", "asynchat", "asyncore", "cPickle"),
    *("cStringIO", "cgi", "commands", "copy_reg", "crypt", "dl", "exceptions", "imp", "new", "nis", "pipes"),
    *("popen2", "sets", "smtpd", "telnetlib", "thread", "urllib2", "distutils", "lib2to3", "xdrlib"),
}
CLOSED = PYTHON | {"numpy", "torch"}
RUNNERS = {
    *("IPython", "Pyro4", "Pyro5", "_pytest", "celery", "cloudpickle", "dill", "execnet", "fabric", "fire"),
    *("invoke", "joblib", "keras", "nose", "numexpr", "paramiko", "pexpect", "pip", "pkg_resources"),
    *("plumbum", "ptyprocess", "pytest", "ray", "rpyc", "setuptools", "sh", "sympy", "tensorflow", "winpty"),
}


def _each(module: str, names: str) -> set[str]:
    return {f"{module}.{name}" for name in names.split()}


# Classes, functions and constants of Python, NumPy and PyTorch that hold data, by full name.
LISTED = set().union(
    *(
        _each(
            module, "Ellipsis NotImplemented NoneType bool bytearray bytes complex dict float frozenset int"
        )
        | _each(module, "list long object range set slice str tuple type unicode xrange")
        for module in ("builtins", "__builtin__")
    ),
    *(
        _each(module, "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath")
        for module in ("pathlib", "pathlib._local")
    ),
    *(
        _each(f"numpy.{core}", "multiarray._reconstruct multiarray.scalar numeric._frombuffer")
        | _each(f"numpy.{core}", "_ufunc_reconstruct records.recarray")
        for core in ("core", "_core")
    ),
    *(_each(module, "_reconstructor __newobj__ __newobj_ex__") for module in ("copyreg", "copy_reg")),
    _each("_codecs", "encode"),
    _each("argparse", "Namespace"),
    _each("array", "array _array_reconstructor"),
    _each("collections", "ChainMap Counter UserDict UserList UserString deque"),
    _each("dataclasses", "_MISSING_TYPE _HAS_DEFAULT_FACTORY_CLASS"),
    _each("datetime", "date datetime time timedelta timezone"),
    _each("decimal", "Context Decimal"),
    _each("fractions", "Fraction"),
    _each("functools", "partial"),
    _each("inspect", "_empty"),
    _each("itertools", "chain count cycle islice repeat"),
    _each("logging", "getLogger"),
    _each("random", "Random"),
    _each("re", "_compile RegexFlag"),
    _each("time", "struct_time"),
    _each("types", "EllipsisType GenericAlias MappingProxyType NoneType SimpleNamespace UnionType"),
    _each("uuid", "SafeUUID UUID"),
    _each("zoneinfo", "ZoneInfo ZoneInfo._unpickle"),
    _each("numpy", "dtype matrix memmap ndarray recarray ma.MaskedArray ma.core.MaskedArray"),
    _each("numpy", "ma.core._mareconstruct matrixlib.defmatrix.matrix rec.recarray"),
    _each("numpy", "bool bool_ bytes_ str_ unicode_ object_ void datetime64 timedelta64 longlong ulonglong"),
    _each("numpy", "int_ intc uint uintc half single double longdouble csingle cdouble clongdouble"),
    {f"numpy.{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    {f"numpy.{kind}" for kind in ("float16", "float32", "float64", "float128", "complex64", "complex128")},
    _each("numpy.random", "__RandomState_ctor _pickle.__bit_generator_ctor _pickle.__generator_ctor"),
    _each("numpy.random", "_pickle.__randomstate_ctor"),
    _each("torch", "Generator Tensor device layout memory_format serialization._get_layout"),
    _each("torch", "channels_last channels_last_3d contiguous_format preserve_format"),
    _each("torch", "torch_version.TorchVersion"),
)
# Modules of Python, NumPy and PyTorch whose classes hold data, whatever they are called.
OF_CLASSES = (
    *("configparser.", "typing.", "numpy.dtypes.", "numpy.random.", "torch.nn.", "torch.optim."),
    *("torch.amp.", "torch.cuda.amp.", "torch.ao.", "torch.distributions.", "torch.utils.data."),
    *("torch.distributed._shard.", "torch.distributed._tensor.", "torch.distributed.checkpoint."),
    *("torch.distributed.device_mesh.", "torch.distributed.tensor.", "torch.torch_version."),
)
# Modules whose functions may be named as values: the activations of a pickled network.
OF_FUNCTIONS = ("torch.nn.functional.", "torch._C._nn.")
ATTRIBUTE = {"builtins.getattr", "__builtin__.getattr"}
ITEM = {"operator.getitem", "_operator.getitem"}  # how Optional[int] and its like are written
RECONSTRUCTORS = {"copyreg._reconstructor", "copy_reg._reconstructor"}
NEW_OBJECTS = {
    f"{module}.{name}" for module in ("copyreg", "copy_reg") for name in ("__newobj__", "__newobj_ex__")
}
ERRORS = re.compile(
    r"(builtins|__builtin__|exceptions)\.[A-Z]\w*(Error|Exception|Warning|Iteration|Interrupt)"
)
# The function that Cython writes for each class of its own.
OF_CYTHON = re.compile(r"__pyx_unpickle_[A-Z]\w*")
# Functions of other packages that only put data together.
OF_OTHERS = {
    "pandas._libs.internals._unpickle_block",
    "pandas._libs.tslibs.timestamps._unpickle_timestamp",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.datetimes._new_DatetimeIndex",
    "pytz._UTC",
    "pytz._p",
}
MODULES = ("torch.nn.", "torchvision.models.", "torchvision.ops.")
"""Beginnings of the names of PyTorch's own modules, the networks and layers."""


def may_be_named(module: str, name: str) -> bool:
    """Whether a pickle may name this at all."""
    full = f"{module}.{name}"
    top = module.partition(".")[0]
    if full in LISTED | ATTRIBUTE | ITEM | OF_OTHERS or ERRORS.fullmatch(full):
        return True
    parts = full.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    if any(part.startswith("__") and not OF_CYTHON.fullmatch(part) for part in name.split(".")):
        return False
    if top in RUNNERS:
        return False
    if top not in CLOSED:
        return True
    if full.startswith(OF_FUNCTIONS):
        return True
    return full.startswith(OF_CLASSES) and is_class(full)


def may_be_called(full: str, makes: bool) -> bool:
    """Whether a pickle may call a name that it may name.

    Args:
      full: the whole name.
      makes: whether the pickle makes an instance of it, which only classes have.
    """
    if full in LISTED | OF_OTHERS or ERRORS.fullmatch(full):
        return True
    if full in ATTRIBUTE | ITEM:
        return False  # the machine looks at their arguments
    return is_class(full) or (makes and full.partition(".")[0] not in CLOSED)


def is_class(full: str) -> bool:
    """Whether a name is written like a class's."""
    last = full.rpartition(".")[2]
    return last.lstrip("_")[:1].isupper() or OF_CYTHON.fullmatch(last) is not None


def refusal(full: str, does: str = "names") -> CheckpointError:
    """The error for a name that a pickle must not name, or not call."""
    return CheckpointError(
        f"its pickle {does} {shown(full)}, which a file of tensors does not need; nothing in the file was "
        "run. Open it where it was made and save `model.state_dict()` alone"
    )
