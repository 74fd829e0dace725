"""Places the arrays of a training run on devices: one mesh over all devices of one or more hosts.

The mesh has one axis, "data". Batches are split along it. Every device has a copy of the parameters, their
moments and averages. With "fsdp" these are split too, each along its longest axis that the number of devices
divides. A device then holds a share of the model and fetches the rest when it needs it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fcn_jax.errors import SettingError

Sharding = Literal["replicated", "fsdp"]
AXIS = "data"
SMALL = 2**16
"""Arrays of fewer elements are not worth splitting."""


def make_mesh(count: int | None = None) -> Mesh:
    """Makes the mesh from all devices of all hosts, or from the first `count` of each host.

    Raises:
      SettingError: a host has fewer devices.
    """
    return Mesh(np.array(first_of_each_host(jax.devices(), count)), (AXIS,))


def first_of_each_host(devices: Sequence[Any], count: int | None) -> list[Any]:
    """Chooses the first `count` devices of each host, in order; all if None. Raises as `make_mesh` does."""
    hosts: dict[int, list[Any]] = {}
    for device in devices:
        hosts.setdefault(device.process_index, []).append(device)
    fewest = min(map(len, hosts.values()))
    if count is not None and not 1 <= count <= fewest:
        raise SettingError(subject="devices", expected=f"a number from 1 to {fewest}", got=str(count))
    return [device for own in hosts.values() for device in own[:count]]


def check_batch_size(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
    """Raises SettingError unless every part of a batch divides evenly among the devices."""
    if batch_size < 1 or batch_size % (mesh.size * accumulate):
        raise SettingError(
            subject="batch_size",
            expected=f"a multiple of {mesh.size} devices x {accumulate} parts of accumulation",
            got=str(batch_size),
            hint=f"choose a multiple of {mesh.size * accumulate}, or fewer {{devices}}",
        )


def state_shardings(state: Any, mesh: Mesh, sharding: Sharding = "replicated") -> Any:
    """Returns the shardings of a state: the same tree with a sharding in place of each array.

    Raises:
      SettingError: an unknown kind of sharding.
    """
    if sharding not in ("replicated", "fsdp"):
        raise SettingError(subject="sharding", expected='"replicated" or "fsdp"', got=repr(sharding))

    def place(array) -> NamedSharding:
        axes: list[str | None] = [None] * array.ndim
        divisible = [axis for axis, length in enumerate(array.shape) if length % mesh.size == 0]
        if sharding == "fsdp" and divisible and array.size >= SMALL:
            axes[max(divisible, key=lambda axis: array.shape[axis])] = AXIS
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(place, state)


def place_state(state: Any, shardings: Any) -> Any:
    """Places a state as the shardings say. All hosts give the same state; each places its own parts."""
    return jax.tree.map(_place, state, shardings)


def _place(array: jax.Array, sharding: NamedSharding) -> jax.Array:
    # jax.device_put cannot move an array from one host's device to devices of several hosts.
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        numbers = _place(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(array))
    values = np.array(array)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Splits a batch over the devices; each host gives its own contiguous share of it."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(values))
        for name, values in batch.items()
    }


def local_copy(arrays: dict[str, jax.Array], mesh: Mesh) -> dict[str, jax.Array]:
    """Copies whole arrays from the mesh to the first device of each host."""
    whole = NamedSharding(mesh, PartitionSpec())
    arrays = jax.jit(lambda arrays: arrays, out_shardings=whole)(arrays)
    return jax.tree.map(lambda array: array.addressable_data(0), arrays)


def agreed(value: bool) -> bool:
    """Returns the first host's value on every host."""
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))
