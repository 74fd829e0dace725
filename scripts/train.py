"""Trains a segmentation network, from one line, on what you have; stops at any moment and goes on exactly.

    python scripts/train.py --data-dir photos --output runs/photos       # a folder with images/ and labels/
    python scripts/train.py --dataset camvid --data-dir CamVid --output runs/camvid --steps 4000
    python scripts/train.py --recipe torchvision --data-dir coco --weights-backbone DEFAULT --output runs/coco
    python scripts/train.py --recipe paper --data-dir sbd --weights-backbone VGG_ILSVRC_16_layers.caffemodel

Settings come from a recipe (small-data, if not named) and from the command line: `--help` lists them. On
several GPUs or TPU cores of one machine the same line uses them all; on several hosts each runs it with
`--distributed`, on a folder that they share. Needs `pip install 'fcn_jax[train]'`.

The output folder gets config.json, metrics.jsonl, curves.png, a sheet of validation pictures for each
evaluation, best.safetensors and last.safetensors (for `fcn-jax segment --weights`), and checkpoints/. After a
power cut, a `kill -9`, Ctrl-C or SIGTERM the same line goes on where it was: the weights become bit for bit
those of a run that was never broken off, on the same machine with as many devices.

Exit status: 0 done; 1 an error, said on standard error, or a loss that is no number; 2 the command line is
wrong; 130 or 143 stopped by Ctrl-C or SIGTERM, and saved.
"""

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np

from fcn_jax.checkpoints import save_weights
from fcn_jax.datasets import Cached, DatasetError, open_dataset
from fcn_jax.datasets.augmentation import Augmentation, Jitter
from fcn_jax.datasets.batches import Batches
from fcn_jax.evaluation import Evaluator
from fcn_jax.structure import Structure, fill_model
from fcn_jax.training.checkpoints import Checkpoints
from fcn_jax.training.class_weights import median_frequency
from fcn_jax.training.command_line import parse_config
from fcn_jax.training.config import Config, as_json, check_same_run, save_config
from fcn_jax.training.curves import draw_curves
from fcn_jax.training.devices import (
    check_batch_size,
    local_copy,
    make_mesh,
    place_batch,
    place_state,
    state_shardings,
)
from fcn_jax.training.diagnosis import diagnose
from fcn_jax.training.manifest import CheckpointsError
from fcn_jax.training.objective import Objective
from fcn_jax.training.progress import progress_bar
from fcn_jax.training.records import Records, read_records
from fcn_jax.training.sheets import draw_sheet
from fcn_jax.training.start import build_model, build_optimizer
from fcn_jax.training.state import create_state, evaluated_arrays
from fcn_jax.training.step import make_train_step
from fcn_jax.training.stop import stop_on_signals

SHEET_ROWS = 4
EXPECTED = (ValueError, OSError, ImportError, MemoryError, CheckpointsError, jax.errors.JaxRuntimeError)


def main() -> int:
    """Runs the command line; gives the exit status."""
    config = parse_config(sys.argv[1:], description=__doc__)
    try:
        return train(config)
    except EXPECTED as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: interrupted; the last checkpoint stands", file=sys.stderr)
        return 130


