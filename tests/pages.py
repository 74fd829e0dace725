"""What README, CONTRIBUTING and docs/ say: blocks of code with their languages, commands, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.sources import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^(?:<!-- ([^>]*) -->\n)?```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
SHELL = ("bash", "sh", "shell", "console")


class Block(NamedTuple):
    """A block of code.

    Attributes:
      line: number of its first line.
      language: the word after the fence.
      text: its lines.
      why_not: why it cannot run in a test, from the comment above it; None for a block that must run.
    """

    line: int
    language: str
    text: str
    why_not: str | None

    def commands(self) -> Iterator[tuple[int, list[str]]]:
        """Yields each line of a shell block as words, without prompt, comments and assignments."""
        for number, command in enumerate(self.text.replace("\\\n", "  ").splitlines(), self.line):
            words = shlex.split(command, comments=True)
            words = words[1:] if words[:1] == ["$"] else words
            while words and re.fullmatch(r"\w+=.*", words[0]):  # FCN_JAX_CACHE=... fcn-jax
                words = words[1:]
            if words:
                yield number, words


def blocks(path: Path, *languages: str) -> list[Block]:
    """Returns the blocks of a page in these languages, or all, in order."""
    text = path.read_text(encoding="utf-8")
    found = [
        Block(text.count("\n", 0, match.start(3)) + 1, match[2], match[3], match[1])
        for match in FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def run_python(path: Path, block: Block, names: dict) -> None:
    """Runs a block with these names; a traceback shows the page's lines."""
    exec(compile("\n" * (block.line - 1) + block.text, str(path), "exec"), names)


def prose(path: Path) -> str:
    """Returns a page without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Returns the anchors of a page's headings, as Python-Markdown makes them."""
    found = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in found]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}
