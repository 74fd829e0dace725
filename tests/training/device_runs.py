"""Short trainings on simulated devices, each process for itself, for test_devices.py to compare.

    python -m tests.training.device_runs RESULT.npz                # one process, meshes of 1 and 4 devices
    python -m tests.training.device_runs RESULT.npz PORT PROCESS   # one of two processes with 2 devices each

Everything is in float64, with dropout, and with pictures from `Batches`. The file gets, for each run, its
losses, its parameters and statistics, and how many of its parameters are split among devices.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import fcn_jax
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.dataset import IGNORE_LABEL, Sample
from fcn_jax.training import devices
from tests.seeded import seeded_paper_state_dict
from tests.training.small import NUM_CLASSES, small_model, small_training

STEPS = 3
BATCH_SIZE = 8
# Model, devices, sharding and parts of a batch, by name.
ONE_PROCESS = {
    "small/1": ("small", 1, "replicated", 1),
    "small/4": ("small", 4, "replicated", 1),
    "small/4/fsdp": ("small", 4, "fsdp", 1),
    "small/1/parts": ("small", 1, "replicated", 2),
    "small/4/parts": ("small", 4, "replicated", 2),
    "vgg/1": ("vgg", 1, "replicated", 1),
    "vgg/4/fsdp": ("vgg", 4, "fsdp", 1),
}
TWO_PROCESSES = ("small/4", "small/4/fsdp", "small/4/parts")


class Noise:
    """Pictures of noise; the more void the higher their number."""

    categories = tuple("abcde")
    ignore_label = IGNORE_LABEL
    palette = np.zeros((256, 3), np.uint8)

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> Sample:
        random = np.random.RandomState(index)
        image = random.randint(0, 256, (13, 18, 3)).astype(np.uint8)
        labels = random.randint(0, NUM_CLASSES, (13, 18)).astype(np.uint8)
        labels[: index + 1] = IGNORE_LABEL
        return Sample(image, labels)

    def name(self, index: int) -> str:
        return str(index)


def build(model: str):
    if model == "small":
        return small_model(jnp.float64)
    weights = seeded_paper_state_dict("fcn8s_vgg16", NUM_CLASSES)
    model = fcn_jax.get_model("fcn8s_vgg16", weights=weights, param_dtype=jnp.float64)
    model.train()
    return model


def run(model: str, count: int, sharding: devices.Sharding, parts: int) -> dict[str, np.ndarray]:
    """Makes the steps on a mesh over all processes; gives what is to be compared."""
    mesh = devices.make_mesh(count // jax.process_count())
    share = (jax.process_index(), jax.process_count())
    batches = Batches(Noise(), batch_size=BATCH_SIZE, seed=0, share=share)
    devices.check_batch_size(BATCH_SIZE, mesh, parts)

    def train(shardings=None):
        return small_training(
            build(model),
            average=0.9,
            normalize=lambda images: images / 127.5 - 1.0,
            accumulate=parts,
            shardings=shardings,
        )

    shardings = devices.state_shardings(train()[1], mesh, sharding)
    _, state, step = train(shardings)
    state = devices.place_state(state, shardings)
    losses = []
    for number in range(STEPS):
        state, metrics = step(state, devices.place_batch(batches.batch(number), mesh), number)
        assert metrics["applied"]
        losses.append(float(metrics["loss"]))
    split = sum(not array.sharding.is_fully_replicated for array in state.params.values())
    moments = dict(enumerate(jax.tree.leaves(state.moments)))
    kinds = {"param": state.params, "rest": state.rest, "average": state.average, "moment": moments}
    arrays = {f"{kind} {name}": array for kind, named in kinds.items() for name, array in named.items()}
    arrays = {name: array for name, array in arrays.items() if array.dtype == jnp.float64}
    return {"losses": losses, "split": split, **devices.local_copy(arrays, mesh)}


def main(path: str, port: str | None = None, process: str | None = None) -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", 4 if port is None else 2)
    devices.SMALL = 1  # so that these small arrays are split
    if port is not None:
        jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(process))
    results = {}
    for name, settings in ONE_PROCESS.items():
        if port is None or name in TWO_PROCESSES:
            results |= {f"{name}:{key}": np.asarray(value) for key, value in run(*settings).items()}
    np.savez(path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
