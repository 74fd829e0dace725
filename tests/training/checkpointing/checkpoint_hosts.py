"""Run by test_checkpoint_devices.py: saves and restores arrays spread over the devices of one process or two.

    python -m tests.training.checkpointing.checkpoint_hosts FOLDER RANK COUNT PORT

Prints one line of JSON.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fcn_jax.training.checkpointing.checkpoints import Checkpoints
from fcn_jax.training.checkpointing.digests import digests
from tests.training.checkpointing.saved import a_tree


def place(array, mesh, *axes):
    """Spreads an array that every process has whole."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.jit(lambda: jax.random.key(0), out_shardings=sharding)()
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def spread(tree, mesh, axis):
    """Splits each array along its first or its last axis where that divides, else copies it."""

    def split(array):
        place_of_axis = axis % array.ndim if array.ndim else None
        if place_of_axis is None or array.shape[place_of_axis] % mesh.size:
            return place(array, mesh)
        return place(array, mesh, *[None] * place_of_axis, "data")

    return jax.tree.map(split, tree)


def main():
    folder, rank, count, port = Path(sys.argv[1]), *map(int, sys.argv[2:])
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    tree = a_tree() | {"rows": jnp.arange(80.0).reshape(16, 5), "columns": jnp.ones((3, 24), jnp.bfloat16)}
    rows, columns = spread(tree, mesh, 0), spread(tree, mesh, -1)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, rows)
        checkpoints.save(2, columns)
        newest = checkpoints.restore(rows)
        same_places = [
            found.sharding.is_equivalent_to(wanted.sharding, wanted.ndim)
            for found, wanted in zip(jax.tree.leaves(newest.tree), jax.tree.leaves(rows), strict=True)
        ]
        jax.experimental.multihost_utils.sync_global_devices("read")
        if rank == 0:
            manifest = folder / "2" / "arrays" / "manifest.ocdbt"
            manifest.write_bytes(manifest.read_bytes()[:50])
        jax.experimental.multihost_utils.sync_global_devices("damaged")
        older = checkpoints.restore(columns)
        checkpoints.save(2, rows)
        skipped = checkpoints.skipped
        again = checkpoints.restore(columns)
    print(
        json.dumps(
            {
                "devices": jax.device_count(),
                "split": len({str(shard.index) for shard in rows["rows"].global_shards}),
                "digests": [digests(each) for each in (rows, columns, newest.tree, older.tree, again.tree)],
                "steps": [newest.step, older.step, again.step],
                "same places": all(same_places),
                "skipped": skipped,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
