"""fcn-jax segment: finds what is where in pictures; writes label images, overlays and heat maps.

fcn-jax segment dog.jpg
fcn-jax segment photos/ --weights fcn_resnet50.pth --classes dog,person --output masks
fcn-jax segment photos/ --recursive --write labels --skip-done --shard 2/8 --output masks
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fcn_jax.cli.computing import start_computing
from fcn_jax.cli.messages import say, shown
from fcn_jax.cli.progress import PictureProgress, TileProgress, plain_console, progress_on
from fcn_jax.cli.segmenting.chosen_segmenter import (
    MAX_PIXELS,
    build_segmenter,
    class_indices,
    pixel_limit,
    split_names,
)
from fcn_jax.cli.segmenting.naming import check_output, output_stems
from fcn_jax.cli.segmenting.outcomes import Task, outcomes
from fcn_jax.cli.segmenting.output_plan import OutputPlan
from fcn_jax.cli.segmenting.pictures import STDIN, find_pictures, parse_shard, read_list
from fcn_jax.cli.segmenting.report import Report
from fcn_jax.cli.segmenting.signals import Stop, stopping
from fcn_jax.cli.segmenting.summary import Summary
from fcn_jax.cli.segmenting.writing import write_all
from fcn_jax.cli.weights import add_weights_arguments
from fcn_jax.inference.outputs import KINDS, check_kinds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    _add_pictures(parser)
    add_weights_arguments(parser)
    _add_output(parser)
    _add_computation(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE|FOLDER",
        help="pictures, folders of pictures, patterns such as '*.jpg', or - for standard input",
    )
    parser.add_argument(
        "--list",
        metavar="FILE",
        help="text file with the path of a picture or folder on each line, as seen from the current folder; "
        "- for standard input",
    )
    parser.add_argument(
        "--recursive",
        action="store_true",
        help="look into the folders of a folder too, except hidden ones, links and --output itself; "
        "the output gets the same folders",
    )
    parser.add_argument(
        "--skip-done",
        action="store_true",
        help="skip a picture if earlier runs into the folder, with the same settings and weights, wrote all "
        "that is asked for, and the picture has not changed since",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="do only part I of N (1 to N); a hash of a picture's path, as given or below its folder, "
        "decides. Shards can run at the same time into one folder: each writes a summary-I-of-N.json",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        default="segmented",
        metavar="DIR",
        help="folder to write to (segmented). A picture keeps the names of its earlier files there; another "
        "picture of the same name gets a number",
    )
    parser.add_argument(
        "--write",
        metavar="A,B",
        help=f"what to write, some of {','.join(KINDS)}; by default all, heatmap only with --classes",
    )
    parser.add_argument("--quiet", action="store_true", help="print no table for each picture")
    parser.add_argument(
        "--classes",
        default="",
        metavar="A,B",
        help="also write heat maps of these classes, by name or index; a name may contain commas",
    )
    parser.add_argument("--categories", metavar="FILE", help="text file with one class name a line")


def _add_computation(parser: argparse.ArgumentParser) -> None:
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
        "--bands",
        metavar="R,G,B",
        help="which bands of a picture with many, such as of TIFF from a satellite, are red, green and blue, "
        "counted from 1; one number for a grey picture",
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
    if not options.images and options.list is None:
        options.usage_error("name pictures or folders, or a --list of them")
    with pixel_limit(options.max_pixels), stopping() as stop:
        return _run(options, stop)


def _run(options: argparse.Namespace, stop: Stop) -> int:
    output = Path(options.output)
    kinds = check_kinds(
        None if options.write is None else split_names(options.write), bool(split_names(options.classes))
    )
    tasks, summary = _find_tasks(options, output)
    start_computing()
    tiles = TileProgress()
    segmenter, facts = build_segmenter(options, tiles)
    classes = class_indices(options.classes, segmenter.categories)
    plan = OutputPlan(output, segmenter.categories, classes, kinds)
    summary.set_facts(facts)
    left = [task for task in tasks if not (options.skip_done and plan.is_done(task, summary))]
    _warn_of_unclaimed(plan.unclaimed(left, summary), output)
    output.mkdir(parents=True, exist_ok=True)
    console = plain_console()
    with progress_on(console) as progress:
        tiles.progress = progress
        report = Report(plan, summary, PictureProgress(progress, len(left)), console, options.quiet)
        try:
            write_all(outcomes(segmenter, left), plan.save, record=report.record, show=report.show, stop=stop)
        finally:  # also when interrupted
            stop.finish()
            summary.write()
    skipped = f", {len(tasks) - len(left)} done before" if len(left) < len(tasks) else ""
    report.print(f"{report.done} of {len(tasks)} segmented{skipped}, into {output}{os.sep}")
    return 0 if report.done == len(left) else 1


def _warn_of_unclaimed(files: Sequence[Path], output: Path) -> None:
    if files:
        say(
            f"replacing {len(files)} files in {output}{os.sep}, such as {shown(files[0].name)}; no summary "
            "there says which pictures they show"
        )


def _find_tasks(options: argparse.Namespace, output: Path) -> tuple[list[Task], Summary]:
    """Finds the pictures of this shard and names their files; also returns the folder's earlier summaries."""
    shard = None if options.shard is None else parse_shard(options.shard)
    arguments = [*options.images, *([] if options.list is None else read_list(options.list))]
    pictures = find_pictures(arguments, recursive=options.recursive, output=output)
    content = sys.stdin.buffer.read() if any(found.path == STDIN for found in pictures) else None
    check_output(pictures, [], output)  # before the folder is read
    summary = Summary(output, shard)
    stems = output_stems(pictures, summary.stems)
    check_output(pictures, stems, output)
    pairs = zip(pictures, stems, strict=True)
    return [
        Task(found.path, stem, content if found.path == STDIN else None)
        for found, stem in pairs
        if shard is None or shard.has(found.name)
    ], summary
