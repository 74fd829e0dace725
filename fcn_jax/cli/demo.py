"""fcn-jax demo: offline, writes a checkpoint as torchvision does, and segments drawn pictures with it.

The weights are random, so the classes mean nothing: what the demo shows is the way of the data, from a
PyTorch file to masks and figures, without PyTorch and without a network.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image, ImageDraw, ImageFilter

from fcn_jax import fcn_resnet50
from fcn_jax.checkpoints import named_variables
from fcn_jax.cli.segment import format_table
from fcn_jax.inference import Segmenter
from fcn_jax.transforms import SemanticSegmentation
from weights_converter import export, write_torch_legacy

PICTURES = 3
SIZE = (320, 240)  # width, height


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder to write to (demo)")


def run(options: argparse.Namespace) -> int:
    """Draws, saves, converts, segments; prints where everything lies."""
    output = Path(options.output)
    (output / "pictures").mkdir(parents=True, exist_ok=True)
    paths = [output / "pictures" / f"scene{seed}.png" for seed in range(PICTURES)]
    for seed, path in enumerate(paths):
        draw_scene(seed).save(path)
    print(
        f"drew {len(paths)} pictures into {output / 'pictures'}; now building a model with random weights",
        flush=True,
    )

    model = fcn_resnet50(num_classes=6, aux_loss=True, rngs=nnx.Rngs(0))
    _settle_statistics(model, jnp.stack([SemanticSegmentation(resize_size=120)(path) for path in paths]))
    checkpoint = output / "fcn_resnet50_random.pth"
    arrays = {name: np.asarray(variable[...]) for name, variable in named_variables(model).items()}
    write_torch_legacy(checkpoint, export(arrays, "fcn_resnet50"))
    print(f"wrote them to {checkpoint}, in the container of torchvision's published files", flush=True)

    model = fcn_resnet50(weights=checkpoint)
    segmenter = Segmenter(model, SemanticSegmentation(resize_size=240))
    for path in paths:
        result = segmenter(path)
        result.save(output)
        print(format_table(result.to_dict()))
    print(f"\nLook at {output / 'scene0_figure.png'} and its neighbours. The weights are random;")
    print("with trained ones, `fcn-jax segment PICTURE --weights FILE` does the same.")
    return 0


def draw_scene(seed: int) -> Image.Image:
    """Draws a picture of sky, ground and a few coloured things, the same for the same seed."""
    random = np.random.RandomState(seed)
    width, height = SIZE
    horizon = random.randint(height // 3, 2 * height // 3)
    rows = np.arange(height)[:, None, None]
    sky, ground = random.randint(150, 255, 3), random.randint(30, 140, 3)
    shade = np.where(rows < horizon, sky * (1 - 0.4 * rows / height), ground * (0.6 + 0.4 * rows / height))
    image = Image.fromarray(np.broadcast_to(shade, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = random.randint(30, width - 30), random.randint(horizon // 2, height - 20)
        radius = random.randint(25, 60)
        shape = (draw.ellipse, draw.rectangle)[random.randint(2)]
        colour = tuple(random.randint(0, 255, 3).tolist())
        shape((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(0.7))


def _settle_statistics(model, images) -> None:
    """Sets the running statistics of batch norm from images, so that a random network sees contrasts."""

    @nnx.jit
    def step(model, images):
        model(images)

    model.train()
    for _ in range(30):  # 0.9 ** 30: what remains of the initial statistics is 4 %
        step(model, images)
    model.eval()
