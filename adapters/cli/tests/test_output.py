"""What commands print of texts that clients and servers have sent."""

import ast
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from framegate.cli import output, progress
from framegate.cli.servers.local import view_of
from framegate.core.printable import printable, printable_json
from tests.support.sample_jobs import make_job

COMMANDS = Path(output.__file__).parent
HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "C1": "\x9b2J\x9d0;owned\x9c",
    "return": "queued\rfailed",
    "line": "a\nERROR forged",
    "delete": "a\x7f\x08b",
    "direction": "\u202egnp.exe\u2066\u2069\u200f\u061c",
    "no width": "pay\u200bpal\u2060\ufeff\xad",
    "separators": "a\u2028b\u2029c\x85d",
    "tags": "\U000e0001\U000e0041",
    "half": "\ud83d",
    "markup": "[red]a[/red] [link=https://example.com]b[/link] :smile:",
}
CATEGORIES = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def obeyed(text: str) -> list[str]:
    """The characters of a text that a terminal obeys or hides; line breaks are the command's own."""
    return [letter for letter in text if unicodedata.category(letter) in CATEGORIES and letter != "\n"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_any_text(text: str) -> None:
    assert not obeyed(printable(text))
    assert "\n" not in printable(text)
    assert printable(text, keep_lines=True).count("\n") == text.count("\n")


@given(st.text(st.characters(codec="utf-8")))
def test_json_stands_for_the_same_value(text: str) -> None:
    shown = printable_json(json.dumps({"prompt": text}, ensure_ascii=False, indent=2))
    assert not obeyed(shown)
    assert json.loads(shown) == {"prompt": text}


@pytest.mark.parametrize("text", ["", "a café", "猫と海 🌊", "x" * 10_000, "C:\\path", "tab-free"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == printable_json(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_lines_and_tables(text: str, kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = kind()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")
    output.print_line(text)
    output.print_table(("ID", "PROMPT"), [("a1", text)], empty="")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert printable(text) in lines[0]
    assert printable(text) in lines[2]
    assert not obeyed(stream.getvalue())


@pytest.mark.parametrize("text", [text for name, text in HOSTILE.items() if name != "half"])
@pytest.mark.parametrize("one_line", [False, True])
def test_json(text: str, one_line: bool, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"prompt": text}, one_line=one_line)
    printed = capsys.readouterr().out
    assert not obeyed(printed)
    assert json.loads(printed) == {"prompt": text}
    assert printed.count("\n") == (1 if one_line else 3)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_progress_bar(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()

    def console(*, stderr: bool) -> Console:
        assert stderr
        return Console(file=stream, width=500)

    monkeypatch.setattr(progress, "Console", console)
    with progress.JobProgressBar() as bar:
        bar.show(replace(view_of(make_job("a1")), message=text))
    assert printable(text) in stream.getvalue()
    assert not obeyed(stream.getvalue())


def test_no_command_prints_in_another_way() -> None:
    def calls(path: Path) -> list[str]:
        tree = ast.parse(path.read_bytes())
        return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]

    printing = {"click.echo", "click.secho", "print", "sys.stdout.write", "sys.stderr.write", "Console"}
    found = {
        path.name: sorted(printing.intersection(calls(path)))
        for path in COMMANDS.rglob("*.py")
        if printing.intersection(calls(path))
    }
    bars = {"progress.py": ["Console"], "pull.py": ["Console"]}
    assert found == {"output.py": ["Console", "click.echo"], **bars}
