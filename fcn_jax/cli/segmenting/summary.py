"""summary.json: which picture and which settings made the files of a folder, over several runs.

An entry of a picture replaces its earlier entry; entries of other pictures stay. Each shard has a file of its
own, so shards that run at the same time lose nothing. All of them are read.
"""

import contextlib
import datetime
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fcn_jax.cli.segmenting.pictures import Shard
from fcn_jax.errors import SettingError
from weights_converter.files import replacing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = re.compile(r"summary(-[0-9]+-of-[0-9]+)?\.json")
NOT_FACTS = ("settings", "images", "failed", "other_settings")
SECONDS_BETWEEN_WRITES = 30.0

Entry = dict[str, Any]
"""What a summary says of a picture: "source", the absolute "path", "stem", "files", and so on."""


class Summary:
    """The summaries of an output folder: reads all, writes one.

    Attributes:
      path: the file that it writes.
      earlier: {absolute path of a picture: its newest entry}, of all earlier runs.
      settings: names the settings of this run; see `fingerprint`.
    """

    def __init__(self, output: Path, shard: Shard | None = None):
        name = "summary.json" if shard is None else f"summary-{shard.number}-of-{shard.total}.json"
        self.path = output / name
        self.earlier: dict[str, Entry] = {}
        self._stems: dict[str, str] = {}
        self._facts: Mapping[str, Any] = {}
        self.settings = ""
        self._done: dict[str, Entry] = {}
        self._failed: dict[str, Entry] = {}
        self._written_at, self._seconds = time.monotonic(), 0.0
        if not output.is_dir():
            return
        contents = [read(file) for file in sorted(output.iterdir()) if NAME.fullmatch(file.name)]
        entries = [entry for content in contents for entry in content["images"]]
        failed = [entry for content in contents for entry in content["failed"]]
        for entry in sorted(entries, key=_when):
            self.earlier[entry["path"]] = entry
        for entry in sorted(failed + entries, key=_when):
            if entry["stem"]:
                self._stems[entry["path"]] = entry["stem"]

    @property
    def stems(self) -> dict[str, str]:
        """{absolute path of a picture: the stem of its files}, of all earlier runs."""
        return dict(self._stems)

    def set_facts(self, facts: Mapping[str, Any]) -> None:
        """Sets what this run's settings are; before any picture is added."""
        self._facts, self.settings = facts, fingerprint(facts)

    def add(self, entry: Entry) -> None:
        """Adds a picture that was segmented; its files of an earlier run with the same settings count too."""
        entry = {"settings": self.settings} | entry
        before = self.earlier.get(entry["path"])
        same = ("settings", "modified", "stem")
        if before is not None and all(before.get(key) == entry[key] for key in same):
            files = dict.fromkeys([*entry["files"], *map(str, self._files(before))])
            entry["files"] = [file for file in files if os.path.exists(file)]
            if "figure_of" in before:
                entry.setdefault("figure_of", before["figure_of"])
        self._done[entry["path"]] = entry

    def add_failure(self, entry: Entry) -> None:
        """Adds a picture that failed; "files" are those that may stem from this run, if there are any."""
        self._failed[entry["path"]] = entry

    def has(self, path: str, modified: int | None, files: list[Path], figure: Entry) -> bool:
        """Returns whether earlier runs made all these files, from this picture with these settings.

        Args:
          path: absolute path of the picture.
          modified: when the picture was last changed.
          files: below the output folder.
          figure: what an entry says of the figure, if one is asked for.
        """
        entry = self.earlier.get(path)
        if entry is None or modified is None:
            return False
        wanted = {"settings": self.settings, "modified": modified} | figure
        if any(name not in entry or entry[name] != value for name, value in wanted.items()):
            return False
        made = self._files(entry)
        return all(file in made and file.exists() for file in files)

    def write_now_and_then(self) -> None:
        """Writes the file if the last time is long ago; so little is lost if the process is killed."""
        since = time.monotonic() - self._written_at
        if since > max(SECONDS_BETWEEN_WRITES, 50 * self._seconds):
            self.write()

    def write(self) -> None:
        """Merges this run into the file.

        Raises:
          OSError: the file cannot be written.
          SettingError: what is there now is no summary.
        """
        start = time.monotonic()
        with _folder_locked(self.path.parent):
            content = read(self.path)
            settings = content["other_settings"] | content["own"]
            images = {entry["path"]: entry for entry in content["images"]} | self._done
            failed = {entry["path"]: entry for entry in content["failed"] if entry["path"] not in self._done}
            failed |= self._failed
            for path, entry in self._failed.items():
                if entry.get("files"):  # partly replaced
                    images.pop(path, None)
            used = {entry.get("settings") for entry in images.values()} - {self.settings}
            whole = dict(self._facts) | {
                "settings": self.settings,
                "images": list(images.values()),
                "failed": list(failed.values()),
                "other_settings": {name: facts for name, facts in settings.items() if name in used},
            }
            # The undecodable bytes of a file name become "\\udc..", which JSON reads back.
            text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
            with replacing(self.path) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        self._written_at = time.monotonic()
        self._seconds = self._written_at - start

    def _files(self, entry: Entry) -> list[Path]:
        """Returns an entry's files, where they are as seen from the current folder."""
        folder = self.path.parent / PurePosixPath(entry["stem"]).parent
        return [folder / Path(file).name for file in entry["files"]]


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Returns a short name of settings; where the weights lie does not count, only what is in them."""
    counted = {name: value for name, value in facts.items() if name != "weights"}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]


def now() -> str:
    """Returns the time for an entry, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def read(file: Path) -> dict[str, Any]:
    """Reads a summary, and fills in what older or missing ones lack; "own" are {settings: facts} of its run.

    Raises:
      SettingError: the file is no summary.
      OSError: the file cannot be read.
    """
    if not file.exists():
        return {"images": [], "failed": [], "other_settings": {}, "own": {}}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        facts = {name: value for name, value in content.items() if name not in NOT_FACTS}
        settings = content.get("settings") or fingerprint(facts)
        return {
            "images": [_complete(entry, settings) for entry in content["images"]],
            "failed": [_complete(entry, settings) for entry in content["failed"]],
            "other_settings": dict(content.get("other_settings", {})),
            "own": {settings: facts},
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingError(
            path=file,
            expected="the summary of an earlier run, which tells which picture made which file",
            got="another file, or a damaged one",
            hint="move it away or choose another folder with --output",
        ) from error


def _complete(entry: Entry, settings: str) -> Entry:
    """Checks an entry, and fills in what entries of older versions lack."""
    files = list(map(os.fspath, entry.get("files", [])))
    stem = re.sub(r"_[^_]*$", "", Path(files[0]).stem) if files else ""
    path = os.path.abspath(entry["source"])
    entry = {"path": path, "stem": stem, "written": "", "settings": settings} | entry
    place = PurePosixPath(entry["stem"])
    if place.is_absolute() or ".." in place.parts or not isinstance(entry["path"], str):
        raise TypeError
    return entry


def _when(entry: Entry) -> str:
    return str(entry.get("written", ""))


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Keeps other runs from changing the folder's summaries meanwhile, where the system can lock a folder."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
