"""A training run's settings, all in one place, and the recipes that fill them in by name.

    config = recipe("small-data")
    config = dataclasses.replace(config, dataset="folder", data_dir=Path("photos"))

Source: torchvision's `references/segmentation` (its README's command lines and its defaults); the solvers of
the paper's authors (section 7 of what they released); "small-data" is this package's own.
"""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weights_converter.files import replacing


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a training run. Those of data and output are yours; a recipe fills in the others."""

    recipe: str = "small-data"
    """Where the other defaults come from: small-data, torchvision or paper."""

    # Data
    dataset: str = "folder"
    """folder, voc, sbd, coco, camvid or scenes."""
    data_dir: Path | None = None
    """Where its files lie; a folder of your own has images/ and labels/ in it."""
    train_split: str = "train"
    """What to train on."""
    val_split: str = "val"
    """What to evaluate on."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in threads."""

    # Model
    model: str = "fcn_resnet50"
    """One of fcn_jax.list_models()."""
    weights: Path | None = None
    """Checkpoint to start from, in any format; its score layers stay behind if its classes are others."""
    weights_backbone: str | None = None
    """Classifier's checkpoint for the backbone; or the name of published weights, such as DEFAULT."""
    aux_loss: bool = False
    """Trains the ResNets with an auxiliary head."""
    features: tuple[int, ...] | None = None
    """Channels of the five blocks of one of the paper's trunks, for narrow instances."""
    fc_features: int | None = None
    """Channels of fc6 and fc7, likewise."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters, statistics and the loss stay float32."""
    remat: bool = False
    """Saves memory: blocks are computed again in the backward pass."""

    # Length
    steps: int | None = None
    """Updates of the weights; None is as many as `epochs` take."""
    epochs: float = 30.0
    """Times through the training set; given in place of `steps`."""
    batch_size: int = 8
    """Pictures in a step, over all devices."""
    accumulate: int = 1
    """Parts that a batch goes through the model in, to save memory."""

    # Optimizer
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 3e-4
    """Learning rate, after the warmup."""
    schedule: Literal["poly", "cosine", "constant"] = "cosine"
    warmup: float = 0.0
    """Share of the steps in which the learning rate first rises from a hundredth."""
    momentum: float = 0.9
    """Of sgd."""
    weight_decay: float = 1e-4
    groups: Literal["torchvision", "paper", "paper-alexnet", "kernels"] = "kernels"
    """Which parameters learn faster and which decay: see fcn_jax.training.optimizers.GROUPS."""
    clip: float | None = None
    """Largest norm of the gradient."""
    average: float | None = None
    """Decay of the moving average of the weights (EMA), which is then what is evaluated and saved."""

    # Loss
    reduction: Literal["mean", "sum"] = "mean"
    """Over the valid pixels; sum is the paper's."""
    aux_weight: float = 0.5
    """Weight of the auxiliary head's loss."""
    class_weights: Literal["none", "median-frequency"] = "none"
    """median-frequency counts the pixels of the training set first."""
    label_smoothing: float = 0.0

    # Augmentation
    augment: bool = True
    """Resize, mirror and crop; without, pictures are as they are."""
    base_size: int | None = 520
    """Shorter edge that `scale` multiplies; None is the picture's own."""
    crop_size: tuple[int, int] = (480, 480)
    """Height and width that the model is trained on."""
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    """How likely a mirror image is."""
    jitter: float = 0.0
    """How far brightness, contrast and saturation vary, from 0 to 1."""
    with_replacement: bool = False
    """Draws every picture from the whole set, as the paper did."""

    # Evaluation and output
    eval_every: int = 500
    """Steps between evaluations; there is one at the end in any case."""
    eval_size: Literal["original", "recipe"] = "original"
    """The size that scores are taken at: the labels' own, or a shorter edge of 520 (torchvision's recipe)."""
    eval_limit: int | None = None
    """Evaluate on so many pictures of the split, evenly spread; the scores are then of that part alone."""
    output: Path = Path("runs/latest")
    """Folder to write to."""
    resume: Literal["auto", "never", "must"] = "auto"
    """Go on with the run that is in the output folder: if there is one, never, or there must be one."""
    checkpoint_every: int = 100
    """Steps between checkpoints: what a power cut can cost."""
    keep: int = 2
    """Newest checkpoints that stay."""
    seed: int = 0
    """Decides the random weights, the dropout, the order and the augmentation."""

    # Devices
    devices: int | None = None
    """How many of this machine's devices to use; all if not given."""
    sharding: Literal["replicated", "fsdp"] = "replicated"
    """fsdp splits parameters and moments over the devices as well."""
    distributed: bool = False
    """Several hosts, as Slurm, Open MPI, Kubernetes or a TPU pod tells them; each runs the same line."""
    coordinator: str | None = None
    """HOST:PORT of the first host, where nothing tells the hosts of one another."""
    processes: int | None = None
    """How many hosts there are, with --coordinator."""
    process: int | None = None
    """Which of them this is, from 0."""

    def __post_init__(self):
        for name in AT_LEAST_1:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        for name in NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name}: expected at least 0, got {value}")
        if not self.epochs > 0:
            raise ValueError(f"epochs: expected a number above 0, got {self.epochs}")


