"""What was measured, as JSON and as tables."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, field

from tests.support.scaling.cost import times_of

OURS = "framegate"


class Figure(Struct, frozen=True):
    """A number: the median of its rounds, or a percentile of the times of all of them.

    Attributes:
        section: What it belongs to, as ``rates``.
        name: What it is.
        target: The server that it was measured of.
        unit: Its unit.
        value: The number.
        rounds: What each round gave.
    """

    section: str
    name: str
    target: str
    unit: str
    value: float
    rounds: Sequence[float] = ()


class Results(Struct):
    """All figures, in the order in which they were first measured."""

    machine: Mapping[str, str] = field(default_factory=lambda: _machine())
    beside: Sequence[str] = ()
    """The targets to compare with."""
    figures: Sequence[Figure] = ()
    failed: Sequence[str] = ()
    """The sections in which something went wrong: their figures are of fewer rounds."""


class Recorder:
    """Collects what rounds give."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str, str], list[float]] = {}
        self._times: dict[tuple[str, str, str], list[float]] = {}
        self._subjects: dict[tuple[str, str], None] = {}

    def add(self, section: str, name: str, target: str, value: float, unit: str) -> None:
        """Add what a round has given."""
        self._subjects.setdefault(_subject(section, name))
        self._values.setdefault((section, name, target, unit), []).append(value)

    def add_times(self, section: str, name: str, target: str, milliseconds: Sequence[float]) -> None:
        """Add how long calls took, of which percentiles are wanted."""
        self._subjects.setdefault(_subject(section, name))
        self._times.setdefault((section, name, target), []).extend(milliseconds)

    def figures(self) -> list[Figure]:
        """Return what was measured, in the order in which it was: what has the same subject together."""
        found: list[Figure] = []
        for (section, name, target), milliseconds in self._times.items():
            times = times_of(milliseconds)
            found.append(Figure(section, f"{name}, p50", target, "ms", times.p50))
            found.append(Figure(section, f"{name}, p99", target, "ms", times.p99))
        found += [Figure(*key, statistics.median(values), values) for key, values in self._values.items()]
        sections = list(dict.fromkeys(section for section, _ in self._subjects))
        subjects = list(self._subjects)
        return sorted(
            found,
            key=lambda figure: (
                sections.index(figure.section),
                subjects.index(_subject(figure.section, figure.name)),
            ),
        )


def _subject(section: str, name: str) -> tuple[str, str]:
    """Return what a figure is about: its name up to the first comma."""
    return section, name.partition(", ")[0]


def tables(results: Results) -> str:
    """Return a table in Markdown for each section; what is compared has its ratio in parentheses."""
    sections: dict[str, list[Figure]] = {}
    for figure in results.figures:
        sections.setdefault(figure.section, []).append(figure)
    return "\n\n".join(_table(name, figures, results.beside) for name, figures in sections.items())


def _table(section: str, figures: Sequence[Figure], beside: Sequence[str]) -> str:
    found = dict.fromkeys(figure.target for figure in figures)
    targets = sorted(found, key=lambda target: (target in beside, target != OURS))
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for figure in figures:
        rows.setdefault((figure.name, figure.unit), {})[figure.target] = figure.value
    lines = [f"| {section} | unit | {' | '.join(targets)} |", f"|---|---|{'---:|' * len(targets)}"]
    for (name, unit), values in rows.items():
        compared = next((values[peer] for peer in beside if peer in values), None)
        cells = [_cell(values.get(target), None if target in beside else compared) for target in targets]
        lines.append(f"| {name} | {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float | None, compared: float | None) -> str:
    if value is None:
        return "–"
    text = number(value)
    return f"{text} ({value / compared:.2f}×)" if compared else text


def number(value: float) -> str:
    """Return a number with three significant digits, or all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value >= 0.001 else "0"


def _machine() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu or platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
    }
