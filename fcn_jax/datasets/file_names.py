"""Finds files by name: whether they exist, and what a folder calls them."""

import contextlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from fcn_jax.datasets.dataset import DatasetError, shown
from fcn_jax.datasets.faults import Fault


def existing(groups: Sequence[tuple[Path, ...]]) -> tuple[list[tuple[Path, ...]], list[Path]]:
    """Finds which files exist, so that a missing one is found now, not in the middle of an epoch.

    Args:
      groups: paths that belong together.

    Returns:
      The groups whose files all exist, with the names as their folders spell them (letters may be composed or
      decomposed), and the paths of the missing files.
    """
    listings: dict[str, dict[str, str]] = {}  # lists each folder once
    for folder in {os.path.dirname(path) for group in groups for path in group}:
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = os.listdir(folder or ".")
        listings[folder] = {composed(name): name for name in names} | {name: name for name in names}
    found, missing = [], []
    for group in groups:
        spelled = []
        for path in group:
            folder, name = os.path.split(path)
            listing = listings[folder]
            other = listing.get(name) or listing.get(composed(name))
            # A file system may ignore upper and lower case, so a name that is not listed may still exist.
            if other is None and not path.is_file():
                missing.append(path)
            else:
                spelled.append(path if other in (None, name) else path.with_name(other))
        if len(spelled) == len(group):
            found.append(tuple(spelled))
    return found, missing


def composed(name: str) -> str:
    """Returns a name with composed letters: macOS writes an accent as a letter of its own, others do not."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def absent(path: Path) -> DatasetError:
    """Makes the fault for one missing file."""
    return DatasetError("there is no such file", path, fault=Fault.MISSING)


def files_missing(missing: Sequence[Path], total: int) -> DatasetError:
    """Makes the error for missing files; it counts them and names the first few."""
    return DatasetError(
        f"{len(missing):,} of the {total:,} files of this split are missing: {shown(missing, most=3)}",
        fault=Fault.MISSING,
        hint="unpack the whole dataset, or list only what is there",
    )