def train(config: Config) -> int:
    if config.distributed or config.coordinator:
        jax.distributed.initialize(config.coordinator, config.processes, config.process)
    host, hosts = jax.process_index(), jax.process_count()
    output = open_output(config)

    # Data
    train_set = Cached(open_dataset(config.dataset, config.data_dir, config.train_split))
    val_set = open_dataset(config.dataset, config.data_dir, config.val_split)
    if val_set.categories != train_set.categories:
        raise DatasetError(
            f"expected the same classes in both splits, got {', '.join(train_set.categories)} in "
            f"{config.train_split} and {', '.join(val_set.categories)} in {config.val_split}"
        )
    batches = Batches(
        train_set,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=build_augmentation(config),
        with_replacement=config.with_replacement,
        share=(host, hosts),
    )
    steps = config.steps or max(1, int(config.epochs * len(train_set) / config.batch_size))

    # Model, and what is to be made of it
    mesh = make_mesh(config.devices)
    check_batch_size(config.batch_size, mesh, config.accumulate)
    model = build_model(config, train_set.categories)
    evaluator = Evaluator(model, size=config.eval_size)
    model.train()
    structure = Structure(model)
    class_weights = median_frequency(train_set) if config.class_weights == "median-frequency" else None
    objective = Objective(
        structure=structure,
        num_classes=len(train_set.categories),
        normalize=model.transforms.normalize,
        aux_weight=config.aux_weight,
        settings={
            "class_weights": class_weights,
            "label_smoothing": config.label_smoothing,
            "reduction": config.reduction,
        },
    )
    schedule, optimizer = build_optimizer(config, structure.param_paths, steps)
    state = create_state(model, optimizer, average=config.average is not None)
    shardings = state_shardings(state, mesh, config.sharding)
    state = place_state(state, shardings)
    step = make_train_step(
        objective,
        optimizer,
        schedule,
        average_decay=config.average,
        accumulate=config.accumulate,
        shardings=shardings,
    )

    # The way back to where an earlier start broke off
    checkpoints = Checkpoints(output / "checkpoints", keep=config.keep, say=print)
    restored = checkpoints.restore(state)
    best = {"step": None, "mean_iou": -1.0}
    if restored is not None:
        check_same_run(config, restored.facts["config"], output)
        state, best = restored.tree, restored.facts["best"]
        print(f"going on after step {restored.step} of {steps}", flush=True)
    elif config.resume == "must":
        raise ValueError(f"{output}: expected a checkpoint to go on from (--resume must), there is none")
    first = 0 if restored is None else restored.step
    saved = first if restored is not None else None

    # Loop
    with (
        stop_on_signals() as stop,
        checkpoints,
        Records(output if host == 0 else None, first_step=first, say=print) as records,
        batches.stream(first, steps, workers=config.workers) as stream,
        progress_bar(steps, first, enabled=host == 0) as bar,
    ):
        if host == 0:
            save_config(config, output / "config.json")

        def settle(pending) -> None:
            """Waits for a step and writes down what it gave."""
            number, metrics, begun = pending
            metrics = jax.device_get(metrics)
            if not metrics["applied"]:
                raise Diverged(number, metrics)
            seconds = time.perf_counter() - max(begun, clock[0])
            clock[0] = time.perf_counter()
            record = {
                "loss": float(metrics["loss"]),
                "lr": float(metrics["lr"]),
                "gradient_norm": float(metrics["gradient_norm"]),
                "images_per_second": config.batch_size / seconds,
            }
            losses.append(record["loss"])
            records.train(number, record)
            bar.step(number, record)

        def evaluate(done: int) -> None:
            nonlocal best
            arrays = local_copy(evaluated_arrays(state), mesh)
            chosen = evenly(len(val_set), config.eval_limit)
            confusion = evaluator.run(arrays, val_set, indices=chosen[host::hosts]).summed_over_hosts()
            scores = confusion.scores()
            if host != 0:
                return
            records.eval(done, scores.to_dict())
            bar.scores(done, scores)
            fill_model(model, arrays)
            save_weights(model, output / "last.safetensors")
            if not scores.mean_iou <= best["mean_iou"]:  # nan, where no pixel counts, is no worse
                best = {"step": done, "mean_iou": scores.mean_iou}
                save_weights(model, output / "best.safetensors")
            rows = []
            for index in evenly(len(val_set), SHEET_ROWS):
                sample = val_set[index]
                rows.append((val_set.name(index), *sample, evaluator.labels(arrays, sample.image)))
            (output / "sheets").mkdir(exist_ok=True)
            draw_sheet(rows, val_set.categories, val_set.palette, output / "sheets" / f"step{done:07d}.png")
            draw_curves(read_records(output / "metrics.jsonl"), output / "curves.png")

        def save(done: int) -> None:
            nonlocal saved
            if saved != done:
                checkpoints.save(done, state, {"best": best, "config": as_json(config)})
                saved = done

        losses: list[float] = []
        clock = [0.0]
        pending, done = None, first
        try:
            for number in range(first, steps):
                if stop.requested(number):
                    break
                begun = time.perf_counter()
                batch = place_batch(next(stream), mesh)
                state, metrics = step(state, batch, number)
                if pending is not None:
                    settle(pending)  # while this step computes
                pending, done = (number, metrics, begun), number + 1
                due = [done % every == 0 for every in (config.eval_every, config.checkpoint_every)]
                if done == steps or any(due):
                    settle(pending)
                    pending = None
                    if done == steps or due[0]:
                        evaluate(done)
                    if done == steps or due[1]:
                        save(done)
                    clock[0] = time.perf_counter()
            if pending is not None:
                settle(pending)
        except Diverged as failure:
            save(failure.number)  # the state is still the one before that step
            print(explain(failure, state, batches, objective, mesh, losses), file=sys.stderr)
            return 1
        if done > first or saved is None:
            save(done)
        if stop.signal is not None:
            print(f"stopped by {stop.signal.name} after step {done} of {steps}, saved; the same line goes on")
            return stop.exit_code
    if host == 0:
        print(f"done: best mean IoU {best['mean_iou']:.4f} after step {best['step']}; see {output}")
    return 0