AT_LEAST_1 = (
    "steps",
    "batch_size",
    "accumulate",
    "eval_every",
    "eval_limit",
    "checkpoint_every",
    "keep",
    "devices",
    "processes",
)
NOT_NEGATIVE = (
    "workers",
    "lr",
    "warmup",
    "momentum",
    "weight_decay",
    "clip",
    "aux_weight",
    "seed",
    "process",
)


SMALL_DATA = Config(
    recipe="small-data",
    aux_loss=True,
    steps=2000,
    batch_size=8,
    optimizer="adamw",
    lr=3e-4,
    schedule="cosine",
    warmup=0.05,
    weight_decay=1e-2,
    groups="kernels",
    clip=1.0,
    average=0.99,
    base_size=None,
    crop_size=(320, 320),
    jitter=0.2,
    eval_every=200,
)

TORCHVISION = Config(
    recipe="torchvision",
    dataset="coco",
    aux_loss=True,
    epochs=30,
    batch_size=32,
    optimizer="sgd",
    lr=0.02,
    schedule="poly",
    momentum=0.9,
    weight_decay=1e-4,
    groups="torchvision",
    eval_size="recipe",
    eval_every=2500,
    checkpoint_every=500,
)

PAPER = Config(
    recipe="paper",
    dataset="sbd",
    model="fcn32s_vgg16",
    steps=100_000,
    batch_size=1,
    optimizer="sgd",
    lr=1e-10,
    schedule="constant",
    momentum=0.99,
    weight_decay=5e-4,
    groups="paper",
    reduction="sum",
    augment=False,
    with_replacement=True,
    eval_every=4000,
    checkpoint_every=1000,
    devices=1,
)

# The authors' solvers, where they differ from that of voc-fcn32s.
PAPER_SOLVERS = {
    "fcn32s_vgg16": {},
    "fcn16s_vgg16": {"lr": 1e-12},
    "fcn8s_vgg16": {"lr": 1e-14},
    "fcn8s_atonce_vgg16": {"steps": 300_000},
    "fcn32s_alexnet": {
        "lr": 1e-4,
        "momentum": 0.9,
        "batch_size": 20,
        "accumulate": 20,
        "reduction": "mean",
        "groups": "paper-alexnet",
    },
}

RECIPES = {"small-data": SMALL_DATA, "torchvision": TORCHVISION, "paper": PAPER}


def recipe(name: str, model: str | None = None) -> Config:
    """Gives a recipe's settings, for a model that has some of its own (the paper's solvers).

    Raises:
      ValueError: an unknown recipe, or a model that the paper has not.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    config = RECIPES[name]
    model = model or config.model
    config = dataclasses.replace(config, model=model, aux_loss=config.aux_loss and has_aux(model))
    if name == "paper":
        if model not in PAPER_SOLVERS:
            raise ValueError(
                f"recipe: the paper trained {', '.join(PAPER_SOLVERS)}; for {model} try another recipe"
            )
        return dataclasses.replace(config, **PAPER_SOLVERS[model])
    return config


def has_aux(model: str) -> bool:
    """Tells whether a model, by name, can have an auxiliary head."""
    return model.startswith("fcn_resnet")


def save_config(config: Config, path: str | os.PathLike) -> None:
    """Writes the settings as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(as_json(config), indent=2) + "\n", encoding="utf-8")


def as_json(config: Config) -> dict:
    """Gives the settings as JSON can hold them."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=os.fspath))
