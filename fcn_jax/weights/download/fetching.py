"""Bringing a file of published weights here: whole, verified, once.

A file gets its name in the cache only after its digest was found right, and is checked again whenever it is
asked for. On the way it is `<name>.part`, which a later call takes up where an earlier one was cut off, and
`<name>.lock` lets one process at a time work on it.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from fcn_jax.weights.download.cache import cache_folder, digest_of, exclusive
from fcn_jax.weights.download.progress import Reporter, reporting, say
from fcn_jax.weights.download.transfer import Fault, Refusal, Transfer
from fcn_jax.weights.published.entry import Weights, WeightsEnum

RETRIES = 4  # in a row without progress
BACKOFF_SECONDS = 1.0  # before the first retry; doubles with each
PROGRESS_BYTES = 1 << 20  # a transfer that came so much further is not counted as a failure


class WeightsDownloadError(OSError):
    """Published weights could not be had.

    The message says what was wanted, from where, what happened, and how to do it without a network: which
    file to fetch elsewhere and the path to put it at.
    """


def fetch(
    weights_or_url: Weights | WeightsEnum | str,
    *,
    progress: bool = True,
    offline: bool | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Path:
    """Gives the path of a file of published weights, downloading it if it is not in the cache.

    Every file is verified against the digest in its name ("-1167a1af.pth") and the whole digest where that
    is known, the cached one too. A damaged file in the cache is replaced.

    Args:
      weights_or_url: an enum member, a `Weights`, or an http(s) address whose file name holds the digest.
      progress: shows a bar on a terminal, a line elsewhere; without it only damage is spoken of.
      offline: never touch the network; None asks `FCN_JAX_OFFLINE`.
      cache_dir: the folder to use in place of `cache_folder()`.

    Raises:
      WeightsDownloadError: the file is not here and could not be had, or no digest of it is known, so that
        nothing could be verified.
      TypeError: `weights_or_url` is none of these.
      ValueError: the address is not http(s).
    """
    weights = _as_weights(weights_or_url)
    if urlsplit(weights.url).scheme not in ("http", "https"):
        raise ValueError(f"expected an http or https address, got {weights.url!r}")
    path = (cache_folder() if cache_dir is None else Path(cache_dir).expanduser()) / weights.file_name
    if offline is None:
        offline = os.environ.get("FCN_JAX_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")
    try:
        if weights.digest is None:
            raise Refusal("no digest of this file is known, so that nothing fetched could be verified")
        _ensure(weights, path, progress=progress, offline=offline)
    except (Fault, Refusal) as error:
        raise _failure(weights_or_url, weights, path, str(error)) from error
    except OSError as error:
        reason = f"the cache folder cannot be used: {error}; FCN_JAX_CACHE names another one"
        raise _failure(weights_or_url, weights, path, reason) from error
    return path


def _as_weights(weights_or_url: Weights | WeightsEnum | str) -> Weights:
    if isinstance(weights_or_url, str):
        return Weights(weights_or_url, transforms=None, meta={})
    weights = weights_or_url.value if isinstance(weights_or_url, WeightsEnum) else weights_or_url
    if not isinstance(weights, Weights):
        raise TypeError(f"expected published weights or an address, got {weights!r}")
    return weights


def _ensure(weights: Weights, path: Path, *, progress: bool, offline: bool) -> None:
    """Returns when the right file is at `path`. A good file needs neither a lock nor a writable folder."""
    problem = _problem(weights, path)
    if not problem:
        return
    if offline:
        raise Refusal(f"{problem}, and FCN_JAX_OFFLINE or offline=True forbids to download it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with reporting(weights.file_name, progress=progress) as reporter, _part(path, reporter) as part:
        problem = _problem(weights, path)  # another process may have brought the file meanwhile
        if not problem:
            return
        if path.is_file():
            say(f"{problem}; fetching it again")
        _download(weights, part, reporter)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)


def _problem(weights: Weights, path: Path) -> str | None:
    """What is wrong with the file at `path`; None if it is the right one."""
    if not path.is_file():
        return "it is not in the cache"
    algorithm, expected = weights.digest
    got = digest_of(path, algorithm)
    if not got.startswith(expected):
        return f"{path} is damaged: expected {algorithm} {expected}, got {got}"
    return None


@contextlib.contextmanager
def _part(path: Path, reporter: Reporter) -> Iterator[Path]:
    """A partial file beside `path` that no other process writes to."""

    def on_wait():
        reporter.note(f"another process is fetching {path.name}; waiting for it")

    with exclusive(path.with_name(path.name + ".lock"), on_wait) as held:
        if held:
            yield path.with_name(path.name + ".part")
        else:  # no locks here: a name of our own, which nobody can resume
            part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
            try:
                yield part
            finally:
                part.unlink(missing_ok=True)


def _download(weights: Weights, part: Path, reporter: Reporter) -> None:
    """Completes `part`; wrong content is thrown away and fetched once more from the first byte."""
    if not _problem(weights, part):  # an earlier process ended between the last byte and the final name
        return
    transfer = Transfer(weights.url, part, weights.size, reporter.moved)
    for _ in range(2):
        _complete(transfer, reporter)
        problem = _problem(weights, part)
        if not problem:
            return
        part.unlink(missing_ok=True)
        reporter.note(problem)
    raise Refusal(f"what the server sent is not the published file: {problem}")


def _complete(transfer: Transfer, reporter: Reporter) -> None:
    """Repeats the transfer until nothing is missing, or RETRIES attempts in a row brought nothing new."""
    failures, furthest = 0, 0
    while True:
        try:
            return transfer.attempt()
        except Fault as fault:
            here = transfer.part.stat().st_size if transfer.part.exists() else 0
            # Counted from the furthest point ever: else a server that ignores Range would be asked for ever.
            if here >= furthest + PROGRESS_BYTES:
                failures, furthest = 0, here
            failures += 1
            if failures > RETRIES:
                raise
            wait = fault.wait if fault.wait is not None else BACKOFF_SECONDS * 2 ** (failures - 1)
            reporter.note(f"{fault}; trying again in {wait:g} s")
            time.sleep(wait)


def _failure(wanted: object, weights: Weights, path: Path, reason: str) -> WeightsDownloadError:
    name = f"{wanted!r} ({weights.file_name})" if isinstance(wanted, WeightsEnum) else weights.file_name
    place = "and pass the file's path in place of the name"
    if weights.digest is not None:
        place = f"and put the file at\n    {path}\n  or anywhere, and pass its path in place of the name"
    return WeightsDownloadError(
        f"cannot have {name}\n"
        f"  from: {weights.url}\n"
        f"  what happened: {reason}\n"
        f"  what to do: fetch that address yourself, on another machine if need be, {place}"
    )
