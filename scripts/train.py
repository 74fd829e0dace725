"""Trains a segmentation network, step by step. `fcn-jax train` is the same run in one command.

    python scripts/train.py --data-dir photos --output runs/photos       # a folder with images/ and labels/
    python scripts/train.py --dataset camvid --data-dir CamVid --output runs/camvid --steps 4000
    python scripts/train.py --recipe torchvision --data-dir coco --weights-backbone DEFAULT --output runs/coco

Settings come from a recipe (small-data, if not named) and from the command line; `--help` lists them. After
a power cut, `kill -9`, Ctrl-C or SIGTERM, the same command resumes the run. On the same machine with as many
devices, the weights then equal those of an uninterrupted run, bit for bit. Needs
`pip install 'fcn_jax[train]'`.
"""

import os
import signal
import sys


def train(config) -> int:
    """Trains with the settings of a `fcn_jax.training.Config`; returns the exit status."""
    from fcn_jax.cli.train import steps_shown
    from fcn_jax.training import Run

    with Run(config) as run, steps_shown(run):
        # Locks the output folder until this run ends. A run with other settings is not overwritten.
        run.open_folder()

        # Data: run.train_set and run.val_set, pictures with a label for each pixel; and run.input, which
        # returns the batch of any step by its number, so that a run can resume at any step.
        run.open_data()

        # Model: run.model, random, or with a classifier's or an earlier training's weights; and
        # run.evaluations, which scores it.
        run.build_model()

        # Loss and optimizer: run.objective, and run.train_step, one compiled function for forward pass,
        # backward pass and update; and run.state, the arrays that it changes, on all devices.
        run.build_step()

        # An earlier start of this run: run.state and run.done, from the newest whole checkpoint.
        run.restore()

        for batch in run.batches():  # of the remaining steps; Ctrl-C or SIGTERM ends them early
            run.step(batch)
            if run.evaluation_due:
                run.evaluate()  # scores; best.safetensors, last.safetensors, sheets/ and curves.png
            if run.checkpoint_due:
                run.save()  # in the background

        return run.finish()


if __name__ == "__main__":  # the processes of --workers import this file too
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # Ctrl-C during the imports, which take seconds
    from fcn_jax.cli.train import as_program

    sys.exit(as_program(train, "train.py", __doc__))
