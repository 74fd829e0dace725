"""Downloads a file of published weights: whole, verified, only once.

A file gets its name in the cache only if its digest is right, and is verified again at every use. Before that
it is `<name>.part`, which the next call continues after a broken download. `<name>.lock` lets one process at
a time work on the file.
"""

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from fcn_jax.errors import FCNError, SettingError, WrongTypeError
from fcn_jax.locking import exclusive
from fcn_jax.weights.download.cache import cache_folder
from fcn_jax.weights.download.progress import OnProgress, bar
from fcn_jax.weights.download.transfer import Fault, Refusal, Transfer
from fcn_jax.weights.published.entry import Weights, WeightsEnum
from weights_converter.model_file import file_digest

RETRIES = 4  # consecutive attempts without progress
BACKOFF_SECONDS = 1.0  # before the first retry; doubles with each
PROGRESS_BYTES = 1 << 20  # an attempt that downloads this much is not counted as a failure

_logger = logging.getLogger(__name__)


class WeightsDownloadError(FCNError, OSError):
    """Published weights are not in the cache and cannot be downloaded.

    The message names the file, its address and what happened. It also says how to do without a network: which
    file to download elsewhere, and the path to put it at.
    """

    before_hint: ClassVar[str] = "\n  what to do: "


def fetch(
    weights_or_url: Weights | WeightsEnum | str,
    *,
    progress: bool = True,
    offline: bool | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Path:
    """Returns the path of a file of published weights; downloads it if it is not in the cache.

    Every file, also a cached one, is verified against the digest in its name ("-1167a1af.pth"), or the whole
    digest if known. A damaged file in the cache is replaced.

    Args:
      weights_or_url: an enum member, a `Weights`, or an http(s) address with the digest in the file name.
      progress: shows a bar on a terminal. The log has downloads as INFO, retries and damage as WARNING.
      offline: never use the network; None asks `FCN_JAX_OFFLINE`.
      cache_dir: the folder to use in place of `cache_folder()`.

    Raises:
      WeightsDownloadError: the file is not in the cache and cannot be downloaded; or it has no known digest,
        so that it could not be verified.
      WrongTypeError: `weights_or_url` is none of these.
      SettingError: the address is not http(s).
    """
    weights = _as_weights(weights_or_url)
    if urlsplit(weights.url).scheme not in ("http", "https"):
        raise SettingError(expected="an http or https address", got=repr(weights.url))
    path = (cache_folder() if cache_dir is None else Path(cache_dir).expanduser()) / weights.file_name
    offline = is_offline(offline)
    try:
        if weights.digest is None:
            raise Refusal("no digest of this file is known, so a download cannot be verified")
        _ensure(weights, path, progress=progress, offline=offline)
    except (Fault, Refusal) as error:
        raise _failure(weights_or_url, weights, path, str(error)) from error
    except OSError as error:
        reason = f"the cache folder cannot be used: {error}; set FCN_JAX_CACHE to another one"
        raise _failure(weights_or_url, weights, path, reason) from error
    return path


def is_offline(offline: bool | None = None) -> bool:
    """Whether the network is forbidden: as given, or where None is given as `FCN_JAX_OFFLINE` says."""
    if offline is not None:
        return offline
    return os.environ.get("FCN_JAX_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def _as_weights(weights_or_url: Weights | WeightsEnum | str) -> Weights:
    if isinstance(weights_or_url, str):
        return Weights(weights_or_url)
    weights = weights_or_url.value if isinstance(weights_or_url, WeightsEnum) else weights_or_url
    if not isinstance(weights, Weights):
        raise WrongTypeError(expected="published weights or an address", got=repr(weights))
    return weights


def _ensure(weights: Weights, path: Path, *, progress: bool, offline: bool) -> None:
    """Makes sure that the right file is at `path`. If it is, this needs no lock and no writable folder."""
    problem = _problem(weights, path)
    if not problem:
        return
    if offline:
        raise Refusal(f"{problem}, and FCN_JAX_OFFLINE or offline=True forbids the download")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _part(path) as part:
        problem = _problem(weights, path)  # another process may have downloaded it meanwhile
        if not problem:
            return
        if path.is_file():
            _logger.warning("%s; downloading it again", problem)
        else:
            _logger.info("downloading %s", weights.file_name)
        with bar(weights.file_name, shown=progress) as on_progress:
            _download(weights, part, on_progress)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)


def _problem(weights: Weights, path: Path) -> str | None:
    """Describes what is wrong with the file at `path`; None if it is right."""
    if not path.is_file():
        return "it is not in the cache"
    assert weights.digest is not None, "refused by `fetch`"
    algorithm, expected = weights.digest
    got = file_digest(path, algorithm)
    if not got.startswith(expected):
        return f"{path} is damaged: expected {algorithm} {expected}, got {got}"
    return None


@contextlib.contextmanager
def _part(path: Path) -> Iterator[Path]:
    """Yields the path of a partial file beside `path` that no other process writes to."""

    def on_wait():
        _logger.info("another process is downloading %s; waiting for it", path.name)

    with exclusive(path.with_name(path.name + ".lock"), on_wait) as held:
        if held:
            part = path.with_name(path.name + ".part")
            if part.is_symlink() and not part.is_char_device():  # not ours: its target would be overwritten
                _logger.warning("%s is a link; removing it", part)
                part.unlink()
            yield part
        else:  # no locks here: a unique name, so the download cannot be continued
            part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
            try:
                yield part
            finally:
                part.unlink(missing_ok=True)


def _download(weights: Weights, part: Path, on_progress: OnProgress) -> None:
    """Completes `part`. If the content is wrong, it downloads the file once more from the first byte."""
    if not _problem(weights, part):  # an earlier process ended just before the rename
        return
    transfer = Transfer(weights.url, part, weights.size, on_progress)
    problem = None
    for _ in range(2):
        _complete(transfer)
        problem = _problem(weights, part)
        if not problem:
            return
        part.unlink(missing_ok=True)
        _logger.warning("%s", problem)
    raise Refusal(f"the server sent another file than the published one: {problem}")


def _complete(transfer: Transfer) -> None:
    """Repeats the transfer until nothing is missing, or RETRIES attempts in a row brought no progress."""
    failures, furthest = 0, 0
    while True:
        try:
            return transfer.attempt()
        except Fault as fault:
            here = transfer.part.stat().st_size if transfer.part.exists() else 0
            # Counted from the furthest point: else a server that ignores Range would be asked without end.
            if here >= furthest + PROGRESS_BYTES:
                failures, furthest = 0, here
            failures += 1
            if failures > RETRIES:
                raise
            wait = fault.wait if fault.wait is not None else BACKOFF_SECONDS * 2 ** (failures - 1)
            _logger.warning("%s; trying again in %g s", fault, wait)
            time.sleep(wait)


def _failure(wanted: object, weights: Weights, path: Path, reason: str) -> WeightsDownloadError:
    name = f"{wanted!r} ({weights.file_name})" if isinstance(wanted, WeightsEnum) else weights.file_name
    place = "and pass the path of the file as {weights}"
    if weights.digest is not None:
        place = f"and put the file at\n    {path}\n  or anywhere, and pass its path as {{weights}}"
    return WeightsDownloadError(
        f"cannot get {name}\n  from: {weights.url}\n  what happened: {reason}",
        hint=f"download that address yourself, if necessary on another machine, {place}",
    )
