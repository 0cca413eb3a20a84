"""The fenced code blocks of Markdown files, and tests that account for each of them."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

_FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>\S*)[ ]*\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)


class CodeBlock(NamedTuple):
    """A block of a file: its ``number`` counts from 1, its ``text`` is without the fence's indentation."""

    file: str
    number: int
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def code(self) -> str:
        """The text without the lines that are only a comment or empty."""
        lines = self.text.splitlines()
        return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))

    def replaced(self, replacements: Mapping[str, str]) -> str:
        """Return the text with each printed word replaced, the longest first."""
        text = self.text
        for printed in sorted(replacements, key=len, reverse=True):
            text = text.replace(printed, replacements[printed])
        return text

    def __str__(self) -> str:
        return f"{self.file}-{self.number}-{self.language or 'plain'}"


def is_program(block: CodeBlock) -> bool:
    """Return whether a reader would run it: commands, also those shown as text, and programs."""
    commands = block.language == "text" and block.first_line.startswith(("python ", "curl "))
    return commands or block.language in ("bash", "sh", "python", "javascript", "js")


def code_blocks(path: Path) -> Iterator[CodeBlock]:
    """Yield the blocks of a Markdown file."""
    for number, match in enumerate(_FENCE.finditer(path.read_text(encoding="utf-8")), start=1):
        yield CodeBlock(path.stem, number, match["language"], textwrap.dedent(match["text"]))


class Document:
    """A published document: its tests take blocks by their numbers, and what no test takes is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks = {block.number: block for block in code_blocks(path)}
        self._taken: set[int] = set()

    def each(self, *numbers: int) -> pytest.MarkDecorator:
        """Run the test once for each of these blocks, as its argument ``block``."""
        return pytest.mark.parametrize("block", self._take(numbers), ids=str)

    def together(self, *numbers: int) -> pytest.MarkDecorator:
        """Give the test all of these blocks, as its argument ``blocks``."""
        return pytest.mark.parametrize("blocks", [self._take(numbers)], ids=["-".join(map(str, numbers))])

    def not_applicable(self, number: int, reason: str) -> None:
        """Account for a block that no test can run."""
        assert reason
        self._take([number])

    def missing(self) -> list[CodeBlock]:
        """Return the blocks that nothing accounts for."""
        return [block for number, block in self._blocks.items() if number not in self._taken]

    def _take(self, numbers: Sequence[int]) -> list[CodeBlock]:
        self._taken.update(numbers)
        return [self._blocks[number] for number in numbers]
