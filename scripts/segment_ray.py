"""Segments folders with several workers, on one machine or a cluster: a recipe for Ray Data.

pip install '.[ray]'
python scripts/segment_ray.py photos --weights fcn_resnet50.safetensors --output masks --workers 2

All machines see the same folders. Each worker builds its segmenter once, and reads ahead in threads.
"""

import argparse
import os
import sys
from pathlib import Path

import ray  # pyright: ignore[reportMissingImports]  # only in the extra `ray`

import fcn_jax
from fcn_jax.cli.segmenting.naming import check_output, output_stems
from fcn_jax.cli.segmenting.pictures import find_pictures


class Worker:
    """Segments batches of pictures and writes their labels."""

    def __init__(self, weights: str, output: str):
        self.segmenter, self.output = fcn_jax.Segmenter(fcn_jax.load_model(weights)), Path(output)

    def __call__(self, batch: dict) -> dict:
        """Takes paths and stems; returns an error for each path, "" if there was none."""
        stems = dict(zip(batch["path"].tolist(), batch["stem"].tolist(), strict=True))
        errors = dict.fromkeys(stems, "")

        def note(source: str, error: Exception) -> None:
            errors[source] = str(error)

        for result in self.segmenter.stream(stems, on_error=note):
            place = self.output / stems[str(result.source)]
            result.save(place.parent, stem=place.name, write="labels")
        return {"path": list(errors), "error": list(errors.values())}


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 if a picture failed."""
    parser = argparse.ArgumentParser(description="Segments folders with several workers.")
    parser.add_argument("images", nargs="+")
    for name, default in (("--weights", None), ("--output", "segmented")):
        parser.add_argument(name, default=default, required=default is None)
    for name, default in (("--workers", 2), ("--batch", 16), ("--gpus-per-worker", 0)):
        parser.add_argument(name, default=default, type=int)
    options = parser.parse_args(arguments)
    output, weights = Path(options.output), os.path.abspath(options.weights)
    pictures = find_pictures(options.images, recursive=True, output=output)
    stems = output_stems(pictures)
    check_output(pictures, stems, output)
    rows = [
        {"path": os.path.abspath(each.path), "stem": stem} for each, stem in zip(pictures, stems, strict=True)
    ]
    done = ray.data.from_items(rows, override_num_blocks=4 * options.workers).map_batches(
        Worker,
        fn_constructor_args=(weights, os.path.abspath(output)),
        compute=ray.data.ActorPoolStrategy(size=options.workers),
        batch_size=options.batch,
        num_gpus=options.gpus_per_worker,
    )
    failed = [row for row in done.iter_rows() if row["error"]]
    for row in failed:
        print(row["error"], file=sys.stderr)
    print(f"{len(rows) - len(failed)} of {len(rows)} segmented, into {output}{os.sep}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
