"""Which value in a label file means which class.

Without any option the values are the class indices, and 255 means no class. `void` names more values without
a class, `values` gives each class a value of its own:

    void=(0, 255)          0 means no class, too; the classes keep their indices
    values=(0, 255)        binary masks: 0 is class 0, 255 is class 1
    zero_is_void=True      ADE20K's way: 0 means no class, 1 is class 0, 2 is class 1, ...
"""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from fcn_jax.datasets.dataset import IGNORE_LABEL, DatasetError, shown
from fcn_jax.datasets.faults import Fault
from fcn_jax.errors import SettingError

Values = str | Sequence[int] | None
"""Label values as numbers, or as text with commas between them."""

LARGEST = 2**31 - 1
_NO_CLASS, _WRONG = IGNORE_LABEL, IGNORE_LABEL + 1  # in the table of an 8-bit file


class LabelValues:
    """The values in a dataset's label files.

    Args:
      num_classes: number of classes.
      void: values that mean "no class". 255 does, too, unless it is among `values`.
      values: the value of each class, in order; by default 0, 1, 2, ...

    Raises:
      SettingError: `values` has another length than there are classes, or names a value twice, or one of
        `void`.
    """

    def __init__(self, num_classes: int, void: Sequence[int] = (), values: Sequence[int] | None = None):
        self.num_classes = num_classes
        self.void = tuple(dict.fromkeys(void))
        self.values = None if values is None or tuple(values) == tuple(range(num_classes)) else tuple(values)
        if self.values is not None:
            twice = sorted({value for value in self.values if self.values.count(value) > 1})
            if len(self.values) != num_classes or twice:
                raise SettingError(
                    subject="values",
                    expected=f"{num_classes} values, a different one for each class",
                    got=shown_values(self.values) or "none",
                )
            both = sorted(set(self.values) & set(self.void))
            if both:
                raise SettingError(
                    subject="void",
                    expected="values that no class has",
                    got=f"{shown_values(both)}, which {'is' if len(both) == 1 else 'are'} of a class",
                    hint="leave these out of {void} or out of {values}",
                )

    def indices(self, labels: np.ndarray) -> np.ndarray:
        """Turns the values of a label file into class indices.

        Args:
          labels: (H, W) integers of any dtype.

        Returns:
          (H, W) uint8: class indices, or 255 for no class.

        Raises:
          DatasetError: a value belongs to no class.
        """
        if self.values is None:
            return self._as_they_are(labels)
        if labels.dtype == np.uint8:
            found = self._table[labels]
        else:
            found = np.full(labels.shape, _WRONG, np.uint16)
            for value in self._voids():
                found[labels == value] = _NO_CLASS
            for index, value in enumerate(self.values):
                found[labels == value] = index
        wrong = found == _WRONG
        if wrong.any():
            raise self._no_class(labels, wrong)
        return found.astype(np.uint8)

    def _as_they_are(self, labels: np.ndarray) -> np.ndarray:
        unknown = labels == IGNORE_LABEL
        for value in self.void:
            unknown |= labels == value
        wrong = ~unknown & ((labels < 0) | (labels >= self.num_classes))
        if wrong.any():
            raise self._no_class(labels, wrong)
        return np.where(unknown, np.uint8(IGNORE_LABEL), labels.astype(np.uint8))

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """(256,) uint16: the class index of each 8-bit value."""
        table = np.full(256, _WRONG, np.uint16)
        for value in self._voids():
            if 0 <= value < 256:
                table[value] = _NO_CLASS
        for index, value in enumerate(self.values or ()):
            if 0 <= value < 256:
                table[value] = index
        return table

    def _voids(self) -> tuple[int, ...]:
        own = IGNORE_LABEL in (self.values or ())
        return self.void if own else (*self.void, IGNORE_LABEL)

    def _no_class(self, labels: np.ndarray, wrong: np.ndarray) -> DatasetError:
        found = np.unique(labels[wrong])
        classes = self.num_classes
        if self.values is None:
            expected = f"labels from 0 to {classes - 1} ({classes} classes), or {IGNORE_LABEL} for none"
        else:
            expected = f"the labels {shown_values(self.values)} ({classes} classes)"
            if self._voids():
                expected += f", or {shown_values(self._voids())} for none"
        return DatasetError(
            fault=Fault.VALUE,
            expected=expected,
            got=f"{shown(found, most=8)} in {wrong.sum():,} pixels",
            hint=_advice(found.tolist(), self),
        )


def _advice(found: list[int], known: LabelValues) -> str:
    """Says what to do about values of no class; they may have a pattern that people often meet."""
    if known.values is None and found == [known.num_classes]:
        return (
            "if 0 means no class and 1 is the first class, say so with {zero_is_void}; if 0 is a class, such "
            "as the background, name it first in the list of classes"
        )
    return "correct the file or the list of classes, or name values without a class in {void}"


def label_values(num_classes: int, void: Values, values: Values, zero_is_void: bool) -> LabelValues:
    """Makes the values from the options of a dataset.

    Raises:
      SettingError: the options contradict each other, or are not label values.
    """
    void, values = parse_values("void", void) or (), parse_values("values", values)
    if zero_is_void:
        if values is not None:
            raise SettingError(
                subject="zero_is_void", expected="this or the values of the classes", got="both"
            )
        void, values = (0, *void), tuple(range(1, num_classes + 1))
    return LabelValues(num_classes, void, values)


def parse_values(option: str, given: Values) -> tuple[int, ...] | None:
    """Reads label values as a command line has them: 0,255.

    Args:
      option: the option's name, for the message.
      given: numbers, or text; None is returned as it is.

    Raises:
      SettingError: these are not whole numbers from 0 to 2^31 - 1.
    """
    if given is None:
        return None
    parts: Iterable = given.split(",") if isinstance(given, str) else given
    try:
        numbers = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        numbers = (-1,)
    if not all(0 <= number <= LARGEST for number in numbers):
        raise SettingError(
            subject=option, expected="label values of at least 0, such as 0,255", got=repr(given)[:80]
        )
    return numbers


def shown_values(values: Iterable[int], most: int = 8) -> str:
    """Lists values for a message; runs of four and more as 0 to 9."""
    runs: list[list[int]] = []
    for value in map(int, values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    words = [
        word
        for run in runs
        for word in ([f"{run[0]} to {run[-1]}"] if len(run) > most else [str(value) for value in run])
    ]
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")
