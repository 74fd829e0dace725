"""The pictures that a command is given, and the names of what is written for them."""

from pathlib import Path

from PIL import Image

from fcn_jax.errors import SettingError
from fcn_jax.images import ImageError


def find_pictures(arguments: list[str]) -> list[Path]:
    """Lists the pictures, those of a folder by name.

    A path that leads nowhere is left for its own error, unless there is nothing else: then nothing need be
    loaded to say so.

    Raises:
      ImageError: a folder without pictures, or nothing that exists.
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
    """Names the output of each picture; of two pictures of one name, the second's is numbered."""
    stems, taken = [], set()
    for source in sources:
        stem, number = source.stem, 1
        while stem.casefold() in taken:  # some file systems take a.png and A.png for one
            number += 1
            stem = f"{source.stem}-{number}"
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def check_output(sources: list[Path], stems: list[str], output: Path) -> None:
    """Refuses an output folder that cannot be made, or in which a picture that was given could be lost.

    Raises:
      SettingError: choose another.
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
