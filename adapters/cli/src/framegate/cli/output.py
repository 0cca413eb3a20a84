"""Output of commands: tables for people, JSON for programs."""

import datetime
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

_UNFOLDED = 1000
"""Columns where the output is not a terminal: nothing is folded for programs."""


def print_json(value: Any) -> None:
    """Print anything that msgspec encodes, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows of cells under column titles, or the text ``empty`` if there are no rows."""
    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=_UNFOLDED)
    console.print(table)


def format_time(seconds: float | None) -> str:
    """Return Unix time ``seconds`` as local date and time; an empty text for None."""
    if seconds is None:
        return ""
    moment = datetime.datetime.fromtimestamp(seconds).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")
