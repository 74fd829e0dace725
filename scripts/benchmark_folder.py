"""Times a folder of pictures of many sizes, compiling included, beside PyTorch and ONNX Runtime.

    python scripts/benchmark_folder.py                        # 40 sizes, fcn_resnet50, what is installed
    python scripts/benchmark_folder.py --pictures PHOTOS      # photos in place of noise
    python scripts/benchmark_folder.py --model demo --count 200

A pass is the whole pipeline for all pictures: open the file, transforms, network, logits resized to the
picture's own size, argmax. Each side makes a first and a second pass in a process of its own. The sides take
turns in rounds, in changing order, and all use every core. They compute on the CPU. Sides:

- fcn_jax, `Segmenter.stream`, with an empty cache of compiled programs
- fcn_jax again: the next process, with the cache that the one before has filled
- torch eager: torchvision's preset and network, channels_last
- onnxruntime: the same network exported with dynamic height and width; the graph ends in labels

A ratio is a side's time over the time of torch eager in the same round (below 1: faster). Loading (imports,
reading weights, preparing) comes before the first pass and is a column of its own. "equal labels" is the
share of pixels of each pass that get the label of torch eager's second pass. Where torch eager is not
measured, fcn_jax takes its place. Memory and compilations are those of the last round. All compilations of
the process count: those of the model, and those of what prepares and finishes. "(from the cache)": read from
disk instead. "programs" are those of the model that are kept at the end.

--model fcn_resnet50: sizes with the aspect ratios of photos, landscape and portrait, under its preset.
--model demo: the narrow FCN-8s of `fcn-jax demo`, 60 sizes that vary both ways, as they are; fcn_jax only.

Weights are random. A side that is not installed is left out (`pip install '.[bench]'`). Three rounds of 40
pictures take about a quarter of an hour on two cores. Ratios are reliable only if the load average before the
start was near zero.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
from benchmark_facts import headline, machine
from benchmark_folder_inputs import (
    Size,
    draw_sizes,
    export_onnx,
    find_photos,
    free_size,
    photo_size,
    save_random,
    write_pictures,
)
from benchmark_folder_sides import NEEDS, SIDES
from benchmark_folder_table import PASSES, summarize, table

import fcn_jax
from fcn_jax.cli.demo import demo_config

SETTINGS = ("JAX_COMPILATION_CACHE_DIR", "FCN_JAX_COMPILATION_CACHE")  # would choose another cache


class Task(NamedTuple):
    """What is measured, and the defaults of the command line for it."""

    sides: tuple[str, ...]
    draw: Callable[..., Size]
    pictures: int
    edges: Size
    resize: int | None


TASKS = {
    "fcn_resnet50": Task(tuple(SIDES), photo_size, pictures=40, edges=(480, 1000), resize=520),
    "demo": Task(("fcn_jax", "fcn_jax again"), free_size, pictures=60, edges=(100, 300), resize=None),
}


def installed(side: str) -> bool:
    """Tells whether a side's packages are there."""
    return all(importlib.util.find_spec(package) for package in NEEDS.get(side, ("jax",)))


def prepare(options: argparse.Namespace, sides: list[str], folder: Path) -> dict:
    """Writes pictures, weights and graph into a folder; returns the task for the workers."""
    pictures, weights, onnx = folder / "pictures", folder / "weights.pth", folder / "model.onnx"
    pictures.mkdir()
    if options.model == "demo":
        config = demo_config(1, folder)
        model = fcn_jax.fcn8s_vgg16(num_classes=6, features=config.features, fc_features=config.fc_features)
    else:
        model = fcn_jax.get_model(options.model)
    write_pictures(pictures, options.sizes, options.photos)
    save_random(model, weights)
    if "onnxruntime" in sides:
        export_onnx(options.model, weights, onnx)
    return {
        "model": options.model,
        "pictures": str(pictures),
        "weights": str(weights),
        "onnx": str(onnx),
        "resize": options.resize,
    }


