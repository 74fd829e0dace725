"""Finds the tensors of a network in a file: under any key, behind any prefix, beside anything else.

Every beginning of names up to a dot is tried: `recognition` says whether the names behind it are those of a
network. "model.module." is such a beginning, whether the file has a dict "model" with names
"module.conv1.weight", or one dict with names "model.module.conv1.weight".

  * A network inside another, such as an FCN's backbone, is a part of it. Names inside a network that its
    table does not want and that make a network by themselves are another one.
  * Segmentation networks come before classifiers; where a backbone is looked for, classifiers come first.
  * A moving average that PyTorch's AveragedModel keeps (it counts `n_averaged`) stays behind the model that
    it averages, as in torchvision's checkpoints. The key of either takes it.
  * If there still are two, nobody guesses: the error lists them.
"""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from weights_converter.errors import CheckpointError, FCNError
from weights_converter.readers.pickle_values import Tensor, shown
from weights_converter.readers.tree import Tree
from weights_converter.recognition import look_at, wanted_names
from weights_converter.spec import ModelSpec

MAX_PARTS = 16  # of a prefix
MOST_SHOWN = 12  # candidates, or keys, in one message
AVERAGE = "n_averaged"


class Candidate(NamedTuple):
    """A network in a file.

    Attributes:
      prefix: what its names begin with, such as "model.module."; it ends in a dot or is empty.
      spec: the network.
      names: {name without the prefix: path in the file} of its tensors.
    """

    prefix: str
    spec: ModelSpec
    names: dict[str, str]

    @property
    def key(self) -> str:
        """The prefix as a user types it."""
        return self.prefix.removesuffix(".")


@dataclasses.dataclass(frozen=True)
class Found:
    """What was chosen in a file.

    Attributes:
      names: {name without the prefix: path in the file} of the tensors.
      prefix: as in `Candidate`.
      passed_over: {path: what it is} of all else in the file; equal parts are counted together.
    """

    names: dict[str, str]
    prefix: str = ""
    passed_over: dict[str, str] = dataclasses.field(default_factory=dict)


def find(tree: Tree, key: str | None = None, *, backbone: bool = False) -> Found | None:
    """Finds the one network in a file.

    Args:
      tree: what the file holds.
      key: where to look: a key of the file, or several with dots between them, or a prefix of the names.
      backbone: prefers a classifier, whose tensors fill a backbone.

    Returns:
      Its tensors; None if no table recognizes anything.

    Raises:
      CheckpointError: there are several networks; there is nothing under the key; or a table recognizes the
        file and says why it cannot be read.
    """
    inside = _under(tree, key)
    candidates, refusals = _candidates(tree, inside)
    exact = [
        candidate for candidate in candidates if key is not None and candidate.key == key.removesuffix(".")
    ]
    chosen = _one(tree, exact or candidates, backbone)
    if chosen is None or (chosen.spec.is_classifier and key is None and not backbone):
        for prefix, error in refusals:
            if chosen is None or chosen.prefix.startswith(prefix):
                raise error
    if chosen is None or (key is None and not backbone and _is_inside_another(tree, chosen)):
        return None
    twice = [path for path in chosen.names.values() if path in tree.twice]
    if twice:
        raise CheckpointError(f"it holds the tensor {shown(twice[0])} twice")
    _check_read(tree, chosen)
    return Found(chosen.names, chosen.prefix, passed_over(tree, chosen.prefix, chosen.names.values()))


def passed_over(tree: Tree, prefix: str, taken: Iterable[str]) -> dict[str, str]:
    """Says what a file holds beside the tensors that were taken: {path: what it is}.

    A part that nothing was taken from is one entry: {"optimizer": "640 tensors", "epoch": "int"}.
    """
    taken, groups = set(taken), {}
    for path in (*tree.tensors, *tree.others):
        if path in taken or not path:
            continue
        groups.setdefault(_branch(path, prefix), []).append(path)
    found = {}
    for branch, paths in groups.items():
        count = sum(path in tree.tensors for path in paths)
        what = tree.others.get(branch) or f"{len(paths)} values"
        found[branch] = (f"{count} tensor" + "s" * (count > 1)) if count else what
    return found


def keys(tree: Tree) -> list[str]:
    """Lists the keys at the top of a file."""
    return list(dict.fromkeys(path.partition(".")[0] for path in (*tree.tensors, *tree.others) if path))


def _under(tree: Tree, key: str | None) -> list[str]:
    """Lists the paths of the tensors under a key."""
    if key is None:
        return list(tree.tensors)
    beginning = key.removesuffix(".") + "." if key else ""
    inside = [path for path in tree.tensors if path.startswith(beginning)]
    if not inside:
        known = ", ".join(map(shown, keys(tree)[:MOST_SHOWN])) or "nothing"
        raise CheckpointError(
            subject="key",
            expected="a key or a prefix with tensors under it",
            got=shown(key),
            hint=f"the file has {known}",
        )
    return inside


