"""Finds the pictures on a command line, and names the output files."""

from pathlib import Path

from PIL import Image

from fcn_jax.errors import SettingError
from fcn_jax.images import ImageError


def find_pictures(arguments: list[str]) -> list[Path]:
    """Lists the pictures; those of a folder are sorted by name.

    A missing file is listed too, and fails later by itself. If no path exists, the error comes now, before a
    model is loaded.

    Raises:
      ImageError: a folder has no pictures, or no path exists.
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
                raise ImageError("expected pictures in this folder, found none", argument)
            sources += found
        else:
            sources.append(argument)
    if not any(source.exists() for source in sources):
        missing = ", ".join(map(str, sources))
        raise ImageError("expected a picture or a folder of pictures, there is no such file", missing)
    return list(dict.fromkeys(sources))


def output_stems(sources: list[Path]) -> list[str]:
    """Returns a unique stem for each picture's output; a repeated name gets a number."""
    stems, taken = [], set()
    for source in sources:
        stem, number = source.stem, 1
        while stem.casefold() in taken:  # some file systems do not distinguish a.png and A.png
            number += 1
            stem = f"{source.stem}-{number}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def check_output(sources: list[Path], stems: list[str], output: Path) -> None:
    """Checks that the output folder can be created, and that no given picture would be overwritten.

    Raises:
      SettingError: the folder cannot be used.
    """
    nearest = next(path for path in (output, *output.parents) if path.exists())
    if not nearest.is_dir():
        raise SettingError(
            f"expected a folder, but {nearest} is a file", subject=f"--output {output}", hint="choose another"
        )
    beginnings = tuple(f"{stem}_" for stem in stems)
    for path in sources:
        same_folder = path.resolve().parent == output.resolve()
        if same_folder and path.name.startswith(beginnings) and path.suffix.lower() == ".png":
            raise SettingError(
                "could be overwritten by the output", path, hint="choose another folder with --output"
            )