def run_side(side: str, task: dict, folder: Path, cache: Path) -> dict:
    """Runs a side in a process; returns its facts, and where its labels are.

    Raises:
      RuntimeError: it failed.
    """
    stem = side.replace(" ", "_")
    labels = {name: str(folder / f"{stem}.{name}") for name in PASSES}
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment |= {"FCN_JAX_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    script = Path(__file__).with_name("benchmark_folder_sides.py")
    command = [sys.executable, str(script), json.dumps(task | {"side": side, "labels": labels})]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode != 0:
        said = ended.stderr.strip()[-2000:]
        raise RuntimeError(said or f"ended with status {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1]) | {"labels": labels}


def take_turns(sides: list[str], task: dict, folder: Path, rounds: int) -> dict[str, list[dict]]:
    """Runs the sides in turn, starting each round with the next; returns the facts of each round by side.

    In each round `fcn_jax` fills a new cache, which `fcn_jax again` uses from then on.
    """
    found: dict[str, list[dict]] = {side: [] for side in sides}
    cache = folder / "cache"
    for number in range(rounds):
        turn = number % len(sides)
        for side in sides[turn:] + sides[:turn]:
            if side not in found:
                continue  # it has failed before
            if side == "fcn_jax":
                cache = folder / f"cache{number}"
            try:
                found[side].append(run_side(side, task, folder, cache))
            except RuntimeError as error:
                print(f"  {side} left out: {str(error).splitlines()[-1]}", flush=True)
                del found[side]
                if side == "fcn_jax":
                    found.pop("fcn_jax again", None)  # nothing fills its cache
    return found


def parse() -> argparse.Namespace:
    """Reads the command line, and fills in the defaults of the task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", choices=TASKS, default="fcn_resnet50")
    parser.add_argument("--count", type=int, metavar="N", help="pictures, each of another size (40; demo 60)")
    parser.add_argument(
        "--edges",
        nargs=2,
        type=int,
        metavar=("LOW", "HIGH"),
        help="bounds of a picture's longer edge (480 1000); demo: of each edge (100 300)",
    )
    parser.add_argument("--resize", type=int, metavar="N", help="the preset's shorter edge (520; demo: none)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="photos to crop and resize")
    parser.add_argument("--sides", nargs="+", choices=SIDES, metavar="NAME", help=", ".join(SIDES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file for all figures")
    options = parser.parse_args()
    task = TASKS[options.model]
    options.count = task.pictures if options.count is None else options.count
    options.edges = options.edges or task.edges
    options.resize = task.resize if options.resize is None else options.resize
    options.sides = [side for side in task.sides if side in (options.sides or task.sides)]
    if "fcn_jax again" in options.sides and "fcn_jax" not in options.sides:
        parser.error("--sides: fcn_jax again needs the cache that fcn_jax fills")
    if min(options.count, options.rounds, *options.edges) < 1:
        parser.error("expected numbers of at least 1")
    try:
        options.sizes = draw_sizes(task.draw, options.count, options.edges)
        options.photos = find_photos(options.pictures) if options.pictures else []
    except ValueError as error:
        parser.error(str(error))
    return options


def main() -> None:
    options = parse()
    jax.config.update("jax_platforms", "cpu")
    facts = machine()
    print(headline(facts, options.rounds), flush=True)
    sides = []
    for side in options.sides:
        if installed(side):
            sides.append(side)
        else:
            print(f"  {side} left out: it needs {', '.join(NEEDS[side])}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = prepare(options, sides, folder)
        resized = f"shorter edge resized to {options.resize}" if options.resize else "not resized"
        low, high = options.edges
        print(f"{options.model}, {options.count} sizes, edges {low} to {high}, {resized}", flush=True)
        found = take_turns(sides, task, folder, options.rounds)
        if not found:
            raise RuntimeError("no side could be measured")
        rows = summarize(found)
    print(table(rows))
    if options.output:
        settings = {key: str(value) for key, value in vars(options).items()}
        options.output.write_text(json.dumps(facts | {"settings": settings, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
