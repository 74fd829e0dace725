"""fcn-jax check: lists everything that is wrong with a dataset, before the first step.

fcn-jax check --data-dir photos
fcn-jax check --dataset voc --data-dir VOCdevkit --split train,val

Reads every picture and every label file. Exit status: 0 nothing would stop or spoil a training run; 1
something would, or the dataset cannot be opened.
"""

import argparse

from fcn_jax.cli.messages import NAMES
from fcn_jax.cli.progress import plain_console, progress_on
from fcn_jax.datasets import IGNORE_LABEL, list_datasets
from fcn_jax.datasets.checking import Finding, Report, Tally, check_named
from fcn_jax.datasets.checking.findings import OF_CLASSES
from fcn_jax.datasets.faults import Severity
from fcn_jax.errors import FCNError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--dataset", default="folder", choices=list_datasets(), help="the dataset to check")
    parser.add_argument("--data-dir", metavar="DIR", help="the folder with the dataset's files")
    parser.add_argument(
        "--split",
        default="train,val",
        metavar="A,B",
        help="the splits to check, the first for training, the others for scores (train,val)",
    )
    parser.add_argument(
        "--in-channels",
        type=int,
        metavar="N",
        help="channels of the pictures, which are then read as stored; by default they are 8-bit RGB",
    )
    add_label_arguments(parser)


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options for the values in a folder's label files."""
    parser.add_argument(
        "--void", metavar="A,B", help="label values that mean no class besides 255; of a folder"
    )
    parser.add_argument(
        "--values", metavar="A,B", help="label value of each class in order, such as 0,255; of a folder"
    )
    parser.add_argument(
        "--zero-is-void",
        action="store_true",
        help="take 0 for no class, 1 for the first class, and so on; of a folder",
    )


def label_options(options: argparse.Namespace) -> dict:
    """Returns these options as `open_dataset` takes them."""
    return {"void": options.void, "values": options.values, "zero_is_void": options.zero_is_void}


def run(options: argparse.Namespace) -> int:
    """Prints the pixels of each class and all faults in one list."""
    splits = [split.strip() for split in options.split.split(",") if split.strip()]
    with progress_on(plain_console(stderr=True)) as progress:
        task = progress.add_task("checking", total=None)
        report = check_named(
            options.dataset,
            options.data_dir,
            splits,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            channels=options.in_channels,
            **label_options(options),
        )
    print("\n".join(_lines(report)))
    return 0 if report.good else 1


def _lines(report: Report) -> list[str]:
    lines: list[str] = []
    for tally in report.tallies:
        lines += [*_table(tally, report.categories), ""]
    for severity in Severity:
        found = [finding for finding in report.findings if finding.severity is severity]
        if found:
            lines += [f"{severity.value}:", *(line for finding in found for line in _finding(finding)), ""]
    return [*lines, "no faults" if not report.findings else _total(report)]


def _total(report: Report) -> str:
    counts = [sum(each.count for each in report.findings if each.severity is kind) for kind in Severity]
    return ", ".join(f"{count:,} {kind.value}" for count, kind in zip(counts, Severity, strict=True))


def _finding(finding: Finding) -> list[str]:
    if finding.fault in OF_CLASSES:
        return [f"  {finding.words()}"]
    lines = [f"  {finding.title}"]
    for example in finding.examples:
        lines.append(f"    {example.path}: {example.reason}" if example.path else f"    {example.reason}")
    if finding.count > len(finding.examples):
        lines.append(f"    and {finding.count - len(finding.examples):,} more")
    if finding.hint:
        lines.append(
            f"    -> {FCNError('', hint=finding.hint).words(NAMES).removeprefix(FCNError.before_hint)}"
        )
    return lines


def _table(tally: Tally, categories: tuple[str, ...]) -> list[str]:
    width = max(12, *(len(name) for name in categories))
    lines = [
        f"{tally.split}: {tally.pictures:,} pictures, labels of {tally.counted:,} read",
        f"{'index':>5}  {'class':{width}} {'pixels':>16} {'share':>8} {'pictures':>9}",
    ]
    total = max(1, int(tally.pixels.sum()))
    rows = [*enumerate(categories), (IGNORE_LABEL, "(no class)")]
    for label, name in rows:
        pixels, occurs = int(tally.pixels[label]), int(tally.occurs[label])
        lines.append(f"{label:5}  {name:{width}} {pixels:16,} {pixels / total:8.3%} {occurs:9,}")
    return lines
