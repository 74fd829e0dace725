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
    """Settings of a training run. You set the data and the output; a recipe sets the others."""

    recipe: str = "small-data"
    """Recipe that sets the other defaults: small-data, torchvision or paper."""

    # Data
    dataset: str = "folder"
    """Kind of dataset: folder, voc, sbd, coco, camvid or scenes."""
    data_dir: Path | None = None
    """Folder of the dataset's files; with the kind "folder" it has images/ and labels/ in it."""
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split to evaluate on."""
    void: str | None = None
    """Label values that mean no class besides 255, such as 0,254; of a folder."""
    values: str | None = None
    """Label value of each class in order, such as 0,255 for black and white masks; of a folder."""
    zero_is_void: bool = False
    """Takes 0 for no class, 1 for the first class, and so on; of a folder."""
    check_data: bool = True
    """Looks through the data for some seconds first, and stops at what would stop or spoil the run."""
    in_channels: int | None = None
    """Channels of the pictures, which are then read as stored: .npy, TIFF, 8 or 16 bits. Their mean and
    deviation are measured on the training split. None reads 8-bit RGB."""
    adapt: Literal["mean", "zero"] = "mean"
    """How weights for RGB serve other channels: further ones get the mean of the first three kernels, or
    zeros; see fcn_jax.weights.adaptation."""
    foreground: tuple[str, ...] = ()
    """Trains one logit, a binary model: these classes against all others. Its threshold is chosen on the
    validation split."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in threads."""

    # Model
    model: str = "fcn_resnet50"
    """A name that `fcn-jax models` lists."""
    weights: str | Path | None = None
    """Checkpoint to start from, in any format, or published weights by name, such as DEFAULT; if the classes
    differ, the score layers are left out."""
    key: str | None = None
    """Where the network is in `weights`, if the file holds several, such as model_ema."""
    not_strict: bool = False
    """Leaves out tensors of `weights` that have no place, and gives initial values to what is missing."""
    weights_backbone: str | None = None
    """A classifier's checkpoint for the backbone, or the name of published weights, such as DEFAULT; of a
    VGG16 the convolutions are enough."""
    aux_loss: bool = False
    """Trains the ResNets with an auxiliary head."""
    features: tuple[int, ...] | None = None
    """Channels of the five blocks in the paper's networks; fewer than published make a narrow one."""
    fc_features: int | None = None
    """Channels of fc6 and fc7 in the paper's networks."""
    dropout: bool = True
    """Drops half of the last features in training, as published; narrow networks learn better without."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype that the model computes in; parameters, statistics and the loss stay float32."""
    remat: bool = False
    """Computes blocks again in the backward pass, which saves memory; not for fcn32s_alexnet."""

    # Length
    steps: int | None = None
    """Updates of the weights; None takes as many as `epochs` need."""
    epochs: float = 30.0
    """Passes through the training set, if `steps` is None."""
    batch_size: int = 8
    """Pictures in a step, over all devices."""
    accumulate: int = 1
    """Parts of a batch that are computed one after another, to save memory."""

    # Optimizer
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 3e-4
    """Learning rate, after the warmup."""
    schedule: Literal["poly", "cosine", "constant"] = "cosine"
    warmup: float = 0.0
    """Share of the steps, at the start, in which the learning rate rises from a hundredth of `lr`."""
    momentum: float = 0.9
    """Share of its last update that sgd keeps."""
    weight_decay: float = 1e-4
    groups: Literal["torchvision", "paper", "paper-alexnet", "kernels"] = "kernels"
    """Which parameters learn faster and which decay: see fcn_jax.training.optimizers.GROUPS."""
    lr_factors: tuple[str, ...] = ()
    """Factors of parts' learning rates, such as backbone=0.1 score=10, by the beginning of their names."""
    freeze: tuple[str, ...] = ()
    """Parts that do not learn, by the beginning of their names: backbone, or backbone.layer1; what a file did
    not fill learns all the same. Their batch norms use the running statistics."""
    clip: float | None = None
    """Largest norm of the gradient."""
    average: float | None = None
    """Decay of the weights' moving average (EMA); the run then evaluates and saves the average."""

    # Loss
    loss: str = "ce"
    """Losses and their weights, such as ce+dice, 0.5*ce+lovasz or focal:gamma=3."""
    reduction: Literal["mean", "sum"] = "mean"
    """Mean or sum of the valid pixels' losses; the paper takes the sum."""
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
    """Length of the shorter edge, before `scale`; None takes the picture's own."""
    crop_size: tuple[int, int] = (480, 480)
    """Height and width that the model is trained on."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest factor for resizing a picture."""
    flip: float = 0.5
    """Probability that a picture is mirrored."""
    jitter: float = 0.0
    """How far brightness, contrast and saturation vary, from 0 to 1."""
    with_replacement: bool = False
    """Draws every picture from the whole set, as the paper did."""
    crops_with: tuple[str, ...] = ()
    """Classes that some crops contain, each as often; "all" takes every class (class-balanced)."""
    crops_share: float = 0.5
    """Share of the crops that `crops_with` decides; the others come from all pictures."""

    # Evaluation and output
    eval_every: int = 500
    """Steps between evaluations; there is always one after the last step."""
    eval_size: Literal["original", "torchvision"] = "original"
    """Size for the scores: the labels' own, or a shorter edge of 520 (torchvision's recipe)."""
    eval_limit: int | None = None
    """Largest number of pictures to evaluate on, evenly spread over the split; None takes all."""
    output: Path = Path("runs/latest")
    """Folder to write to."""
    resume: Literal["auto", "never", "must"] = "auto"
    """auto resumes the run in the output folder if there is one; never refuses to; must needs one."""
    checkpoint_every: int = 100
    """Steps between checkpoints; a power cut loses at most so many steps."""
    keep: int = 2
    """How many of the newest checkpoints stay."""
    track: tuple[Literal["mlflow", "wandb"], ...] = ()
    """Experiment trackers that get the settings, the numbers and the sheets."""
    track_every: int = 10
    """Steps between the numbers of training that trackers get; scores they get at once."""
    seed: int = 0
    """Seed of the random weights, the dropout, the order and the augmentation."""

    # Devices
    devices: int | None = None
    """How many of this machine's devices to use; all if not given."""
    sharding: Literal["replicated", "fsdp"] = "replicated"
    """fsdp splits parameters and moments over the devices as well."""
    distributed: bool = False
    """Trains on the hosts that Slurm, Open MPI, Kubernetes or a TPU pod lists; each runs the same command."""
    coordinator: str | None = None
    """HOST:PORT of the first host, if nothing lists the hosts."""
    processes: int | None = None
    """How many hosts there are, with --coordinator."""
    process: int | None = None
    """Number of this host, from 0."""

    def __post_init__(self):
        for name, (expected, within) in RANGES.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if value is not None and not all(map(within, values)):
                raise SettingError(subject=name, expected=expected, got=str(value))
        if self.scale[0] > self.scale[1]:
            raise SettingError(subject="scale", expected="the smaller factor first", got=str(self.scale))


def _at_least(bound: int):
    return f"at least {bound}", lambda value: bound <= value < float("inf")


ABOVE_0 = "a number above 0", lambda value: 0 < value < float("inf")
SHARE = "a share from 0 to 1", lambda value: 0 <= value <= 1
SHARE_BELOW_1 = "a share from 0 to below 1", lambda value: 0 <= value < 1

RANGES = {
    "in_channels": _at_least(1),
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
    "crops_share": SHARE,
    "eval_every": _at_least(1),
    "eval_limit": _at_least(1),
    "checkpoint_every": _at_least(1),
    "keep": _at_least(1),
    "seed": _at_least(0),
    "track_every": _at_least(1),
    "devices": _at_least(1),
    "processes": _at_least(1),
    "process": _at_least(0),
}
"""{setting: its range in words, and a test of each number}."""


def save_config(config: Config, path: str | os.PathLike) -> None:
    """Writes the settings as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(as_json(config), indent=2) + "\n", encoding="utf-8")


def as_json(config: Config) -> dict:
    """Returns the settings as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=os.fspath))
