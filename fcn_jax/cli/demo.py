"""fcn-jax demo: trains a small FCN-8s on drawn scenes and segments some, offline.

The whole way of the data in a minute or two on two cores: scenes, batches, training, scores, weights in a
file, and pictures segmented by them. Needs `pip install 'fcn_jax[train]'`, for Optax and Matplotlib.
"""

import argparse
import time
from pathlib import Path

import jax
from flax import nnx
from PIL import Image

import fcn_jax
from fcn_jax.datasets import Scenes, open_dataset
from fcn_jax.datasets.augmentation import Augmentation
from fcn_jax.datasets.batches import Batches
from fcn_jax.evaluation import Evaluator, write_sheet
from fcn_jax.evaluation.metrics import format_scores
from fcn_jax.meta import palette_of
from fcn_jax.models.arrays import Structure, fill_model

WIDTHS = {"features": (8, 16, 32, 48, 48), "fc_features": 96}
STEPS, BATCH_SIZE, LEARNING_RATE, AVERAGE = 560, 2, 4e-3, 0.98
EVERY, SOME = 80, 20  # steps between looks at so many unseen scenes
SHOWN = 3  # unseen scenes that are segmented from their files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder to write to (demo)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"of the training ({STEPS})")


def run(options: argparse.Namespace) -> int:
    """Trains, scores, saves, segments; prints where everything lies."""
    if options.steps < 1:
        raise ValueError(f"--steps: expected at least 1, got {options.steps}")
    try:
        from fcn_jax.training.reports.curves import draw_curves
    except ImportError as error:
        raise ValueError(f"the demo trains, for which a package is missing ({error})") from error
    output = Path(options.output)
    (output / "scenes").mkdir(parents=True, exist_ok=True)
    scenes, unseen = open_dataset("scenes", split="train"), open_dataset("scenes", split="val")
    print(f"training a narrow FCN-8s on {len(scenes)} drawn scenes", flush=True)
    model = fcn_jax.fcn8s_vgg16(num_classes=len(scenes.categories), **WIDTHS)
    model.update_meta(
        categories=scenes.categories, palette=palette_of(scenes.palette, len(scenes.categories))
    )
    records = train(model, scenes, unseen, options.steps)

    evaluator = Evaluator(model)
    scores = evaluator.run(unseen).scores()
    print(f"\n{len(unseen)} scenes that it has not seen:\n{format_scores(scores, unseen.categories)}\n")
    weights = output / "fcn8s_scenes.safetensors"
    fcn_jax.save_weights(model, weights)
    last = {"kind": "eval", "step": options.steps, **scores.to_dict()}
    draw_curves([*records, last], output / "curves.png")
    write_sheet(evaluator, unseen, range(SHOWN), output / "sheet.png")

    segmenter = fcn_jax.Segmenter(fcn_jax.load_model(weights))
    for index in range(SHOWN):
        path = output / "scenes" / f"{unseen.name(index)}.png"
        Image.fromarray(unseen[index].image).save(path)
        segmenter(path).save(output)
    print(f"Look at {output / 'sheet.png'}, {output / 'curves.png'} and {output / 'scene_0_figure.png'}.")
    print(f"Any picture: fcn-jax segment PICTURE --weights {weights}")
    return 0


def train(model: nnx.Module, scenes: Scenes, unseen: Scenes, steps: int) -> list[dict]:
    """Trains a model in place; gives a record for each step and, now and then, scores of unseen scenes."""
    from fcn_jax.training.objective import Objective
    from fcn_jax.training.optimizers import GROUPS, adamw, learning_rate
    from fcn_jax.training.reports.progress import progress_bar
    from fcn_jax.training.setup import widen_fc
    from fcn_jax.training.state import create_state, evaluated_arrays
    from fcn_jax.training.step import make_train_step

    widen_fc(model)
    evaluator = Evaluator(model)
    model.train()
    model.backbone.dropout.rate = 0.0  # half of so few channels would be missed
    structure = Structure(model)
    schedule = learning_rate("cosine", LEARNING_RATE, steps, warmup_steps=steps // 10)
    optimizer = adamw(structure.param_paths, schedule, groups=GROUPS["kernels"], weight_decay=1e-4, clip=1.0)
    objective = Objective(
        structure=structure, num_classes=len(scenes.categories), normalize=model.transforms.normalize
    )
    step = make_train_step(objective, optimizer, schedule, average_decay=AVERAGE)
    state = create_state(model, optimizer, average=True)
    augmentation = Augmentation(base_size=None, crop_size=scenes.size, scale=(1, 1))
    batches = Batches(scenes, batch_size=BATCH_SIZE, seed=0, augmentation=augmentation)
    records = []
    with progress_bar(steps, 0) as bar:
        for number in range(steps):
            begun = time.perf_counter()
            state, metrics = step(state, batches.batch(number), number)
            metrics = jax.device_get(metrics)
            record = {name: float(metrics[name]) for name in ("loss", "lr")}
            record["images_per_second"] = BATCH_SIZE / (time.perf_counter() - begun)
            records.append({"kind": "train", "step": number, **record})
            bar.step(number, record)
            if (number + 1) % EVERY == 0:
                fill_model(model, evaluated_arrays(state))
                evaluator.update(model)
                scores = evaluator.run(unseen, indices=range(SOME)).scores()
                records.append({"kind": "eval", "step": number + 1, **scores.to_dict()})
    fill_model(model, evaluated_arrays(state))
    model.eval()
    return records
