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

import sys
import time

import jax
import numpy as np

from fcn_jax.cli import messages
from fcn_jax.cli.compilation import keep_compiled
from fcn_jax.datasets import Cached, DatasetError, open_dataset
from fcn_jax.datasets.augmentation import Augmentation, Jitter
from fcn_jax.datasets.batches import Batches
from fcn_jax.datasets.dataset import fingerprint
from fcn_jax.evaluation import Evaluator, write_sheet
from fcn_jax.models.arrays import Structure, fill_model
from fcn_jax.training.checkpointing.checkpoints import Checkpoints
from fcn_jax.training.checkpointing.manifest import CheckpointsError
from fcn_jax.training.class_weights import median_frequency
from fcn_jax.training.command_line import parse_config
from fcn_jax.training.config import Config, as_json, save_config
from fcn_jax.training.devices import (
    agreed,
    check_batch_size,
    local_copy,
    make_mesh,
    place_batch,
    place_state,
    state_shardings,
)
from fcn_jax.training.objective import Objective
from fcn_jax.training.reports.curves import draw_curves
from fcn_jax.training.reports.diagnosis import diagnose, inspect
from fcn_jax.training.reports.progress import progress_bar
from fcn_jax.training.reports.records import Records, best_step, earlier_scores, read_records
from fcn_jax.training.resume import check_goes_on, open_output
from fcn_jax.training.setup import build_model, build_optimizer
from fcn_jax.training.state import create_state, evaluated_arrays
from fcn_jax.training.step import make_train_step, split_batch
from fcn_jax.training.stop import stop_on_signals
from fcn_jax.weights.loading import save_weights

SHEET_ROWS = 4
CACHE_BYTES = 2 << 30  # of decoded pictures, over all workers
EXPECTED = (*messages.EXPECTED, CheckpointsError)


def main() -> int:
    """Runs the command line; gives the exit status."""
    try:
        return train(parse_config(sys.argv[1:], description=__doc__))
    except EXPECTED as error:
        print(f"train.py: error: {messages.in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: interrupted; the last checkpoint stands", file=sys.stderr)
        return 130


def train(config: Config) -> int:
    if config.distributed or config.coordinator:
        jax.distributed.initialize(config.coordinator, config.processes, config.process)
    host, hosts = jax.process_index(), jax.process_count()
    output = open_output(config)
    keep_compiled()

    # Data
    train_set = open_dataset(config.dataset, config.data_dir, config.train_split)
    train_set = Cached(train_set, CACHE_BYTES // max(1, config.workers))
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
    model = build_model(config, train_set.categories, say=print)
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
    facts = {"config": as_json(config), "pictures": fingerprint(train_set)}
    if restored is not None:
        check_goes_on(config, facts["pictures"], restored.facts)
        state = restored.tree
        print(f"going on after step {restored.step} of {steps}", flush=True)
    elif config.resume == "must":
        raise ValueError(f"{output}: expected a checkpoint to go on from (--resume must), there is none")
    done = 0 if restored is None else restored.step
    saved = None if restored is None else done
    chosen = evenly(len(val_set), config.eval_limit)
    scoring = {"split": config.val_split, "size": config.eval_size, "pictures": len(chosen)}
    scored = earlier_scores(output / "metrics.jsonl", scoring, done) if host == 0 else {}
    missed = agreed(done > 0 and done not in scored)

    # Loop
    with (
        stop_on_signals() as stop,
        checkpoints,
        Records(output if host == 0 else None, first_step=done, say=print) as records,
        batches.stream(done, steps, workers=config.workers) as stream,
        progress_bar(steps, done, enabled=host == 0) as bar,
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

        def evaluate() -> None:
            """Scores the model; a signal leaves it to the next start, before anything is written."""

            def seen(index: int) -> None:
                if stop.requested_here():
                    raise Stopped

            take_weights()
            evaluator.update(model)
            confusion = evaluator.run(val_set, indices=chosen[host::hosts], seen=seen).summed_over_hosts()
            if host != 0:
                return
            scores = confusion.scores()
            scored[done] = scores.mean_iou
            save_weights(model, output / "last.safetensors")
            if best_step(scored) == done:
                save_weights(model, output / "best.safetensors")
            records.eval(done, scoring | scores.to_dict())
            bar.scores(done, scores)
            (output / "sheets").mkdir(exist_ok=True)
            shown = evenly(len(val_set), SHEET_ROWS)
            write_sheet(evaluator, val_set, shown, output / "sheets" / f"step{done:07d}.png")
            draw_curves(read_records(output / "metrics.jsonl"), output / "curves.png")

        def take_weights() -> None:
            fill_model(model, local_copy(evaluated_arrays(state), mesh))

        def save() -> None:
            nonlocal saved
            if saved != done:
                checkpoints.save(done, state, facts)
                saved = done

        def leave_weights() -> None:
            """Has the weights of the last step in a file, though nobody has scored them."""
            take_weights()
            if host == 0:
                save_weights(model, output / "last.safetensors")

        def due(every: int) -> bool:
            return done > 0 and (done == steps or done % every == 0)

        losses: list[float] = []
        clock = [0.0]
        pending = None
        try:
            if missed and due(config.eval_every):
                evaluate()  # an earlier start was stopped before it could, or scored otherwise
            missed = False
            while done < steps and not stop.requested(done):
                begun = time.perf_counter()
                batch = place_batch(next(stream), mesh)
                state, metrics = step(state, batch, done)
                if pending is not None:
                    settle(pending)  # while this step computes
                pending, done = (done, metrics, begun), done + 1
                if due(config.eval_every) or due(config.checkpoint_every):
                    settle(pending)
                    pending = None
                    if due(config.eval_every):
                        evaluate()
                    if due(config.checkpoint_every):
                        save()
                    clock[0] = time.perf_counter()
            if pending is not None:
                settle(pending)
        except Stopped:
            missed = True
        except Diverged as failure:
            done = failure.number  # the state is still the one before that step
            save()
            leave_weights()
            print(explain(failure, state, batches, objective, mesh, config, losses), file=sys.stderr)
            return 1
        save()
        if done < steps or missed:
            leave_weights()
            print(f"stopped by {stop.signal.name} after step {done} of {steps}, saved; the same line goes on")
            return stop.exit_code
    if host == 0:
        best = best_step(scored)
        print(f"done: best mean IoU {scored[best]:.4f} after step {best}; see {output}")
    return 0


class Stopped(Exception):
    """A signal came during an evaluation."""


class Diverged(Exception):
    """A step whose loss or gradient is not finite."""

    def __init__(self, number: int, metrics: dict):
        super().__init__(f"step {number}: loss {metrics['loss']}")
        self.number, self.metrics = number, metrics


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


def explain(failure: Diverged, state, batches: Batches, objective: Objective, mesh, config, losses) -> str:
    """Looks at the batch that went wrong, with the weights before it, which are saved."""
    own = batches.batch(failure.number)
    batch = place_batch(own, mesh)
    parts = jax.jit(split_batch, static_argnums=1)(batch, config.accumulate)
    said = diagnose(
        inspect(objective, state.params, state.rest, batch, parts),
        step=failure.number,
        lr=float(failure.metrics["lr"]),
        losses=losses,
        labels=own["labels"],
        num_classes=objective.num_classes,
        pictures=[batches.dataset.name(int(index)) for index in batches.indices(failure.number)],
    )
    weights = config.output / "last.safetensors"
    return f"{said}\n  from the weights before it: --weights {weights} --output ANOTHER"


if __name__ == "__main__":
    sys.exit(main())
