"""fcn-jax segment: finds what is where in pictures, and writes masks, overlays and heat maps.

fcn-jax segment dog.jpg
fcn-jax segment photos/ --weights fcn_resnet50.pth --classes dog,person --output masks
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from fcn_jax.cli.compilation import keep_compiled
from fcn_jax.cli.convert import read_categories
from fcn_jax.cli.messages import EXPECTED, in_words
from fcn_jax.cli.weights import add_weights_arguments, load_chosen
from fcn_jax.inference import Segmenter
from fcn_jax.inference.result import class_index
from weights_converter.files import replacing

TTA_SCALES = (0.75, 1.0, 1.25)
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # Pillow warns from that on, and refuses twice as many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER", help="pictures, or folders of pictures")
    add_weights_arguments(parser)
    parser.add_argument("--output", default="segmented", metavar="DIR", help="folder to write to (segmented)")
    parser.add_argument(
        "--classes",
        default="",
        metavar="A,B",
        help="also write a heat map of each of these, by name or index",
    )
    parser.add_argument(
        "--categories", metavar="FILE", help="text file with the name of a class on each line"
    )
    parser.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="length of the shorter edge that the model sees, 0 for the picture's own; if not given, "
        "what the weights were trained with",
    )
    parser.add_argument(
        "--tile",
        default="auto",
        metavar="N",
        help="side of the tiles that a picture goes through the model in; the result is that of the whole; "
        "auto: only what is too large for one",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"refuse files of more pixels, which may be there to fill the memory ({MAX_PIXELS:,})",
    )
    parser.add_argument(
        "--halo",
        type=int,
        metavar="N",
        help="approximate: pixels around a tile that the model sees, fewer than its result depends on",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average over scales 0.75, 1, 1.25 and mirror images: slower, better",
    )


def run(options: argparse.Namespace) -> int:
    """Segments every picture; one that fails is reported by name, and the others are done."""
    if options.resize is not None and options.resize < 0:
        raise ValueError(f"--resize: expected 0 or a length in pixels, got {options.resize}")
    if options.max_pixels is not None:
        if options.max_pixels < 1:
            raise ValueError(f"--max-pixels: expected at least 1, got {options.max_pixels}")
        Image.MAX_IMAGE_PIXELS = options.max_pixels / 2
    output = Path(options.output)
    sources = _find_pictures(options.images)
    stems = _stems(sources)
    _check_output(sources, stems, output)
    keep_compiled()
    tiles = TileProgress()
    segmenter, facts = _build_segmenter(options, tiles)
    classes = _class_indices(options.classes, segmenter.categories)
    output.mkdir(parents=True, exist_ok=True)

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    done, failed = [], []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tiles.progress = progress
        try:
            for source, stem in progress.track(
                list(zip(sources, stems, strict=True)), description="pictures"
            ):
                try:
                    result = segmenter(source)
                    files = result.save(output, classes=classes, stem=stem)
                except EXPECTED as error:
                    text = in_words(error)
                    if str(source) not in text:
                        text = f"{source}: {text}"
                    failed.append({"source": str(source), "error": text})
                    print(f"fcn-jax: error: {text}", file=sys.stderr)
                else:
                    done.append(result.to_dict(files))
                    console.print(_printable(format_table(done[-1]), console.encoding))
        finally:  # also when interrupted
            _write_summary(output / "summary.json", facts | {"images": done, "failed": failed})
    console.print(
        _printable(f"{len(done)} of {len(sources)} segmented, into {output}{os.sep}", console.encoding)
    )
    return 1 if failed else 0


class TileProgress:
    """A second bar, for the tiles of the picture at hand."""

    progress: Progress

    def __call__(self, done: int, total: int) -> None:
        if done == 1:
            self.task = self.progress.add_task("tiles", total=total)
        self.progress.update(self.task, completed=done)
        if done == total:
            self.progress.remove_task(self.task)


def format_table(summary: dict) -> str:
    """Lays out the classes found in one picture: index, name, share of the pixels, mean confidence."""
    rows = [("index", "class", "pixels", "confidence")]
    rows += [
        (str(c["index"]), c["name"], f"{c['share']:.2%}", f"{c['confidence']:.2%}")
        for c in summary["classes"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{summary['source']} ({summary['width']} x {summary['height']})"]
    for index, name, share, confidence in rows:
        lines.append(
            f"  {index:>{widths[0]}}  {name:<{widths[1]}}  {share:>{widths[2]}}  {confidence:>{widths[3]}}"
        )
    return "\n".join(lines)


def _find_pictures(arguments: list[str]) -> list[Path]:
    """Lists the pictures, those of a folder by name.

    A path that leads nowhere is left for its own error, unless there is nothing else: then nothing need be
    loaded to say so.
    """
    Image.init()
    readable = {suffix for suffix, format in Image.EXTENSION.items() if format in Image.OPEN}
    sources = []
    for argument in map(Path, arguments):
        if argument.is_dir():
            found = sorted(
                path
                for path in argument.iterdir()
                if path.suffix.lower() in readable and not path.name.startswith(".") and not path.is_dir()
            )
            if not found:
                raise ValueError(f"{argument}: expected pictures in this folder, found none")
            sources += found
        else:
            sources.append(argument)
    if not any(source.exists() for source in sources):
        missing = ", ".join(map(str, sources))
        raise ValueError(f"{missing}: expected a picture or a folder of pictures, there is no such file")
    return list(dict.fromkeys(sources))


def _stems(sources: list[Path]) -> list[str]:
    """Names the output of each picture; of two of one name, the second's is numbered."""
    stems, taken = [], set()
    for source in sources:
        stem, number = source.stem, 1
        while stem.casefold() in taken:  # some file systems take a.png and A.png for one
            number += 1
            stem = f"{source.stem}-{number}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _check_output(sources: list[Path], stems: list[str], output: Path) -> None:
    """Refuses an output folder that cannot be, or in which a picture that was given could be lost."""
    nearest = next(path for path in (output, *output.parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"--output {output}: expected a folder, but {nearest} is a file; choose another")
    beginnings = tuple(f"{stem}_" for stem in stems)
    for path in sources:
        same_folder = path.resolve().parent == output.resolve()
        if same_folder and path.name.startswith(beginnings) and path.suffix.lower() == ".png":
            raise ValueError(
                f"{path}: could be overwritten by the output; choose another folder with --output"
            )


def _class_indices(names: str, categories: Sequence[str]) -> list[int]:
    """Finds the classes of "dog,15"."""
    try:
        return [
            class_index(int(name) if name.isdecimal() and name not in categories else name, categories)
            for name in map(str.strip, names.split(","))
            if name
        ]
    except ValueError as error:
        raise ValueError(f"--classes: {error}") from None


def _build_segmenter(options: argparse.Namespace, progress: "TileProgress") -> tuple[Segmenter, dict]:
    """Builds the segmenter, and tells the facts for the summary."""
    model, path = load_chosen(options)
    transforms, categories = model.transforms, model.categories
    if options.resize is not None:
        if not hasattr(transforms, "resize_size"):
            raise ValueError(
                f"--resize: {model.spec.name} sees pictures as Caffe did, at their own size; leave it out"
            )
        transforms = dataclasses.replace(transforms, resize_size=options.resize or None)
    if options.tile != "auto" and not (options.tile.isdecimal() and int(options.tile)):
        raise ValueError(f"--tile: expected auto or a number of pixels, got {options.tile!r}")
    if options.halo is not None and options.halo < 0:
        raise ValueError(f"--halo: expected a number of pixels of at least 0, got {options.halo}")
    if options.categories:
        categories = read_categories(options.categories, model.spec.num_classes)
    segmenter = Segmenter(
        model,
        transforms,
        categories,
        tile="auto" if options.tile == "auto" else int(options.tile),
        halo=options.halo,
        scales=TTA_SCALES if options.tta else (1.0,),
        flip=options.tta,
        progress=progress,
    )
    facts = {
        "model": model.spec.name,
        "weights": str(path),
        "dtype": options.dtype,
        "transforms": segmenter.transforms.to_dict(),
        "categories": list(segmenter.categories),
        "tile": options.tile,
        "approximate_halo": options.halo,
        "test_time_augmentation": options.tta,
    }
    return segmenter, facts


def _printable(text: str, encoding: str) -> str:
    """Escapes what the terminal's encoding lacks, such as the undecodable bytes of a file name."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _write_summary(path: Path, summary: dict) -> None:
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as temporary:
        # The undecodable bytes of a file name become "\udc..", which JSON reads back.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
