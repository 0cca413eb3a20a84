"""Output of commands: lines and tables for people, JSON for programs.

What clients and servers have sent is among it, so every character that a terminal would obey is written out.
No command prints in another way.
"""

import datetime
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framegate.core.printable import printable, printable_json

_BLOCK_WIDTH = 80
_UNFOLDED = 1000
"""Columns where the output is not a terminal: nothing is folded for programs."""


def print_line(text: str, *, mark: str = "", error: bool = False, keep_lines: bool = False) -> None:
    """Print a line, to standard error if ``error``; ``mark`` goes before it as it is.

    Line breaks within ``text`` are written out unless ``keep_lines``.
    """
    click.echo(f"{mark}{printable(text, keep_lines=keep_lines)}", err=error)


def print_json(value: Any, *, one_line: bool = False, error: bool = False) -> None:
    """Print anything that msgspec encodes, indented, or in ``one_line``; to standard error if ``error``."""
    encoded = msgspec.json.encode(value)
    text = (encoded if one_line else msgspec.json.format(encoded, indent=2)).decode()
    click.echo(printable_json(text), err=error)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows of cells under column titles, or the text ``empty`` if there are no rows."""
    if not rows:
        print_line(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=_UNFOLDED)
    console.print(table)


def print_block(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a title, and below it rows of a label and a text, within the terminal's width (else 80)."""
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=_BLOCK_WIDTH)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()  # an indent
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row("", *(Text(printable(cell)) for cell in row))
    console.print(Text(printable(title), style="bold"))
    console.print(table)


def format_time(moment: float | datetime.datetime | None) -> str:
    """Return a time, or seconds since the epoch, as local date and time; an empty text for None."""
    if moment is None:
        return ""
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
