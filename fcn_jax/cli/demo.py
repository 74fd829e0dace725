"""fcn-jax demo: trains a small FCN-8s on drawn scenes and segments some, offline.

Shows every stage, in a minute or two on two cores: scenes, batches, training, scores, a file of weights, and
segmented pictures. Needs `pip install 'fcn_jax[train]'`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import fcn_jax
from fcn_jax.cli.train import quiet_run, steps_shown
from fcn_jax.datasets import open_dataset
from fcn_jax.errors import MissingPackageError, SettingError
from fcn_jax.evaluation import Evaluator
from fcn_jax.evaluation.metrics import format_scores
from fcn_jax.evaluation.sheet import write_sheet

if TYPE_CHECKING:
    from fcn_jax.training import Config

STEPS = 560
SHOWN = 3  # unseen scenes that are segmented from their files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder to write to (demo)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"training steps ({STEPS})")


def run(options: argparse.Namespace) -> int:
    """Trains, scores, saves, segments; prints where the files are."""
    if options.steps < 1:
        raise SettingError(subject="--steps", expected="at least 1", got=str(options.steps))
    try:
        from fcn_jax.training.reports.curves import draw_curves
        from fcn_jax.training.reports.records import read_records
        from fcn_jax.training.run import Run
    except ImportError as error:
        raise MissingPackageError(
            f"the demo needs a package for training ({error})", hint="pip install 'fcn_jax[train]'"
        ) from error
    output = Path(options.output)
    (output / "scenes").mkdir(parents=True, exist_ok=True)
    unseen = open_dataset("scenes", split="val")
    with tempfile.TemporaryDirectory() as folder:
        training = Run(demo_config(options.steps, Path(folder)), val_set=unseen)
        print("training a narrow FCN-8s on drawn scenes", flush=True)
        with quiet_run(), steps_shown(training):
            status = training.train()
        if status != 0:
            return status
        records = read_records(training.folder.metrics)
    model = training.model

    evaluator = Evaluator(model)
    scores = evaluator.run(unseen).scores()
    print(f"\n{len(unseen)} scenes that it has not seen:\n{format_scores(scores, unseen.categories)}\n")
    weights = output / "fcn8s_scenes.safetensors"
    fcn_jax.save_weights(model, weights)
    records = [found for found in records if (found["kind"], found["step"]) != ("eval", options.steps)]
    on_all_scenes = {"kind": "eval", "step": options.steps, **scores.to_dict()}  # the others, on some
    draw_curves([*records, on_all_scenes], output / "curves.png")
    write_sheet(evaluator, unseen, range(SHOWN), output / "sheet.png")

    segmenter = fcn_jax.Segmenter(fcn_jax.load_model(weights))
    for index in range(SHOWN):
        path = output / "scenes" / f"{unseen.name(index)}.png"
        Image.fromarray(unseen[index].image).save(path)
        segmenter(path).save(output)
    print(f"Look at {output / 'sheet.png'}, {output / 'curves.png'} and {output / 'scene_0_figure.png'}.")
    print(f"For your own picture: fcn-jax segment PICTURE --weights {weights}")
    return 0


def demo_config(steps: int, folder: Path) -> "Config":
    """Returns the settings: a narrow network, which learns better without dropout."""
    from fcn_jax.training.config import Config

    return Config(
        dataset="scenes",
        model="fcn8s_vgg16",
        features=(8, 16, 32, 48, 48),
        fc_features=96,
        dropout=False,
        steps=steps,
        batch_size=2,
        lr=4e-3,
        warmup=0.1,
        clip=1.0,
        average=0.98,
        base_size=None,
        crop_size=(128, 128),
        scale=(1, 1),
        eval_every=80,
        eval_limit=20,
        checkpoint_every=steps,
        devices=1,
        output=folder,
    )
