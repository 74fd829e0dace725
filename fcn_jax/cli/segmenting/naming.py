"""Names the output files, so that no picture's files replace another picture's, or a picture itself."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from fcn_jax.cli.segmenting.pictures import STDIN, Found
from fcn_jax.errors import SettingError
from fcn_jax.inference.outputs import fitting


def output_stems(pictures: Sequence[Found], earlier: Mapping[str, str] | None = None) -> list[str]:
    """Returns a unique stem for each picture's output; a name that is taken gets a number.

    Args:
      pictures: all that the command line names, also those of other shards: so shards agree on the stems.
      earlier: {absolute path of a picture: the stem that its files have since an earlier run}. The picture
        keeps that stem, and no other picture gets it.

    Returns:
      A stem for each picture, with "/" after the names of subfolders.
    """
    earlier = earlier or {}
    taken = {stem.casefold() for stem in earlier.values()}  # some file systems do not distinguish a and A
    numbers: dict[str, int] = {}
    stems = []
    for picture in pictures:
        stem = earlier.get(os.path.abspath(picture.path))
        if stem is None:
            name = "stdin" if picture.name == STDIN.name else fitting(picture.path.stem)
            first = stem = (PurePosixPath(picture.folder) / name).as_posix()
            key = first.casefold()
            number = numbers.get(key, 1)  # all numbers below are taken; to try them again takes long
            while stem.casefold() in taken:
                number += 1
                stem = f"{first}-{number}"
            numbers[key] = number
            taken.add(stem.casefold())
        stems.append(stem)
    return stems


def check_output(pictures: Sequence[Found], stems: Sequence[str], output: Path) -> None:
    """Checks that the output folder can be created, and that no given picture would be overwritten.

    Raises:
      SettingError: the folder cannot be used.
    """
    nearest = next(path for path in (output, *output.parents) if path.exists())
    if not nearest.is_dir():
        raise SettingError(
            f"expected a folder, but {nearest} is a file", subject=f"--output {output}", hint="choose another"
        )
    known = {stem.casefold() for stem in stems}
    top = os.path.realpath(output)
    places: dict[Path, str | None] = {}  # the folder of a picture, relative to the output
    for picture in pictures:
        path = picture.path
        if path.parent not in places:
            relative = Path(os.path.realpath(path.parent))
            places[path.parent] = (
                relative.relative_to(top).as_posix() if relative.is_relative_to(top) else None
            )
        place = places[path.parent]
        if place is not None and path.suffix.lower() == ".png" and _could_be_written(path, place, known):
            raise SettingError(
                "could be overwritten by the output", path, hint="choose another folder with --output"
            )


def _could_be_written(path: Path, place: str, stems: set[str]) -> bool:
    """Returns whether a file in the subfolder `place` of the output has the name of an output file."""
    name = (PurePosixPath(place) / path.name).as_posix().casefold()
    return any(name[:end] in stems for end, letter in enumerate(name) if letter == "_")
