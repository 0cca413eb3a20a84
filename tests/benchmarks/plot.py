"""Write what serving costs into its page: ``python -m tests.benchmarks.plot results.json``.

``results.json`` is what ``python -m tests.benchmarks.serving --output`` has written. The page's tables are
replaced, and its plot is drawn.
"""

import argparse
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from tests.benchmarks.serving.results import OURS, Figure, Results, number, tables

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "performance.md"
PLOT = REPOSITORY / "docs" / "images" / "serving.svg"
_BLOCK = re.compile(r"(<!-- results of serving -->\n).*?(<!-- end of results -->)", re.DOTALL)
_GREY = "#808080"
"""Readable on a white page and on a black one."""
_COLOURS = ("#2a7fba", "#5fb3e6", "#9fc9a0", "#5a9e4b", "#d9822b", "#a6649c", "#b0a030", "#c05050")


def bars(
    axes: Axes, title: str, unit: str, rows: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]
) -> None:
    """Draw horizontal bars, one for each target in each row, with their values beside them."""
    targets = [target for target in colours if any(target in row for row in rows.values())]
    height = 0.8 / len(targets)
    for index, target in enumerate(targets):
        places = [place + index * height for place, row in enumerate(rows.values()) if target in row]
        values = [row[target] for row in rows.values() if target in row]
        drawn = axes.barh(places, values, 0.9 * height, align="edge", label=target, color=colours[target])
        axes.bar_label(drawn, [number(value) for value in values], padding=2, fontsize=7)
    axes.set_yticks([place + 0.4 for place in range(len(rows))], list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.01)
    axes.set_title(f"{title}, {unit}", fontsize=9, loc="left")
    if targets != [OURS]:
        axes.legend(fontsize=7, frameon=False, loc="best")


def rows_of(
    figures: Sequence[Figure], section: str, unit: str, pattern: str
) -> Mapping[str, Mapping[str, float]]:
    """Return the values of the figures whose name has ``pattern``'s group, by that and by target."""
    rows: dict[str, dict[str, float]] = {}
    for figure in figures:
        found = re.fullmatch(pattern, figure.name)
        if figure.section == section and figure.unit == unit and found:
            rows.setdefault(found.group(1), {})[figure.target] = figure.value
    return rows


def _last(rows: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    """Return the rows with their last target alone."""
    return {name: dict(list(row.items())[-1:]) for name, row in rows.items()}


def draw(results: Results, path: Path) -> None:
    """Draw what there are figures of."""
    figures = results.figures
    found = dict.fromkeys(figure.target for figure in figures)
    targets = sorted(found, key=lambda target: (target in results.beside, target != OURS))
    colours = dict(zip(targets, itertools.cycle(_COLOURS), strict=False))
    panels = {
        ("Requests of 16 clients", "1/s"): rows_of(figures, "rates", "1/s", r"(\w+)"),
        ("CPU time of the API per request", "ms"): rows_of(figures, "rates", "ms", r"API's CPU per (\w+)"),
        ("One job after the other", "ms"): rows_of(figures, "latency", "ms", r"(.*, 1 client, p\d\d)"),
        ("Jobs that waited", "1/s"): rows_of(figures, "jobs", "1/s", r"(.*)"),
        ("Lists with the most jobs stored, 99th percentile", "ms"): _last(
            rows_of(figures, "lists", "ms", r"(.*), p99")
        ),
    }
    shown = {title: rows for title, rows in panels.items() if rows}
    sizes = [sum(len(row) for row in rows.values()) + 2 for rows in shown.values()]
    with mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text, and the file small
            "svg.hashsalt": "serving",  # the same figures give the same file
            "font.size": 9,
            "text.color": _GREY,
            "axes.labelcolor": _GREY,
            "axes.edgecolor": _GREY,
            "xtick.color": _GREY,
            "ytick.color": _GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        drawing = Drawing(figsize=(7.5, 0.16 * sum(sizes) + 0.5 * len(sizes)), layout="constrained")
        grid = drawing.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})
        for axes, ((title, unit), rows) in zip(grid[:, 0], shown.items(), strict=True):
            bars(axes, title, unit, rows, colours)
        drawing.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def write(results: Results, page: Path, plot: Path) -> None:
    """Draw the plot, and replace the results in the page."""
    draw(results, plot)
    machine = results.machine
    where = f"{machine['date']}, {machine['cores']} cores ({machine['cpu']}), Python {machine['python']}"
    block = f"\n{where}.\n\n{tables(results)}\n\n"
    text, count = _BLOCK.subn(lambda found: found.group(1) + block + found.group(2), page.read_text("utf-8"))
    assert count == 1, f"{page} has no place for results"
    page.write_text(text, "utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the figures, and write the page and the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args(arguments)
    results = msgspec.json.decode(options.results.read_bytes(), type=Results)
    write(results, options.page, options.plot)


if __name__ == "__main__":
    main()
