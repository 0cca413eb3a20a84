"""Rows: printed and written as soon as each is measured, so that a run that is killed keeps those it has."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

BASELINE = "plain diffusers"
"""The row of each group that the others are compared with, by the first of its values."""


class Header(msgspec.Struct, frozen=True, tag="header"):
    """Where a run was made: versions, card, driver and date."""

    environment: dict[str, str]


class Row(msgspec.Struct, frozen=True, tag="row", omit_defaults=True):
    """One measurement. ``values`` have their unit in their name; ``group`` is the model."""

    part: str
    group: str
    name: str
    status: Literal["ok", "failed", "not run"] = "ok"
    values: dict[str, float] = {}
    note: str = ""


Line: TypeAlias = Header | Row


class Report:
    """The rows of a run, and of the ``earlier`` ones whose files it continues.

    ``output`` is a path without suffix: ``.jsonl`` has a line per row, ``.md`` the tables made from them.
    """

    def __init__(
        self, environment: Mapping[str, str], output: Path | None, earlier: Iterable[Path] = ()
    ) -> None:
        self._lines: list[Line] = []
        for file in earlier:
            self._lines += read(file)
        self._output = output
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.with_suffix(".jsonl").write_bytes(b"".join(map(_encoded, self._lines)))
        self._add(Header(dict(environment)))

    @property
    def rows(self) -> list[Row]:
        """The rows; of those that were measured again, the last."""
        latest = {(line.part, line.group, line.name): line for line in self._lines if isinstance(line, Row)}
        return list(latest.values())

    def add(self, row: Row) -> None:
        """Print ``row`` and write it."""
        self._add(row)
        print(f"{row.part:7} {row.group:14} {row.name}: {summary(row, self.rows)}", flush=True)

    def note(self, text: str) -> None:
        """Print ``text``, which is not a row."""
        print(text, flush=True)

    def markdown(self) -> str:
        """Return all tables."""
        headers = [line for line in self._lines if isinstance(line, Header)]
        paragraphs = list(dict.fromkeys(_described(header) for header in headers))
        groups = dict.fromkeys((row.part, row.group) for row in self.rows)
        for part, group in groups:
            rows = [row for row in self.rows if (row.part, row.group) == (part, group)]
            paragraphs.append(f"### {part}: {group}" if group else f"### {part}")
            paragraphs.append(table(rows))
        return "\n\n".join(paragraphs) + "\n"

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        if self._output is None:
            return
        with self._output.with_suffix(".jsonl").open("ab") as file:
            file.write(_encoded(line))
        self._output.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")


def read(file: Path) -> list[Line]:
    """Return the lines that a run wrote; one that was cut off when the run was killed is left out."""
    lines: list[Line] = []
    for line in file.read_bytes().splitlines():
        try:
            lines.append(msgspec.json.decode(line, type=Header | Row))
        except msgspec.DecodeError:
            continue
    return lines


def find(rows: Iterable[Row], part: str, group: str, name: str) -> Row | None:
    """Return the row of that name if it was measured."""
    for row in rows:
        if (row.part, row.group, row.name, row.status) == (part, group, name, "ok"):
            return row
    return None


def speedup(row: Row, rows: Iterable[Row]) -> float | None:
    """Return how many times faster ``row`` is than its group's baseline, None if that is not known."""
    plain = find(rows, row.part, row.group, BASELINE)
    if plain is None or not row.values or not plain.values:
        return None
    compared = next(iter(plain.values))
    return plain.values[compared] / row.values[compared] if row.values.get(compared) else None


def summary(row: Row, rows: Sequence[Row]) -> str:
    """Return a row's result in one line."""
    if row.status != "ok":
        return f"{row.status}: {row.note}" if row.note else row.status
    parts = [f"{value:.4g} {name}" for name, value in row.values.items()]
    if row.name != BASELINE and (faster := speedup(row, rows)) is not None:
        parts.insert(1, f"{faster:.2f}×")
    return ", ".join([*parts, *([row.note] if row.note else [])]) or "ok"


def table(rows: Sequence[Row]) -> str:
    """Return the rows of one group as Markdown; columns without a single value are left out."""
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    compared = find(rows, rows[0].part, rows[0].group, BASELINE) is not None
    remarks = any(row.note or row.status != "ok" for row in rows)
    heads = [
        "run",
        *columns[:1],
        *(["×"] if compared else []),
        *columns[1:],
        *(["remarks"] if remarks else []),
    ]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1 - remarks)}{'---|' * remarks}"]
    for row in rows:
        cells = [f"{row.values[name]:.4g}" if name in row.values else "–" for name in columns]
        if compared:
            faster = speedup(row, rows)
            cells.insert(1, "–" if faster is None else f"{faster:.2f}")
        if remarks:
            remark = "; ".join(part for part in (row.status if row.status != "ok" else "", row.note) if part)
            cells.append(remark.replace("|", "\\|") or "–")
        lines.append(f"| {' | '.join([row.name, *cells])} |")
    return "\n".join(lines)


def _described(header: Header) -> str:
    return ", ".join(f"{name} {value}" for name, value in header.environment.items()) + "."


def _encoded(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"
