"""Finds the pictures that a command line names: files, folders, lists; and shares them between processes."""

import collections
import glob
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fcn_jax.cli.messages import say, shown
from fcn_jax.errors import SettingError
from fcn_jax.images import ImageError
from fcn_jax.images.names import not_a_picture, picture_suffixes


class Found(NamedTuple):
    """A picture that the command line names.

    Attributes:
      path: where it is.
      name: its path as given, or below the folder that was given; "/" between folders. It decides the shard.
      folder: the subfolder of the output for its files; not empty only for pictures of subfolders.
    """

    path: Path
    name: str
    folder: str = ""


STDIN = Path("-")
"""Names the picture that comes from standard input."""


class Shard(NamedTuple):
    """One of `total` processes that share the pictures; `number` counts from 1."""

    number: int
    total: int

    def has(self, name: str) -> bool:
        """Returns whether a picture belongs to this shard: the same on every machine, by a hash of its name.

        Args:
          name: see `Found`.
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8]) % self.total == self.number - 1


def parse_shard(text: str) -> Shard:
    """Reads "2/8" as the second of eight shards.

    Raises:
      SettingError: the text is something else.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise SettingError(
            subject="--shard",
            expected="I/N with I from 1 to N, such as 2/8 for the second of eight",
            got=repr(text),
        )
    return Shard(int(match[1]), int(match[2]))


def read_list(file: str) -> list[str]:
    """Reads paths of pictures from a text file, one a line; from standard input if its name is "-".

    Empty lines are skipped.

    Raises:
      SettingError: there are no paths in it.
      OSError: the file cannot be read.
    """
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    lines = [os.fsdecode(line.rstrip(b"\r")) for line in content.split(b"\n")]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise SettingError(
            subject=f"--list {file}", expected="paths of pictures, one a line", got="no line with text"
        )
    if wrong := next((number for number, line in enumerate(lines, 1) if "\0" in line), None):
        raise SettingError(
            subject=f"--list {file}",
            expected="paths of pictures, one a line",
            got=f"zero bytes in line {wrong}",
            hint="is it a picture itself? then give it without --list",
        )
    return lines


def find_pictures(
    arguments: Sequence[str], *, recursive: bool = False, output: Path | None = None
) -> list[Found]:
    """Lists the pictures, each once; those of a folder are sorted by name.

    A missing file is listed too, and fails later by itself. If no path exists, the error comes now, before a
    model is loaded. Standard error says which files of folders may be taken for pictures and are not read.

    Args:
      arguments: paths of pictures and folders; patterns such as "*.jpg", which a shell left as they are; "-"
        for a picture from standard input.
      recursive: look into folders of folders too. Hidden ones and links to folders are left out.
      output: where results are written; it is left out if it lies below a folder.

    Raises:
      ImageError: a folder has no pictures, no path exists, or one is an address on the web.
      OSError: a folder cannot be read.
    """
    readable = picture_suffixes() | {".npy"}
    passed_over = _PassedOver()
    pictures: list[Found] = []
    exists = False
    for argument in _expanded(arguments, readable):
        if argument.is_dir():
            exists = True
            pictures += _in_folder(argument, readable, recursive, output, passed_over)
        else:
            exists = exists or argument.exists() or argument == STDIN
            pictures.append(Found(argument, argument.as_posix()))
    passed_over.tell()
    if not exists:
        missing = ", ".join(str(picture.path) for picture in pictures[:5])
        missing += ", ..." if len(pictures) > 5 else ""
        raise ImageError("expected a picture or a folder of pictures, there is no such file", missing)
    first: dict[str, Found] = {}
    for picture in pictures:
        first.setdefault(os.path.abspath(picture.path), picture)
    return list(first.values())


def _expanded(arguments: Sequence[str], readable: set[str]) -> Iterator[Path]:
    """Yields paths; patterns stand for the folders and pictures that they match, by name."""
    for argument in arguments:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", argument):
            raise ImageError(
                "is an address, and pictures are not downloaded",
                argument,
                hint=f"save it first, or try: curl -sL '{argument}' | fcn-jax segment -",
            )
        if not glob.has_magic(argument) or os.path.lexists(argument):
            yield Path(argument)
            continue
        matches = sorted(map(Path, glob.glob(argument, recursive=True)))
        pictures = [path for path in matches if path.is_dir() or path.suffix.lower() in readable]
        if not pictures:
            got = f"{len(matches)} others, such as {matches[0]}" if matches else "no match"
            raise ImageError(expected="pictures or folders that match this pattern", got=got, path=argument)
        yield from pictures


class _PassedOver:
    """What folders hold that may be taken for pictures; said once, with counts."""

    def __init__(self) -> None:
        self._files: dict[str, list[Path]] = collections.defaultdict(list)

    def is_no_file(self, path: Path) -> bool:
        """Notes a pipe, a socket or a device, which reading could wait for; returns whether it is one."""
        try:
            mode = os.stat(path).st_mode
        except OSError:  # such as a loop of links: it fails when its turn comes
            return False
        if stat.S_ISREG(mode):
            return False
        self._files["no file but a pipe, a socket or a device"].append(path)
        return True

    def note(self, path: Path) -> None:
        """Notes a file that is no picture, if people may take it for one."""
        what = not_a_picture(path.suffix)
        if what is not None:
            self._files[what].append(path)

    def tell(self) -> None:
        """Says what was noted."""
        for what, files in self._files.items():
            others = f" and {len(files) - 1} more" if len(files) > 1 else ""
            say(f"passed over {shown(str(min(files)))}{others}: {what}")


def _in_folder(
    folder: Path, readable: set[str], recursive: bool, output: Path | None, passed_over: _PassedOver
) -> list[Found]:
    left_out = None if output is None else os.path.realpath(output)
    found, folders = [], False
    for below, subfolders, names in _walk(folder):
        folders = folders or bool(subfolders)
        relative = below.relative_to(folder)
        place = "" if relative == Path() else relative.as_posix()
        subfolders[:] = [
            name for name in subfolders if recursive and os.path.realpath(below / name) != left_out
        ]
        for name in names:
            if Path(name).suffix.lower() not in readable:
                passed_over.note(below / name)
            elif not passed_over.is_no_file(below / name):
                found.append(Found(below / name, (relative / name).as_posix(), place))
    if not found:
        hint = "--recursive looks into its folders too" if folders and not recursive else None
        raise ImageError("expected pictures in this folder, found none", folder, hint=hint)
    return sorted(found)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields each folder with the names of its folders and files that are not hidden."""

    def fail(error: OSError) -> None:
        raise error

    for below, subfolders, names in os.walk(folder, onerror=fail):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield Path(below), subfolders, [name for name in names if not name.startswith(".")]
