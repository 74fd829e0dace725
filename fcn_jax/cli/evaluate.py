"""fcn-jax evaluate: scores weights on a dataset, class by class.

fcn-jax evaluate --dataset voc --data-dir VOCdevkit --weights fcn_resnet50.pth
fcn-jax evaluate --dataset camvid --data-dir CamVid --split test --weights runs/camvid/best.safetensors
fcn-jax evaluate --dataset cityscapes --data-dir cityscapes --weights fcn_r50-d8_769x769_40k_cityscapes.pth
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from fcn_jax.cli.check import add_label_arguments, label_options
from fcn_jax.cli.computing import start_computing
from fcn_jax.cli.progress import plain_console, progress_on
from fcn_jax.cli.segmenting.chosen_segmenter import split_names
from fcn_jax.cli.weights import add_weights_arguments, load_chosen
from fcn_jax.datasets import SegmentationDataset, as_binary, list_datasets, open_dataset
from fcn_jax.errors import SettingError
from fcn_jax.evaluation import Evaluator
from fcn_jax.evaluation.metrics import format_scores
from fcn_jax.meta import Window
from fcn_jax.models.model import SegmentationModel
from fcn_jax.multiband import Multiband
from fcn_jax.visualization.confusion import confusion_picture
from weights_converter.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--dataset", default="folder", choices=list_datasets(), help="the dataset to score on"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="the folder with the dataset's files")
    parser.add_argument(
        "--foreground",
        default="",
        metavar="A,B",
        help="for a model with one logit: the classes that are the foreground; by default those that the "
        "model was trained on",
    )
    parser.add_argument("--split", default="val", help="the part of the dataset to score (val)")
    add_label_arguments(parser)
    add_weights_arguments(parser)
    parser.add_argument(
        "--size",
        choices=("original", "torchvision"),
        default="original",
        help="score at the labels' own size (original), or with a shorter edge of 520 (torchvision)",
    )
    parser.add_argument(
        "--scales",
        default="1",
        metavar="A,B",
        help="average over the picture at these scales, such as 0.75,1,1.25",
    )
    parser.add_argument("--flip", action="store_true", help="average over the mirror image too")
    parser.add_argument(
        "--window",
        default="weights",
        metavar="N",
        help="average over windows of N x N pixels that overlap; none sees whole pictures; by default as the "
        "weights say they were tested",
    )
    parser.add_argument(
        "--stride", type=int, metavar="N", help="pixels from one window to the next (two thirds of --window)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score only the first N pictures")
    parser.add_argument("--output", default="evaluated", metavar="DIR", help="folder to write to (evaluated)")


def run(options: argparse.Namespace) -> int:
    """Prints a table; writes scores.json and confusion.png. Stops at a picture that cannot be read."""
    scales = _scales(options.scales)
    if options.limit is not None and options.limit < 1:
        raise SettingError(
            subject="--limit", expected="a number of pictures of at least 1", got=str(options.limit)
        )
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    start_computing()
    model, path = load_chosen(options)
    dataset = _dataset_for(options, model)
    window = _window(options, model.meta.window)
    evaluator = Evaluator(model, size=options.size, scales=scales, flip=options.flip, window=window)
    indices = range(min(len(dataset), options.limit or len(dataset)))

    with progress_on(plain_console(stderr=True)) as progress:
        task = progress.add_task("evaluating", total=len(indices))
        confusion = evaluator.run(
            dataset,
            indices=indices,
            on_progress=lambda done, total: progress.update(task, completed=done),
        )

    scores = confusion.scores()
    facts = {
        "model": model.spec.name,
        "weights": str(path),
        **({"key": options.key} if options.key else {}),
        "dtype": options.dtype,
        "dataset": options.dataset,
        "split": options.split,
        "pictures": len(indices),
        "of": len(dataset),
        "size": options.size,
        "scales": list(scales),
        "flip": options.flip,
        "window": None if window is None else dataclasses.asdict(window),
    }
    names = evaluator.names(dataset)
    facts |= scores.to_dict(names) | {"confusion": confusion.counts.tolist()}
    with replacing(output / "scores.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with replacing(output / "confusion.png") as temporary:
        confusion_picture(confusion.counts, names).save(temporary)
    print(format_scores(scores, names))
    print(f"{len(indices)} of {len(dataset)} pictures of {options.dataset} {options.split}; see {output}")
    if np.isnan(scores.mean_iou):
        print("fcn-jax: no pixel of these pictures has a class", file=sys.stderr)
    elif confusion.counts.any(axis=1).sum() == 1:
        only = dataset.categories[int(confusion.counts.any(axis=1).argmax())]
        print(
            f"fcn-jax: warning: only {only} has labels in these pictures: the scores say little",
            file=sys.stderr,
        )
    return 0


def _window(options: argparse.Namespace, tested: Window | None) -> Window | None:
    """Returns the window that the options choose.

    Args:
      tested: the window that the weights were tested with.
    """
    if options.window in ("weights", "none"):
        if options.stride is not None:
            raise SettingError(subject="--stride", expected="--window N beside it", got=str(options.stride))
        return tested if options.window == "weights" else None
    side = int(options.window) if options.window.isdecimal() else 0
    if side < 1:
        raise SettingError(
            subject="--window", expected="a number of pixels, none or weights", got=repr(options.window)
        )
    step = max(1, round(side * 2 / 3)) if options.stride is None else options.stride
    return Window(crop=(side, side), stride=(step, step))


def _dataset_for(options: argparse.Namespace, model: SegmentationModel) -> SegmentationDataset:
    """Opens the dataset with the model's channels; for one logit with foreground and background."""
    transforms = model.transforms
    channels = transforms.channels if isinstance(transforms, Multiband) else None
    dataset = open_dataset(
        options.dataset, options.data_dir, options.split, channels=channels, **label_options(options)
    )
    foreground = split_names(options.foreground)
    if model.spec.num_classes == 1:
        return as_binary(dataset, model.categories, foreground)
    if foreground:
        raise SettingError(
            f"{model.spec} has no single foreground", subject="--foreground", hint="leave it out"
        )
    return dataset


def _scales(text: str) -> tuple[float, ...]:
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale <= 16 for scale in scales):
        raise SettingError(
            subject="--scales", expected="numbers above 0, such as 0.75,1,1.25", got=repr(text)
        )
    return scales
