"""What the names in a checkpoint's pickle stand for: tensors, dicts, and objects kept as data.

Nothing in this package imports what a file names. `pickle_names` says which names are refused.
"""

from collections.abc import Callable

from weights_converter.errors import CheckpointError
from weights_converter.readers.pickle_names import (
    ATTRIBUTE,
    ITEM,
    MODULES,
    NEW_OBJECTS,
    RECONSTRUCTORS,
    may_be_called,
    may_be_named,
    refusal,
)
from weights_converter.readers.pickle_values import (
    Global,
    Inert,
    Pairs,
    Storage,
    Tensor,
    Unread,
    kind_of,
    shown,
)
from weights_converter.readers.storages import DTYPES, STORAGE_DTYPES

DICTS = {"collections.OrderedDict", "collections.defaultdict"}

# Kinds of tensor that are recognized but not read: an error only if the network has one.
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
OF_TORCH = {f"torch.{name}" for name in [*DTYPES, *OTHER_DTYPES]}
MAX_METADATA = 16  # for one tensor; PyTorch has two kinds


def look_up(module: str, name: str) -> Global:
    """Accepts the names of tensors, and those that `pickle_names` lets pass.

    Raises:
      CheckpointError: any other name.
    """
    full = f"{module}.{name}"
    known = any(full in names for names in (STORAGE_DTYPES, CALLABLE, DICTS, OF_TORCH, OTHER_TENSORS))
    if not known and not may_be_named(module, name):
        raise refusal(full)
    return Global(full)


def whole_module(name: str) -> CheckpointError:
    return CheckpointError(
        f"this is a whole pickled module (it names {shown(name)}), which only its own program can open; "
        "nothing in the file was run. Save `model.state_dict()` instead"
    )


def is_module(name: str) -> bool:
    """Whether a class is one of PyTorch's own modules: a layer or a network."""
    return name.startswith(MODULES)


def call(function: object, arguments: object, makes: bool = False) -> object:
    """Returns the plain data for a REDUCE or NEWOBJ.

    Args:
      makes: whether the pickle makes an instance of a class (NEWOBJ).

    Raises:
      CheckpointError: the function must not be called, or its arguments are not those of a real file.
    """
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise CheckpointError(f"its pickle is damaged: it calls {kind_of(function)} on {kind_of(arguments)}")
    name = function.name
    try:
        if name in CALLABLE:
            return CALLABLE[name](*arguments)
    except TypeError as error:
        raise CheckpointError(f"its pickle is damaged: {name} has unexpected arguments") from error
    if name in DICTS:
        return Pairs([])
    if name in OTHER_TENSORS:
        return Unread(OTHER_TENSORS[name])
    if name in ATTRIBUTE | ITEM:
        return _part(name, arguments)
    if name in RECONSTRUCTORS | NEW_OBJECTS:
        kind, rest = (arguments[0], arguments[1:]) if arguments else (None, ())
        if not isinstance(kind, Global):
            raise CheckpointError(f"its pickle is damaged: {name} has unexpected arguments")
        return call(kind, rest, makes=True) if kind.name not in RECONSTRUCTORS | NEW_OBJECTS else Inert(name)
    if not (may_be_called(name, makes) or name in OF_TORCH):
        raise refusal(name, "calls")
    return Inert(name, arguments)


def _part(name: str, arguments: tuple) -> Global | Inert:
    """Returns what `getattr(a class, a name)` or `getitem(a type hint, ...)` stands for."""
    owner, key = arguments if len(arguments) == 2 else (None, None)
    if isinstance(owner, Global) and name in ITEM and owner.name.startswith("typing."):
        return Inert(owner.name, (key,))
    if isinstance(owner, Global) and name in ATTRIBUTE and isinstance(key, str):
        module, _, kind = owner.name.rpartition(".")
        if may_be_named(module, f"{kind}.{key}"):
            return Global(f"{owner.name}.{key}")
    raise refusal(name, "calls")


def _tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> Tensor | Inert:
    return _tensor_of(storage, offset, size, stride, getattr(storage, "dtype", None), metadata)


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None) -> Tensor | Inert:
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else kind_of(dtype)
    if name not in DTYPES:
        return Unread(f"a tensor of dtype {name}")
    return _tensor_of(storage, offset, size, stride, DTYPES[name], metadata)


def _tensor_of(storage, offset, size, stride, dtype, metadata) -> Tensor | Inert:
    if not isinstance(storage, Storage) or dtype is None:
        raise CheckpointError(f"its pickle is damaged: it makes a tensor from {kind_of(storage)}")
    if isinstance(metadata, Pairs) and len(metadata.pairs) > MAX_METADATA:
        raise CheckpointError(f"its pickle is damaged: a tensor has {len(metadata.pairs)} pieces of metadata")
    # PyTorch conjugates and negates complex tensors lazily and notes it here.
    if isinstance(metadata, Pairs) and any(value is True for _, value in metadata.pairs):
        return Unread("a tensor with its conjugate or negative bit set")
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
