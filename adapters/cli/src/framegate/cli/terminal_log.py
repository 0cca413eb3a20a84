"""Log lines for a terminal: short, with what matters to somebody who watches.

``12:03:04 job 3f2a91c0 succeeded preview  4.1 s``, ``12:03:04 POST /v1/videos 200 12 ms``. What programs
search for, such as whole ids, is in the JSON lines that everything but a terminal gets.
"""

import datetime
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TextIO, cast

import structlog
from structlog.dev import Column, ConsoleRenderer
from structlog.typing import EventDict, WrappedLogger

from framegate.core.audit import LOGGER as AUDIT
from framegate.core.printable import printable

_SHORT_ID = 8
_LONGEST_LIST = 3
_OWN = "framegate"
_WARNINGS = "py.warnings"
_TRACEBACK = "Traceback (most recent call last):"
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_GREEN, _YELLOW, _RED, _DIM, _RESET = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_STYLES = {
    "warning": _YELLOW,
    "error": _RED,
    "critical": _RED,
    "succeeded": _GREEN,
    "failed": _RED,
    "cancelled": _YELLOW,
    "lost": _YELLOW,
}
_MANY_LINES = frozenset({"exception", "stack"})
_JOB_EVENTS = {"job_submitted": "queued", "job_started": "started", "job_ended": ""}
"""Those that tell a job's state, with that state unless the event has it."""
_STOPPING = frozenset({"stopping", "worker_stopping"})
_AUDIT_DETAILS = ("actor", "address", "client", "delivery", "dialect", "status")
"""What the line of the request shows, or hardly matters to somebody who watches."""


def renderers(stream: TextIO) -> tuple[structlog.typing.Processor, ...]:
    """Return what makes a line of an event for ``stream``, in colour if its terminal has that."""
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()

    def style(text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if colours and code and text else text

    columns = [
        _column("timestamp", lambda text: style(_local_time(text), _DIM)),
        _column("level", lambda text: style(text, _STYLES[text]) if text in _STYLES else ""),
        _column("event", str),
        _column("outcome", lambda text: style(text, _outcome_style(text))),
        _column("details", str),
        Column("", lambda key, value: style(f"{key}=", _DIM) + str(value)),
    ]
    # The default formatter would show the local variables of every frame, prompts and keys among them.
    render = ConsoleRenderer(
        columns=columns, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )
    return structlog.processors.format_exc_info, shorten, _write_out, render


def _column(name: str, show: Callable[[str], str]) -> Column:
    def formatted(key: str, value: object) -> str:
        del key
        return show(str(value))

    return Column(name, formatted)


def shorten(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Return the event with the keys that are columns of a line, and what else is worth showing."""
    del logger, method
    values: dict[str, Any] = dict(event)
    level, source = values.pop("level", ""), str(values.pop("logger", ""))
    line: dict[str, Any] = {"timestamp": values.pop("timestamp"), "level": level}
    line |= {key: values.pop(key) for key in _MANY_LINES & values.keys()}
    name = str(values.pop("event"))
    request_id, job = values.pop("request_id", None), values.pop("job_id", None)
    subject = f"job {_short(job)}" if job else ""
    if name == "request" and "status" in values:
        line |= _request(values, subject)
        show_request = values.pop("status") >= 500
    else:
        is_state = job and name in _JOB_EVENTS
        line |= _job(name, values, subject) if is_state else _other(name, source, values, subject)
        show_request = level in ("error", "critical")
    if show_request and request_id:
        values["request_id"] = request_id  # the client's error message names it
    return line | {key: _shown(value) for key, value in values.items()}


def _request(values: dict[str, Any], subject: str) -> dict[str, Any]:
    milliseconds = float(values.pop("ms"))
    parts = (_duration(milliseconds / 1000), subject, values.pop("client", ""))
    return {
        "event": f"{values.pop('method')} {values.pop('path')}",
        "outcome": str(values["status"]),
        "details": "  ".join(filter(None, parts)),
    }


def _job(name: str, values: dict[str, Any], subject: str) -> dict[str, Any]:
    model, served_by = values.pop("model", ""), values.pop("served_by", None)
    parts = [f"{model} ({served_by})" if served_by and served_by != model else model]
    if (attempt := values.pop("attempt", 1)) > 1:
        parts.append(f"attempt {attempt}")
    if (seconds := values.pop("seconds", None)) is not None:
        parts.append(_duration(seconds))
    if dialect := values.pop("dialect", ""):
        parts.append(f"by {dialect}")
    outcome = values.pop("state", "") or _JOB_EVENTS[name]
    if name == "job_ended" and outcome == "queued":
        outcome = "requeued"
    return {"event": subject, "outcome": str(outcome), "details": "  ".join(filter(None, parts))}


def _other(name: str, source: str, values: dict[str, Any], subject: str) -> dict[str, Any]:
    package = source.partition(".")[0]
    if source == AUDIT:
        for key in _AUDIT_DETAILS:
            values.pop(key, None)
    if package == _OWN:
        text = name.replace("_", " ") + (_waits_for(name, values) if name in _STOPPING else "")
        if reason := values.pop("reason", ""):
            text = f"{text}: {reason}"
    elif source == _WARNINGS:
        text = name.strip().partition("\n")[0]  # the second line is the code that warns
    else:
        text = f"{package}: {name}"
        if name.startswith(_TRACEBACK):  # as uvicorn logs those of an app
            text = f"{package}: {name.strip().splitlines()[-1]}"
            values["exception"] = name.strip()
    return {"event": f"{subject} {text.removeprefix('job ')}" if subject else text}


def _waits_for(name: str, values: dict[str, Any]) -> str:
    jobs, at_most = values.pop("running_jobs", 0), _duration(values.pop("at_most", 0.0))
    if not jobs:
        return ""
    if name == "worker_stopping":
        return f": finishing its job, at most {at_most}; Ctrl-C again ends at once"
    waits_for, they = ("1 running job", "it runs") if jobs == 1 else (f"{jobs} running jobs", "they run")
    return (
        f": waiting for {waits_for}, at most {at_most}; Ctrl-C again ends at once, "
        f"and {they} again at the next start"
    )


def _short(value: object) -> str:
    text = str(value)
    return text[:_SHORT_ID] if _HEX_ID.fullmatch(text) else text


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        items = [_short(item) for item in cast("Sequence[object]", value)]
        return ",".join(items) if len(items) <= _LONGEST_LIST else str(len(items))
    return _short(value)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _outcome_style(outcome: str) -> str:
    if outcome.isdigit():
        return _RED if outcome >= "500" else _YELLOW if outcome >= "400" else ""
    return _STYLES.get(outcome, "")


def _local_time(timestamp: str) -> str:
    return datetime.datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")


def _write_out(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Write out what a terminal would obey, such as escape sequences in what clients have sent."""
    del logger, method
    return {
        key: printable(value, keep_lines=key in _MANY_LINES) if isinstance(value, str) else value
        for key, value in event.items()
    }
