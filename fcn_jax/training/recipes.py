"""Recipes: settings that belong together, by name.

    config = recipe("small-data")
    config = dataclasses.replace(config, dataset="folder", data_dir=Path("photos"))

Source: torchvision's `references/segmentation` (its README's command lines and its defaults); the solvers
that the paper's authors released; "small-data" is this package's own.
"""

import dataclasses

from fcn_jax.errors import SettingError
from fcn_jax.training.config import Config
from fcn_jax.zoo import MODELS

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
    eval_size="torchvision",
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

# The authors' solvers, where they differ from voc-fcn32s's.
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
    """Returns a recipe's settings for a model. The paper's solvers differ from model to model.

    Raises:
      SettingError: an unknown recipe, or a model that the paper does not have.
    """
    if name not in RECIPES:
        raise SettingError(subject="recipe", expected=f"one of {', '.join(RECIPES)}", got=repr(name))
    config = RECIPES[name]
    model = model or config.model
    has_aux = model in MODELS and MODELS[model].published.aux_loss  # build_model reports a wrong name
    config = dataclasses.replace(config, model=model, aux_loss=config.aux_loss and has_aux)
    if name == "paper":
        if model not in PAPER_SOLVERS:
            raise SettingError(
                f"the paper trained {', '.join(PAPER_SOLVERS)}, not {model}",
                subject="recipe",
                hint="try another recipe",
            )
        return dataclasses.replace(config, **PAPER_SOLVERS[model])
    return config
