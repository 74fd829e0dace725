"""A training run's settings, all in one place."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_jax.errors import SettingError
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
    """The folder with its files; a folder of your own has images/ and labels/ in it."""
    train_split: str = "train"
    """What to train on."""
    val_split: str = "val"
    """What to evaluate on."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in threads."""

    # Model
    model: str = "fcn_resnet50"
    """A name that `fcn-jax models` lists."""
    weights: Path | None = None
    """Checkpoint to start from, in any format; if its classes are others, its score layers stay behind."""
    weights_backbone: str | None = None
    """A classifier's checkpoint for the backbone, or the name of published weights, such as DEFAULT."""
    aux_loss: bool = False
    """Trains the ResNets with an auxiliary head."""
    features: tuple[int, ...] | None = None
    """Channels of the five blocks in the paper's networks; fewer than published make a narrow one."""
    fc_features: int | None = None
    """Channels of fc6 and fc7 in the paper's networks."""
    dropout: bool = True
    """Drops half of the last features in training, as published; narrow networks learn better without."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; parameters, statistics and the loss stay float32."""
    remat: bool = False
    """Computes blocks again in the backward pass, which saves memory; not for fcn32s_alexnet."""

    # Length
    steps: int | None = None
    """Updates of the weights; None takes as many as `epochs` need."""
    epochs: float = 30.0
    """Times through the training set; a substitute for `steps`."""
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
    """Share of the steps in which the learning rate first rises from a hundredth of itself."""
    momentum: float = 0.9
    """What sgd keeps of its last update."""
    weight_decay: float = 1e-4
    groups: Literal["torchvision", "paper", "paper-alexnet", "kernels"] = "kernels"
    """Which parameters learn faster and which decay: see fcn_jax.training.optimizers.GROUPS."""
    clip: float | None = None
    """Largest norm of the gradient."""
    average: float | None = None
    """Decay of the moving average of the weights (EMA), which is then what is evaluated and saved."""

    # Loss
    reduction: Literal["mean", "sum"] = "mean"
    """How the losses of the valid pixels become one: sum is the paper's."""
    aux_weight: float = 0.5
    """Weight of the auxiliary head's loss."""
    class_weights: Literal["none", "median-frequency"] = "none"
    """median-frequency counts the pixels of the training set first."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""

    # Augmentation
    augment: bool = True
    """Resizes, mirrors and crops pictures; without it they stay as they are."""
    base_size: int | None = 520
    """Shorter edge that `scale` multiplies; None takes the picture's own."""
    crop_size: tuple[int, int] = (480, 480)
    """Height and width that the model is trained on."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Least and greatest factor that a picture is resized by."""
    flip: float = 0.5
    """How likely a mirror image is."""
    jitter: float = 0.0
    """How far brightness, contrast and saturation vary, from 0 to 1."""
    with_replacement: bool = False
    """Draws every picture from the whole set, as the paper did."""

    # Evaluation and output
    eval_every: int = 500
    """Steps between evaluations; there is one at the end in any case."""
    eval_size: Literal["original", "torchvision"] = "original"
    """The size that scores are taken at: the labels' own, or a shorter edge of 520 (torchvision's recipe)."""
    eval_limit: int | None = None
    """Evaluate on so many pictures of the split, evenly spread; the scores are then of that part alone."""
    output: Path = Path("runs/latest")
    """Folder to write to."""
    resume: Literal["auto", "never", "must"] = "auto"
    """Go on with the run that is in the output folder: if there is one, never, or there must be one."""
    checkpoint_every: int = 100
    """Steps between checkpoints: a power cut costs at most so many."""
    keep: int = 2
    """How many of the newest checkpoints stay."""
    seed: int = 0
    """Decides the random weights, the dropout, the order and the augmentation."""

    # Devices
    devices: int | None = None
    """How many of this machine's devices to use; all if not given."""
    sharding: Literal["replicated", "fsdp"] = "replicated"
    """fsdp splits parameters and moments over the devices as well."""
    distributed: bool = False
    """Trains on the hosts that Slurm, Open MPI, Kubernetes or a TPU pod lists; each runs the same line."""
    coordinator: str | None = None
    """HOST:PORT of the first host, where nothing lists the hosts."""
    processes: int | None = None
    """How many hosts there are, with --coordinator."""
    process: int | None = None
    """Which of the hosts this is, from 0."""

    def __post_init__(self):
        for name, (expected, within) in RANGES.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if value is not None and not all(map(within, values)):
                raise SettingError(subject=name, expected=expected, got=str(value))
        if self.scale[0] > self.scale[1]:
            raise SettingError(subject="scale", expected="the lesser factor first", got=str(self.scale))


def _at_least(bound: int):
    return f"at least {bound}", lambda value: bound <= value < float("inf")


ABOVE_0 = "a number above 0", lambda value: 0 < value < float("inf")
SHARE = "a share from 0 to 1", lambda value: 0 <= value <= 1
SHARE_BELOW_1 = "a share from 0 to below 1", lambda value: 0 <= value < 1

RANGES = {
    "workers": _at_least(0),
    "features": _at_least(1),
    "fc_features": _at_least(1),
    "steps": _at_least(1),
    "epochs": ABOVE_0,
    "batch_size": _at_least(1),
    "accumulate": _at_least(1),
    "lr": _at_least(0),
    "warmup": SHARE_BELOW_1,
    "momentum": SHARE_BELOW_1,
    "weight_decay": _at_least(0),
    "clip": ABOVE_0,
    "average": SHARE_BELOW_1,
    "aux_weight": _at_least(0),
    "label_smoothing": SHARE_BELOW_1,
    "base_size": _at_least(1),
    "crop_size": _at_least(1),
    "scale": ABOVE_0,
    "flip": SHARE,
    "jitter": SHARE,
    "eval_every": _at_least(1),
    "eval_limit": _at_least(1),
    "checkpoint_every": _at_least(1),
    "keep": _at_least(1),
    "seed": _at_least(0),
    "devices": _at_least(1),
    "processes": _at_least(1),
    "process": _at_least(0),
}
"""What the numbers among the settings may be: in words, and as a test of each number."""


def save_config(config: Config, path: str | os.PathLike) -> None:
    """Writes the settings as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(as_json(config), indent=2) + "\n", encoding="utf-8")


def as_json(config: Config) -> dict:
    """Gives the settings as JSON can hold them."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=os.fspath))
