"""What a check found, as data: faults of one kind together, and the pixels of each class."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError
from fcn_jax.datasets.faults import Fault, Severity

MOST = 8  # examples of a finding
OF_CLASSES = (Fault.GHOST, Fault.RARE, Fault.UNSEEN)  # each fault is a class; `got` says in which label files


@dataclasses.dataclass(frozen=True)
class Finding:
    """All faults of one kind.

    Attributes:
      fault: the kind.
      count: how many there are.
      examples: the first few, at most `MOST`.
    """

    fault: Fault
    count: int
    examples: tuple[DatasetError, ...]

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return self.fault.severity

    @property
    def hint(self) -> str | None:
        """What to do, as the first example says it."""
        return self.examples[0].hint

    @property
    def title(self) -> str:
        """The count and what it counts."""
        words = self.fault.words.replace("(s)", "s").replace("(es)", "es")
        if self.count == 1:
            words = self.fault.words.replace("(s)", "").replace("(es)", "")
        return f"{self.count:,} {words}"

    def words(self) -> str:
        """Says it in one line, without the hint: the count, and the names of the examples."""
        names = [
            Path(each.path).name if each.path and self.of_files else each.reason for each in self.examples
        ]
        if self.of_files and self.count == 1:
            names = [f"{names[0]} ({self.examples[0].reason})"]
        more = ", ..." if self.count > len(self.examples) else ""
        place = f" ({self.examples[0].got})" if self.fault in OF_CLASSES else ""
        return f"{self.title}: {', '.join(names)}{more}{place}"

    @property
    def of_files(self) -> bool:
        """Whether each fault is that of a file."""
        return "file" in self.fault.words or "picture" in self.fault.words


class Tally(NamedTuple):
    """The labels of a split.

    Attributes:
      split: its name.
      pictures: how many it has.
      headers: how many pictures' sizes were looked at.
      counted: how many pictures' labels were read.
      pixels: (256,) int64, by label, of those.
      occurs: (256,) int64, how many of those have the label.
    """

    split: str
    pictures: int
    headers: int
    counted: int
    pixels: np.ndarray
    occurs: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether all labels were read."""
        return self.counted == self.pictures


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
      categories: names of the classes; empty if no split could be opened.
      tallies: of each split that could be opened.
      findings: the worst first.
    """

    categories: tuple[str, ...]
    tallies: tuple[Tally, ...]
    findings: tuple[Finding, ...]

    @property
    def stopping(self) -> tuple[Finding, ...]:
        """The findings that would stop a training run."""
        return tuple(each for each in self.findings if each.severity is Severity.STOPS)

    @property
    def good(self) -> bool:
        """Whether nothing would stop or spoil a training run."""
        return all(each.severity is Severity.REMARK for each in self.findings)


def grouped(faults: Iterable[DatasetError]) -> tuple[Finding, ...]:
    """Groups faults by kind, the worst kind first; the same fault counts once."""
    by_kind: dict[Fault, dict[tuple, DatasetError]] = defaultdict(dict)
    for each in faults:
        by_kind[each.fault].setdefault((each.path, each.reason), each)
    order = list(Severity)
    return tuple(
        Finding(kind, len(found), tuple(sorted(found.values(), key=lambda each: each.path or ""))[:MOST])
        for kind in sorted(Fault, key=lambda kind: order.index(kind.severity))
        if (found := by_kind.get(kind))
    )


def class_faults(
    tally: Tally, categories: tuple[str, ...], *, scored: bool, sampled: bool
) -> list[DatasetError]:
    """Finds classes without pixels, and labels from which nothing can be learnt.

    Args:
      tally: of a split.
      categories: names of the classes.
      scored: whether the split is only for scores.
      sampled: whether only some of the label files were to be read.
    """
    if not tally.counted:
        return []
    pixels = tally.pixels[: len(categories)]
    counted = f"{tally.counted:,}" if tally.whole else f"{tally.counted:,} of the {tally.pictures:,}"
    of = f"{counted} label files of the split {tally.split}"
    present = [name for name, count in zip(categories, pixels, strict=True) if count]
    absent = [name for name, count in zip(categories, pixels, strict=True) if not count]
    void = tally.pixels[IGNORE_LABEL] / max(1, tally.pixels.sum())
    nothing = Fault.NOTHING if tally.whole and not scored else Fault.HARDLY
    if len(present) > 1 or (scored and present):
        kind = Fault.RARE if sampled else Fault.UNSEEN if scored else Fault.GHOST
        return [DatasetError(name, got=f"in {of}", fault=kind) for name in absent]
    if present:
        what = f"only {present[0]} has pixels" if absent else f"there is only one class, {present[0]},"
    else:
        what = "no pixel has a class"
    without = f", none {', '.join(absent[:MOST])}" if present and absent else ""
    return [
        DatasetError(
            f"{what} in {of}{without}; {void:.1%} of the pixels are 255, no class",
            fault=nothing,
            hint="if 255 is a class, as in masks of 0 and 255, say so with {values} 0,255; with one kind of "
            "object, the background is a class, too"
            if void
            else "name the values of all classes, the background too",
        )
    ]