def _candidates(tree: Tree, inside: list[str]) -> tuple[list[Candidate], list[tuple[str, FCNError]]]:
    """Asks recognition for every prefix, the shortest first; also returns what tables refuse."""
    found: list[tuple[Candidate, set[str]]] = []
    refusals: list[tuple[str, FCNError]] = []
    for prefix, paths in sorted(_by_prefix(inside).items(), key=lambda item: item[0].count(".")):
        if any(_is_part(prefix, whole.prefix, wanted) for whole, wanted in found):
            continue
        names = {path[len(prefix) :]: path for path in paths}
        try:
            recognized = look_at({name: tree.tensors[path] for name, path in names.items()})
        except FCNError as error:
            refusals.append((prefix, error))
            continue
        if recognized is not None:
            found.append((Candidate(prefix, recognized.spec, names), wanted_names(recognized)))
    candidates = [candidate for candidate, _ in found]
    return [_without_others(candidate, candidates) for candidate in candidates], refusals


def _by_prefix(paths: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault("", []).append(path)
        dot = path.find(".")
        for _ in range(MAX_PARTS):
            if dot < 0:
                break
            groups.setdefault(path[: dot + 1], []).append(path)
            dot = path.find(".", dot + 1)
    return groups


def _is_part(prefix: str, whole: str, wanted: set[str]) -> bool:
    """Whether the names behind a prefix belong to the network behind a shorter one."""
    inner = prefix.removeprefix(whole)
    return prefix.startswith(whole) and any(name.startswith(inner) for name in wanted)


def _is_inside_another(tree: Tree, chosen: Candidate) -> bool:
    """Whether a classifier is a part of a network that no table knows: others have names beside it."""
    if not (chosen.spec.is_classifier and chosen.prefix):
        return False
    above = chosen.key.rpartition(".")[0]
    around = f"{above}." if above else ""
    return any(path.startswith(around) and not path.startswith(chosen.prefix) for path in tree.tensors)


def _without_others(candidate: Candidate, others: list[Candidate]) -> Candidate:
    """Takes from a network's names those of other networks whose prefix begins with its own."""
    inner = tuple(
        other.prefix
        for other in others
        if other.prefix != candidate.prefix and other.prefix.startswith(candidate.prefix)
    )
    if not inner:
        return candidate
    return candidate._replace(
        names={name: path for name, path in candidate.names.items() if not path.startswith(inner)}
    )


def _one(tree: Tree, candidates: list[Candidate], backbone: bool) -> Candidate | None:
    """Chooses the network; see the top of this module."""
    preferred = [candidate for candidate in candidates if candidate.spec.is_classifier == backbone]
    candidates = _different(tree, preferred or candidates)
    if len(candidates) > 1:
        own = [candidate for candidate in candidates if not _is_average(tree, candidate, candidates)]
        if len(own) == 1 and all(candidate.spec == own[0].spec for candidate in candidates):
            candidates = own
    if len(candidates) > 1:
        some = [f"{shown(candidate.key)}: {candidate.spec}" for candidate in candidates[:MOST_SHOWN]]
        more = f", and {len(candidates) - MOST_SHOWN} more" if len(candidates) > MOST_SHOWN else ""
        raise CheckpointError(
            f"it holds {len(candidates)} networks ({', '.join(some)}{more})",
            hint=f"choose one with {{key}}, such as {shown(candidates[0].key)}",
        )
    return candidates[0] if candidates else None


def _different(tree: Tree, candidates: list[Candidate]) -> list[Candidate]:
    """Leaves out networks that are the same tensors under another name."""
    kept: dict[tuple, Candidate] = {}
    for candidate in candidates:
        same = tuple((name, _identity(tree.tensors[path])) for name, path in candidate.names.items())
        kept.setdefault(same if len(candidates) > 1 else (), candidate)
    return list(kept.values())


def _identity(tensor: object) -> object:
    """What two tensors share if they are the same bytes of the file."""
    if isinstance(tensor, Tensor):
        stored = tensor.storage
        return (
            stored.key,
            stored.view,
            tensor.dtype.str,
            repr(tensor.offset),
            tensor.shape,
            shown(tensor.stride),
        )
    return id(tensor)


def _is_average(tree: Tree, candidate: Candidate, candidates: list[Candidate]) -> bool:
    """Whether PyTorch's AveragedModel wrote this: it counts `n_averaged` beside the averaged names."""
    parts = candidate.prefix.split(".")[:-1]
    for length in range(len(parts), -1, -1):
        above = "".join(f"{part}." for part in parts[:length])
        if sum(other.prefix.startswith(above) for other in candidates) > 1:
            return False
        if above + AVERAGE in tree.tensors or above + AVERAGE in tree.others:
            return True
    return False


def _branch(path: str, prefix: str) -> str:
    """The part of a path that ends where it leaves the prefix."""
    at = 0
    while (dot := prefix.find(".", at)) >= 0 and path.startswith(prefix[: dot + 1]):
        at = dot + 1
    if at == len(prefix) and prefix:
        return path  # inside, where each is named
    rest = path[at:]
    return path if not prefix else path[: at + len(rest.partition(".")[0])]


def _check_read(tree: Tree, chosen: Candidate) -> None:
    """Refuses a network of which a tensor is of a kind that is not read."""
    unread = {path: tree.others[path] for path in tree.unread if path.startswith(chosen.prefix)}
    if unread:
        some = ", ".join(f"{shown(path)} ({kind})" for path, kind in list(unread.items())[:MOST_SHOWN])
        raise CheckpointError(f"it holds {len(unread)} entries that cannot be read as tensors: {some}")
