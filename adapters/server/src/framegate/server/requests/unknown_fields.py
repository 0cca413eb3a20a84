"""Refuse or ignore the fields of a request that its dialect doesn't know, and name the ignored ones."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from litestar import Request
from litestar.types import Scope

UnknownFields: TypeAlias = Literal["refuse", "ignore"]
"""What happens to a field that a dialect doesn't know."""

UNKNOWN_FIELDS_OPT = "unknown_fields"
"""The ``opt`` of a dialect's routers that holds its `UnknownFields`."""

_STATE = "ignored_fields"
_MAX_NAMES = 20
_MAX_LENGTH = 64
_UNPRINTABLE = re.compile(r"[^\w.\[\]-]", re.ASCII)


def unknown_fields_policy(request: Request[Any, Any, Any]) -> UnknownFields:
    """Return what happens to unknown fields of this request."""
    policy: UnknownFields = request.scope["route_handler"].opt.get(UNKNOWN_FIELDS_OPT, "refuse")
    return policy


def note_ignored_fields(request: Request[Any, Any, Any], names: Iterable[str]) -> None:
    """Remember the names of fields that have no effect, for the response's Warning header."""
    ignored: dict[str, None] = request.scope["state"].setdefault(_STATE, {})
    for name in names:
        if len(ignored) >= _MAX_NAMES:
            return
        ignored[_UNPRINTABLE.sub("?", name[:_MAX_LENGTH])] = None


def ignored_fields_warning(scope: Scope) -> Sequence[tuple[bytes, bytes]]:
    """Return the Warning header (RFC 7234, 5.5) of a response whose request had ignored fields."""
    ignored = scope["state"].get(_STATE)
    if not ignored:
        return ()
    return ((b"warning", f'299 framegate "Ignored fields: {", ".join(ignored)}"'.encode()),)
