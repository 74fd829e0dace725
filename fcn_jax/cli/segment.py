"""fcn-jax segment: finds what is where in pictures; writes label images, overlays and heat maps.

fcn-jax segment dog.jpg
fcn-jax segment photos/ --weights fcn_resnet50.pth --classes dog,person --output masks
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from PIL import Image
from rich.progress import Progress

from fcn_jax.cli.categories import read_categories
from fcn_jax.cli.computing import start_computing
from fcn_jax.cli.messages import explain
from fcn_jax.cli.pictures import check_output, find_pictures, output_stems
from fcn_jax.cli.progress import plain_console, progress_on
from fcn_jax.cli.weights import add_weights_arguments, load_chosen
from fcn_jax.errors import SettingError
from fcn_jax.inference import Segmenter
from fcn_jax.inference.result import class_index
from fcn_jax.transforms import SemanticSegmentation
from weights_converter.files import replacing

TTA_SCALES = (0.75, 1.0, 1.25)
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow refuses more, and warns above half of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER", help="pictures, or folders of pictures")
    add_weights_arguments(parser)
    parser.add_argument("--output", default="segmented", metavar="DIR", help="folder to write to (segmented)")
    parser.add_argument(
        "--classes",
        default="",
        metavar="A,B",
        help="also write heat maps of these classes, by name or index",
    )
    parser.add_argument("--categories", metavar="FILE", help="text file with one class name a line")
    parser.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="resize the picture's shorter edge to this length, 0 to keep its size; by default as the "
        "weights expect",
    )
    parser.add_argument(
        "--tile",
        default="auto",
        metavar="N",
        help="cut pictures into square tiles with this side in pixels; the result equals that of the whole "
        "picture. auto (the default) cuts only pictures that are too large for the model",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"refuse pictures with more pixels, which could fill the memory ({MAX_PIXELS:,})",
    )
    parser.add_argument(
        "--halo",
        type=int,
        metavar="N",
        help="pixels around each tile that the model also reads; by default all that the result depends on. "
        "Fewer pixels are faster, but the result is approximate",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average over scales 0.75, 1, 1.25 and mirror images: slower, but better",
    )


def run(options: argparse.Namespace) -> int:
    """Segments every picture; reports those that fail, and continues with the others."""
    output = Path(options.output)
    with pixel_limit(options.max_pixels):
        sources = find_pictures(options.images)
        stems = output_stems(sources)
        check_output(sources, stems, output)
        start_computing()
        tiles = TileProgress()
        segmenter, facts = build_segmenter(options, tiles)
        classes = class_indices(options.classes, segmenter.categories)
        output.mkdir(parents=True, exist_ok=True)
        console = plain_console()
        done: list[dict] = []
        failed: list[dict] = []
        with progress_on(console) as progress:
            tiles.progress = progress
            try:
                pairs = list(zip(sources, stems, strict=True))
                for source, stem in progress.track(pairs, description="pictures"):
                    summary, failure = _segment(segmenter, source, stem, output, classes)
                    if summary is None:
                        failed.append({"source": str(source), "error": failure})
                        print(f"fcn-jax: error: {failure}", file=sys.stderr)
                    else:
                        done.append(summary)
                        console.print(printable(format_table(summary), console.encoding))
            finally:  # also when interrupted
                _write_summary(output / "summary.json", facts | {"images": done, "failed": failed})
    summary = f"{len(done)} of {len(sources)} segmented, into {output}{os.sep}"
    console.print(printable(summary, console.encoding))
    return 1 if failed else 0


def _segment(
    segmenter: Segmenter, source: Path, stem: str, output: Path, classes: Iterable[int]
) -> tuple[dict | None, str]:
    """Segments a picture and writes its files; returns its summary, or None and the error message."""
    try:
        result = segmenter(source)
        return result.to_dict(result.save(output, classes=classes, stem=stem)), ""
    except Exception as error:
        text = explain(error)
        if text is None:
            raise
        return None, text if str(source) in text else f"{source}: {text}"


@contextlib.contextmanager
def pixel_limit(most: int | None) -> Iterator[None]:
    """Inside the block, lets Pillow open pictures of up to `most` pixels; None keeps its own limit.

    Raises:
      SettingError: `most` is below 1.
    """
    if most is not None and most < 1:
        raise SettingError(subject="--max-pixels", expected="at least 1", got=str(most))
    before = Image.MAX_IMAGE_PIXELS
    if most is not None:
        Image.MAX_IMAGE_PIXELS = cast(int, most / 2)  # Pillow compares with twice this value; a float works
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


class TileProgress:
    """A second bar, for the tiles of the current picture."""

    progress: Progress

    def __call__(self, done: int, total: int) -> None:
        if done == 1:
            self.task = self.progress.add_task("tiles", total=total)
        self.progress.update(self.task, completed=done)
        if done == total:
            self.progress.remove_task(self.task)


def format_table(summary: dict) -> str:
    """Formats the classes found in a picture: index, name, share of pixels, mean confidence."""
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


def class_indices(names: str, categories: Sequence[str]) -> list[int]:
    """Returns the class indices for text such as "dog,15".

    Raises:
      SettingError: there is no such class; the message lists all classes.
    """
    try:
        return [
            class_index(int(name) if name.isdecimal() and name not in categories else name, categories)
            for name in map(str.strip, names.split(","))
            if name
        ]
    except SettingError as error:
        raise SettingError(str(error), subject="--classes") from None


def build_segmenter(options: argparse.Namespace, on_tile: TileProgress) -> tuple[Segmenter, dict]:
    """Builds the segmenter for the options; also returns facts for the summary."""
    model, path = load_chosen(options)
    transforms = model.transforms or SemanticSegmentation()
    if options.resize is not None:
        transforms = transforms.with_resize(options.resize or None)
    categories = None
    if options.categories:
        categories = read_categories(options.categories, model.spec.num_classes)
    segmenter = Segmenter(
        model,
        transforms,
        categories,
        tile=int(options.tile) if options.tile.isdecimal() else options.tile,
        halo=options.halo,
        scales=TTA_SCALES if options.tta else (1.0,),
        flip=options.tta,
        on_progress=on_tile,
    )
    facts = {
        "model": model.spec.name,
        "weights": str(path),
        "dtype": options.dtype,
        "transforms": transforms.to_dict(),
        "categories": list(segmenter.categories),
        "tile": options.tile,
        "approximate_halo": options.halo,
        "test_time_augmentation": options.tta,
    }
    return segmenter, facts


def printable(text: str, encoding: str) -> str:
    """Escapes characters that the terminal cannot show, such as undecodable bytes of a file name."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _write_summary(path: Path, summary: dict) -> None:
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as temporary:
        # The undecodable bytes of a file name become "\\udc..", which JSON reads back.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
