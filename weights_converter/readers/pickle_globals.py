"""The names that a checkpoint's pickle may use, and the plain data that each stands for.

Nothing in this package imports what a file names.
"""

from collections.abc import Callable

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_values import Global, Inert, Pairs, Storage, Tensor, kind_of, shown
from weights_converter.readers.storages import DTYPES, STORAGE_DTYPES

DICTS = {"collections.OrderedDict", "collections.defaultdict"}

# Objects beside the tensors of a training checkpoint. Their contents are never needed.
INERT = {
    "_codecs.encode",
    "argparse.Namespace",
    "collections.Counter",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "torch.Tensor",
    "torch.device",
    "torch.nn.parameter.Buffer",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
}
INERT |= {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("bytearray", "complex", "dict", "float", "frozenset", "int", "list", "long", "set", "str")
}
INERT |= {
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
}

# Kinds of tensor that are recognized but not read: an error only if the state_dict holds one.
OTHER_TENSORS = {
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "a tensor of another device",
    "torch._utils._rebuild_device_tensor_from_numpy": "a tensor of another device",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor, without values",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_wrapper_subclass": "a tensor subclass",
}
OTHER_DTYPES = {
    *("complex32", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"),
    *("qint8", "qint32", "quint8", "quint4x2", "quint2x4", "per_tensor_affine", "per_channel_affine"),
    *("strided", "sparse_coo", "sparse_csr"),
}
INERT |= {f"torch.{name}" for name in [*DTYPES, *OTHER_DTYPES]}
MAX_METADATA = 16  # for one tensor; PyTorch has two kinds


def look_up(module: str, name: str) -> Global:
    """Accepts a name from the lists in this module.

    Raises:
      CheckpointError: the name is in no list.
    """
    full = f"{module}.{name}"
    if any(full in names for names in (STORAGE_DTYPES, CALLABLE, DICTS, INERT, OTHER_TENSORS)):
        return Global(full)
    if module.startswith(("torch.nn.", "torchvision.")) or module == "torch.nn":
        raise whole_module(full)
    raise CheckpointError(
        f"its pickle names {shown(full)}, which a file of tensors does not need; nothing in the file was "
        "run. Open it where it was made and save `model.state_dict()` alone"
    )


def whole_module(name: str) -> CheckpointError:
    return CheckpointError(
        f"this is a whole pickled module (it names {shown(name)}), which only its own program can open; "
        "nothing in the file was run. Save `model.state_dict()` instead"
    )


def call(function: object, arguments: object) -> object:
    """Returns the plain data for a REDUCE or NEWOBJ.

    Raises:
      CheckpointError: the function is not on the lists, or its arguments are not those of a real file.
    """
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise CheckpointError(f"its pickle is damaged: it calls {kind_of(function)} on {kind_of(arguments)}")
    try:
        if function.name in CALLABLE:
            return CALLABLE[function.name](*arguments)
        if function.name in DICTS:
            return Pairs([])
        return Inert(OTHER_TENSORS.get(function.name, function.name))
    except TypeError as error:
        raise CheckpointError(f"its pickle is damaged: {function.name} has unexpected arguments") from error


def _tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> Tensor | Inert:
    return _tensor_of(storage, offset, size, stride, getattr(storage, "dtype", None), metadata)


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None) -> Tensor | Inert:
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else kind_of(dtype)
    if name not in DTYPES:
        return Inert(f"a tensor of dtype {name}")
    return _tensor_of(storage, offset, size, stride, DTYPES[name], metadata)


def _tensor_of(storage, offset, size, stride, dtype, metadata) -> Tensor | Inert:
    if not isinstance(storage, Storage) or dtype is None:
        raise CheckpointError(f"its pickle is damaged: it makes a tensor from {kind_of(storage)}")
    if isinstance(metadata, Pairs) and len(metadata.pairs) > MAX_METADATA:
        raise CheckpointError(f"its pickle is damaged: a tensor has {len(metadata.pairs)} pieces of metadata")
    # PyTorch conjugates and negates complex tensors lazily and notes it here.
    if isinstance(metadata, Pairs) and any(value is True for _, value in metadata.pairs):
        return Inert("a tensor with its conjugate or negative bit set")
    return Tensor(storage, dtype, offset, size, stride)


def _parameter(tensor, requires_grad, hooks, state=None) -> object:
    return tensor


def _from_type(function, kind, arguments, state) -> object:
    if function == Global("torch._tensor._rebuild_from_type_v2"):  # else it could nest without end
        raise CheckpointError("its pickle is damaged: a tensor's type is given twice")
    return call(function, arguments)


def _size(*values) -> object:
    return values[0] if len(values) == 1 else ()


CALLABLE: dict[str, Callable[..., object]] = {
    "torch.Size": _size,
    "torch._tensor._rebuild_from_type_v2": _from_type,  # a tensor with attributes
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
}
