"""fcn-jax statistics: measures the mean and the deviation of each channel over a training set.

fcn-jax statistics --data-dir fields --in-channels 4 --output statistics.json

`fcn-jax train --in-channels 4` measures the same by itself.
"""

import argparse
import json
from pathlib import Path

from fcn_jax.datasets import list_datasets, open_dataset
from fcn_jax.datasets.statistics import measure_statistics
from weights_converter.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--dataset", default="folder", choices=list_datasets(), help="the dataset to measure")
    parser.add_argument("--data-dir", metavar="DIR", help="the folder with the dataset's files")
    parser.add_argument("--split", default="train", help="the part of the dataset to measure (train)")
    parser.add_argument(
        "--in-channels",
        type=int,
        metavar="N",
        help="channels of the pictures, which are then read as stored; by default they are 8-bit RGB",
    )
    parser.add_argument("--output", metavar="FILE", help="a JSON file to write as well")


def run(options: argparse.Namespace) -> int:
    """Prints a table; writes a file if asked to."""
    dataset = open_dataset(options.dataset, options.data_dir, options.split, channels=options.in_channels)
    found = measure_statistics(dataset)
    print("channel  mean          std")
    for channel, (mean, std) in enumerate(zip(found.mean, found.std, strict=True)):
        print(f"{channel:7}  {mean:<12.6g}  {std:.6g}")
    print(f"{found.pictures} pictures of {options.dataset} {options.split}, {found.dtype}")
    if options.output:
        with replacing(Path(options.output)) as temporary:
            temporary.write_text(json.dumps(found._asdict(), indent=2) + "\n", encoding="utf-8")
    return 0
