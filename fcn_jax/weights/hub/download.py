"""Downloads weights from the hub into the hub's own cache, and verifies them at every use.

The cache is huggingface_hub's (`HF_HOME`, `HF_HUB_CACHE`), so a file that `hf download` brought is used.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fcn_jax.weights.download.fetching import is_offline
from fcn_jax.weights.hub.client import HubError, client, explained, not_here
from fcn_jax.weights.hub.names import HubName, is_hub_name
from weights_converter import Source
from weights_converter.model_file import SAFETENSORS_SUFFIX, TORCH_SUFFIXES, file_digest

USUAL = "model.safetensors"
"""The file that `push_to_hub` writes, and that is read where the name gives none."""
SUFFIXES = (SAFETENSORS_SUFFIX, *TORCH_SUFFIXES, ".caffemodel")
_CHUNK = 1 << 20

_logger = logging.getLogger(__name__)


def fetch_from_hub(name: str | os.PathLike | HubName, *, offline: bool | None = None) -> Path:
    """Returns the path of a file of weights on the hub; downloads it if it is not in the hub's cache.

    The file is verified against the digest that the hub gave for it, at every use; a damaged one is
    downloaded again. Where the hub cannot be reached, the cached file is used.

    Args:
      name: `hf://user/repo[@revision][/file]`. Without a file it is model.safetensors, or else the only
        file of weights in the repository.
      offline: never use the network; None asks `FCN_JAX_OFFLINE`.

    Raises:
      SettingError: `name` is no such name.
      HubError: no repository, revision, file or access; no network and nothing in the cache; a damaged file;
        or no weights in the repository. The message says what to do.
      MissingPackageError: huggingface_hub is not installed.
    """
    wanted = name if isinstance(name, HubName) else HubName.parse(name)
    hub, forbidden = client(), is_offline(offline)
    with explained(wanted):
        if wanted.file is None:
            wanted = wanted._replace(file=_only_file(wanted, forbidden))
        place = {"repo_id": wanted.repo, "filename": wanted.file, "revision": wanted.revision}
        path = Path(hub.hf_hub_download(**place, local_files_only=forbidden))
        problem = _problem(path)
        if problem and not forbidden:
            _logger.warning("%s: %s; downloading it again", wanted, problem)
            Path(os.path.realpath(path)).unlink()
            path = Path(hub.hf_hub_download(**place))
            problem = _problem(path)
    if problem:
        raise HubError(problem, str(wanted), hint="remove this file, and download it again with a network")
    return path


def hub_file(source: Source, *, offline: bool | None = None) -> Source:
    """Returns the file that a name on the hub stands for; anything else as it is.

    Raises as `fetch_from_hub`.
    """
    if isinstance(source, Mapping) or not is_hub_name(source):
        return source
    return fetch_from_hub(source, offline=offline)


def _only_file(wanted: HubName, offline: bool) -> str:
    """Chooses the file of weights in a repository.

    Raises:
      HubError: there is none, or more than one.
    """
    files = _files_here(wanted) if offline else _files(wanted)
    weights = [file for file in files if Path(file).suffix in SUFFIXES]
    if USUAL in weights:
        return USUAL
    if len(weights) == 1:
        return weights[0]
    if weights:
        raise HubError(
            f"the repository has {len(weights)} files of weights: {_listed(weights)}",
            str(wanted),
            hint=f"name one, as {wanted._replace(file=weights[0])}",
        )
    raise HubError(
        f"the repository has no file of weights ({', '.join(SUFFIXES)}); it has {_listed(files)}",
        str(wanted),
        hint="name another repository; `fcn-jax push` writes one that can be read here",
    )


def _files(wanted: HubName) -> list[str]:
    """Lists a repository's files; those in the cache if the hub cannot be reached."""
    try:
        with explained(wanted):
            return client().HfApi().list_repo_files(wanted.repo, revision=wanted.revision)
    except HubError as error:
        if getattr(getattr(error.__cause__, "response", None), "status_code", None) is not None:
            raise
        try:
            return _files_here(wanted)
        except HubError:
            raise error from None


def _files_here(wanted: HubName) -> list[str]:
    """Lists the files of a repository that are in the cache.

    Raises:
      HubError: there are none.
    """
    with explained(wanted):
        folder = client().snapshot_download(wanted.repo, revision=wanted.revision, local_files_only=True)
    files = sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
    if not files:
        raise not_here(wanted, "nothing of it is in the cache")
    return files


def _problem(path: Path) -> str | None:
    """Describes what is wrong with a downloaded file; None if it is right.

    The cache names each file by the hub's digest: SHA-256 for large ones, Git's SHA-1 for others. Where the
    cache cannot link, it copies, and the name does not say.
    """
    expected = Path(os.path.realpath(path)).name
    if re.fullmatch(r"[0-9a-f]{64}", expected):
        got = file_digest(path)
    elif re.fullmatch(r"[0-9a-f]{40}", expected):
        got = _git_digest(path)
    else:
        return None
    return None if got == expected else f"{path} is damaged: expected the digest {expected}, got {got}"


def _git_digest(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _listed(files: Iterable[str], most: int = 6) -> str:
    files = list(files)
    more = f" and {len(files) - most} more" if len(files) > most else ""
    return (", ".join(files[:most]) or "no files") + more
