"""What do the skips add? Trains FCN-32s, FCN-16s from it, FCN-8s from that, and draws docs/skips.png.

    python scripts/draw_skips.py [--output docs/skips.png]

Narrow networks (8 to 96 channels) learn to label drawn things; over half of the things are thin. It takes 5
minutes on two cores. Expect a mean IoU on unseen scenes near 0.39 (32s), 0.58 (16s) and 0.79 (8s); the
32s finds neither rings nor bars. As in the paper, each network starts from the next coarser one, with its new
score layer at zero. So the finer networks have also trained longer, which explains part of the gain: the 32s
still confuses classes when the 16s starts. Unlike in the paper: Adam, a loss averaged over pixels, no
dropout, a random backbone.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_jax.cli.train import quiet_run, steps_shown
from fcn_jax.datasets import Sample, Scenes
from fcn_jax.datasets.dataset import check_index
from fcn_jax.datasets.scenes import draw_scene
from fcn_jax.evaluation import Evaluator
from fcn_jax.training import Config, Run
from fcn_jax.visualization import label_image
from fcn_jax.visualization.lettering import INK, PALE

# Settings
SIZE = 224
THINGS = ["disc", "square", "triangle"] * 2 + ["ring"] * 3 + ["bar"] * 4  # over half are thin
TRAINING, UNSEEN = 160, 48  # scenes
SHOWN = 3  # the first of the unseen ones
STEPS = {"fcn32s_vgg16": 500, "fcn16s_vgg16": 250, "fcn8s_vgg16": 250}
TITLES = {"fcn32s_vgg16": "FCN-32s", "fcn16s_vgg16": "FCN-16s", "fcn8s_vgg16": "FCN-8s"}
GAP, HEADER = 16, 58


class Heaps(Scenes):
    """Scenes with all things in one heap."""

    def __getitem__(self, index: int) -> Sample:
        random = np.random.RandomState([self.seed, check_index(index, len(self))])
        return draw_scene(random, self.size, things=THINGS, radius=(10, 30), half_width=(2, 3.5), margin=10)


def settings(name: str, coarser: Path | None, output: Path, steps: int) -> Config:
    """Returns the settings of a run that starts from the coarser network's weights."""
    return Config(
        model=name,
        weights=coarser,
        features=(8, 16, 32, 48, 48),
        fc_features=96,
        dropout=False,
        steps=steps,
        batch_size=2,
        lr=1.5e-3,
        warmup=0.1,
        weight_decay=0.0,
        clip=1.0,
        base_size=None,
        crop_size=(SIZE, SIZE),
        scale=(1, 1),
        with_replacement=True,
        eval_every=steps,
        checkpoint_every=steps,
        devices=1,
        output=output,
    )


def train(train_set: Scenes, unseen: Scenes, steps: dict[str, int], folder: Path) -> list[tuple]:
    """Trains the networks, each from the one before; returns a column of the page for each."""
    columns, coarser = [], None
    for name, count in steps.items():
        begin = time.perf_counter()
        run = Run(settings(name, coarser, folder / name, count), train_set=train_set, val_set=unseen)
        with quiet_run(), steps_shown(run):
            if status := run.train():
                sys.exit(status)
        coarser = run.folder.last
        evaluator = Evaluator(run.model)
        scores = evaluator.run(unseen).scores()
        print(f"{name}: mean IoU {scores.mean_iou:.3f}, {time.perf_counter() - begin:.0f} s", flush=True)
        ious = zip(unseen.categories, scores.class_iou, strict=True)
        print("  " + ", ".join(f"{kind} {iou:.3f}" for kind, iou in ious))
        found = [evaluator.labels(unseen[index].image) for index in range(SHOWN)]
        columns.append((TITLES[name], f"mean IoU {scores.mean_iou:.1%}", show(found, unseen.palette)))
    return columns


# Picture
def show(labels: list[np.ndarray], colours: np.ndarray) -> list[Image.Image]:
    return [label_image(each, colours=colours).convert("RGB") for each in labels]


def draw_page(columns: list[tuple], scenes: Scenes) -> Image.Image:
    """Lays out captions, scenes, and the classes' colours below. Keeps 256 colours, for a small file."""
    large, small = ImageFont.load_default(19), ImageFont.load_default(15)
    width, height = GAP + (SIZE + GAP) * len(columns), HEADER + (SIZE + GAP) * SHOWN + 34
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for number, (title, subtitle, pictures) in enumerate(columns):
        left = GAP + (SIZE + GAP) * number
        draw.text((left + SIZE / 2, 20), title, INK, large, anchor="mm")
        draw.text((left + SIZE / 2, 42), subtitle, PALE, small, anchor="mm")
        for row, picture in enumerate(pictures):
            page.paste(picture, (left, HEADER + (SIZE + GAP) * row))
    lengths = [24 + round(small.getlength(name)) + 28 for name in scenes.categories]
    left, middle = (width - sum(lengths) + 28) // 2, height - 26
    for index, (name, length) in enumerate(zip(scenes.categories, lengths, strict=True)):
        colour = tuple(scenes.palette[index].tolist())
        draw.rounded_rectangle((left, middle - 8, left + 16, middle + 8), 3, colour)
        draw.text((left + 24, middle), name, INK, small, anchor="lm")
        left += length
    return page.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)


def draw(output: Path, steps: dict[str, int], training: int = TRAINING, unseen: int = UNSEEN) -> None:
    """Trains the networks on `training` scenes, and draws the page from unseen ones."""
    train_set, val_set = Heaps(training, (SIZE, SIZE), seed=0), Heaps(unseen, (SIZE, SIZE), seed=1)
    samples = [val_set[index] for index in range(SHOWN)]
    columns = [
        ("picture", "not seen in training", [Image.fromarray(sample.image) for sample in samples]),
        (
            "truth",
            f"{len(val_set.categories)} classes",
            show([sample.labels for sample in samples], val_set.palette),
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        columns += train(train_set, val_set, steps, Path(folder))
    draw_page(columns, val_set).save(output, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", default=Path("docs/skips.png"), type=Path, metavar="PNG")
    draw(parser.parse_args().output, STEPS)
