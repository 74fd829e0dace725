"""Which files each picture gets, and what the summary says of them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from fcn_jax.cli.segmenting.outcomes import Outcome, Task, last_change
from fcn_jax.cli.segmenting.summary import Entry, Summary, now
from fcn_jax.inference.outputs import planned_outputs


class OutputPlan:
    """The files to write for each picture of a run.

    Args:
      output: the output folder.
      categories: names of the classes by index.
      classes: indices of the classes that get heat maps.
      kinds: what to write, see `fcn_jax.inference.outputs.KINDS`.
    """

    def __init__(self, output: Path, categories: Sequence[str], classes: Sequence[int], kinds: Sequence[str]):
        self._output, self._classes, self._kinds = output, classes, kinds
        self._parts = list(planned_outputs(categories, classes, kinds))
        self._figure = {}
        if "figure" in kinds:
            self._figure = {"figure_of": categories[classes[0]] if classes else None}

    def files(self, task: Task) -> list[Path]:
        """Returns the files to write for a picture."""
        folder, name = self._place(task)
        return [folder / f"{name}_{part}.png" for part in self._parts]

    def unclaimed(self, tasks: Iterable[Task], summary: Summary) -> list[Path]:
        """Returns the files that will be replaced although no summary says which picture they show."""
        known = summary.stems
        unknown = (task for task in tasks if os.path.abspath(task.path) not in known)
        return [file for task in unknown for file in self.files(task) if file.exists()]

    def is_done(self, task: Task, summary: Summary) -> bool:
        """Returns whether earlier runs made all of a picture's files, with the settings of `summary`."""
        return summary.has(
            os.path.abspath(task.path), last_change(task.path), self.files(task), figure=self._figure
        )

    def save(self, outcome: Outcome) -> Entry:
        """Draws and writes the files of a result; returns the picture's entry for the summary."""
        task, result = outcome.task, outcome.result
        assert result is not None, "only results are saved"
        folder, name = self._place(task)
        files = result.save(folder, classes=self._classes, stem=name, write=self._kinds)
        known = {"stem": task.stem, "modified": outcome.modified, "written": now()} | self._figure
        return known | result.to_dict(files) | identity(task)

    def failure(self, outcome: Outcome, text: str, while_writing: bool) -> Entry:
        """Returns the entry of a picture that failed; after a failed write with the files that may be new."""
        entry = identity(outcome.task) | {"error": text}
        files = [str(file) for file in self.files(outcome.task) if file.exists()] if while_writing else []
        return entry | ({"stem": outcome.task.stem, "written": now(), "files": files} if files else {})

    def _place(self, task: Task) -> tuple[Path, str]:
        stem = PurePosixPath(task.stem)
        return self._output / stem.parent, stem.name


def identity(task: Task) -> Entry:
    """Begins an entry with the picture's path, as given and absolute."""
    return {"source": str(task.path), "path": os.path.abspath(task.path)}
