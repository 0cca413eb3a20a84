"""What commands print about jobs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from framegate.cli.output import format_time, print_json, print_table
from framegate.cli.servers.views import ChangeView, JobView

_SHORT, _LONG = 48, 2000
_LABELS = {
    "num_inference_steps": "steps",
    "num_frames": "frames",
    "num_outputs": "outputs",
    "num_fragments": "fragments",
}


def print_job(job: JobView, *, as_json: bool) -> None:
    """Print everything about one job."""
    if as_json:
        print_json(job.document)
        return
    rows: list[tuple[str, object]] = [
        ("id", job.id),
        ("state", job.state),
        ("progress", f"{job.progress:.0%} {job.message}".rstrip()),
        ("waiting", job.waiting),
        ("model", f"{job.model} (served by {job.served_by})" if job.served_by else job.model),
        ("task", job.task),
        ("dialect", job.dialect),
        ("owner", job.owner),
        *_values(job.request),
        *(("changed", text) for text in describe_changes(job)),
        *((f"label {name}", value) for name, value in (job.metadata or {}).items()),
        ("share id", job.share_id),
        ("attempt", job.attempt),
        ("created", format_time(job.created_at)),
        ("started", format_time(job.started_at)),
        ("finished", format_time(job.finished_at)),
        ("expires", format_time(job.expires_at)),
    ]
    for result in job.results:
        length = f", {result.duration:.2f} s" if result.duration else ""
        size = f"{result.width}×{result.height}{length}, {result.size:,} bytes"
        rows.append(("result", f"{result.content_type}, {size}"))
    if job.error:
        rows.append(("error", f"{job.error.code}: {job.error.message}"))
    print_table(("FIELD", "VALUE"), [row for row in rows if row[1] not in ("", None)], empty="")


def print_jobs(jobs: Sequence[JobView], *, as_json: bool) -> None:
    """Print a list of jobs."""
    if as_json:
        print_json([job.document for job in jobs])
        return
    print_table(
        ("ID", "STATE", "PROGRESS", "MODEL", "OWNER", "DIALECT", "CREATED", "PROMPT"),
        [
            (
                job.id,
                job.state,
                f"{job.progress:.0%}",
                job.model,
                job.owner or "-",
                job.dialect or "-",
                format_time(job.created_at),
                shorten(str(job.request.get("prompt", "")), _SHORT),
            )
            for job in jobs
        ],
        empty="No jobs.",
    )


def describe_changes(job: JobView) -> Iterable[str]:
    """Yield a line for each change; a size is one value."""
    asked = {change.field: change for change in job.changes}
    sides = [asked.get(name) for name in ("width", "height")]
    if why := next((change.why for change in sides if change), None):
        used = [job.request.get(name, "?") for name in ("width", "height")]
        wanted = [change.asked if change else value for change, value in zip(sides, used, strict=True)]
        yield f"{_size(*wanted)} → {_size(*used)}: {why}"
    for change in job.changes:
        if change.field not in ("width", "height"):
            yield _describe(change)


def _describe(change: ChangeView) -> str:
    return f"{change.field} {_text(change.asked)} → {_text(change.used)}: {change.why}"


def shorten(text: str, length: int) -> str:
    """Return ``text`` on one line of at most ``length`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _values(request: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the values that were used, those of the size as one."""
    for name, value in request.items():
        if name == "width":
            yield "size", _size(value, request.get("height", "?"))
        elif name != "height" and value not in ("", None, [], {}, False):
            yield _LABELS.get(name, name.replace("_", " ")), shorten(_text(value), _LONG)


def _size(width: Any, height: Any) -> str:
    return f"{_text(width)}×{_text(height)}"


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float() if math.isfinite(value):
            return f"{value:g}"
        case {"width": width, "height": height}:  # an input
            return _size(width, height)
        case [str(), *_]:
            return "; ".join(map(str, cast(list[object], value)))
        case list() | dict():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)