class Diverged(Exception):
    """A step whose loss or gradient is not finite."""

    def __init__(self, number: int, metrics: dict):
        super().__init__(f"step {number}: loss {metrics['loss']}")
        self.number, self.metrics = number, metrics


def open_output(config: Config) -> Path:
    """Makes the output folder, or sees that the run in it is this one."""
    written = config.output / "config.json"
    if written.exists():
        if config.resume == "never":
            raise ValueError(
                f"{config.output}: there is a run in this folder already; choose another --output, or go on "
                "with it by --resume auto"
            )
        try:
            saved = json.loads(written.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{written}: expected the settings of a run, got no JSON: {error}") from error
        check_same_run(config, saved, config.output)
    config.output.mkdir(parents=True, exist_ok=True)
    return config.output


def build_augmentation(config: Config) -> Augmentation | None:
    if not config.augment:
        return None
    jitter = config.jitter
    return Augmentation(
        base_size=config.base_size,
        crop_size=config.crop_size,
        scale=config.scale,
        flip=config.flip,
        jitter=Jitter(brightness=jitter, contrast=jitter, saturation=jitter) if jitter else None,
    )


def evenly(count: int, limit: int | None) -> list[int]:
    """Chooses at most `limit` of the numbers below `count`, evenly spread."""
    limit = count if limit is None else min(limit, count)
    return np.linspace(0, count - 1, limit).round().astype(int).tolist() if limit > 1 else [0][:limit]


def explain(failure: Diverged, state, batches: Batches, objective: Objective, mesh, losses) -> str:
    """Looks at the batch that went wrong, with the weights before it, which are saved."""
    batch = place_batch(batches.batch(failure.number), mesh)
    loss, logits, gradients = jax.jit(objective.probe)(state.params, state.rest, batch)
    indices = batches.indices(failure.number)
    return diagnose(
        step=failure.number,
        lr=float(failure.metrics["lr"]),
        losses=losses,
        loss=float(loss),
        logits=jax.device_get(logits),
        labels=jax.device_get(batch["labels"]),
        num_classes=objective.num_classes,
        gradients=jax.device_get(gradients),
        parameters=jax.device_get(state.params),
        pictures=[batches.dataset.name(int(index)) for index in indices],
    )


if __name__ == "__main__":
    sys.exit(main())
