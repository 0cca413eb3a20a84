"""Give every request an id and every answer its common headers, and write one log line when it is done."""

import logging
import re
import secrets
import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from framegate.core.audit import Actor, acting_as
from framegate.core.keys import KeyScope
from framegate.server.auth.keys import needed_scope
from framegate.server.requests.forwarded import client_ip
from framegate.server.requests.unknown_fields import ignored_fields_warning

log = structlog.get_logger(__name__)

_HEADER = b"x-request-id"
_NOSNIFF = (b"x-content-type-options", b"nosniff")
"""Browsers take a text that a client chose, such as a prompt in JSON, for what its Content-Type says."""
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PROBES = frozenset({"/health", "/ready", "/status"})
"""The paths that are polled whatever they answer."""
_REFUSALS = frozenset({401, 403, 429})
_STATE = "request_id"
_LONGEST_PATH = 500


class RequestLog:
    """ASGI middleware that identifies and logs requests, and adds the headers that all answers have.

    It also tells the audit log from where the request comes. What handlers bind to structlog's context
    variables (``job_id``, ``client``) is on the line; query values, headers and bodies never are. Requests
    that clients repeat to learn a state, such as that of a job, are logged at the level ``debug``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log it."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _incoming_id(scope) or secrets.token_hex(16)
        if "state" not in scope:
            scope["state"] = {}
        scope["state"][_STATE] = request_id
        method, path, started = scope["method"], scope["path"][:_LONGEST_PATH], time.perf_counter()
        start: HTTPResponseStartEvent | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                added = [(_HEADER, request_id.encode()), _NOSNIFF, *ignored_fields_warning(scope)]
                start["headers"] = [*start.get("headers", ()), *added]
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            with acting_as(Actor("client", address=client_ip(scope))):
                await self._app(scope, receive, send_with_id)
        finally:
            elapsed = round((time.perf_counter() - started) * 1000, 1)
            status = start["status"] if start else 0
            is_poll = _is_read(scope, method) and (path in _PROBES or _is_poll_answer(start))
            level = logging.DEBUG if is_poll else logging.INFO
            log.log(level, "request", method=method, path=path, status=status, ms=elapsed)


def _incoming_id(scope: Scope) -> str | None:
    given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
    return given.decode() if _VALID_ID.fullmatch(given) else None


def _is_poll_answer(start: HTTPResponseStartEvent | None) -> bool:
    """Return whether a poll may well be answered like this: with JSON, and a usual status."""
    if start is None or not _is_usual(start["status"]):
        return False
    content_type = next((value for name, value in start["headers"] if name.lower() == b"content-type"), b"")
    return content_type.partition(b";")[0].strip() == b"application/json"


def _is_read(scope: Scope, method: str) -> bool:
    if "route_handler" not in scope:  # as for a path that isn't served
        return False
    return needed_scope(scope["route_handler"].opt, method) is KeyScope.READ


def _is_usual(status: int) -> bool:
    """Return whether a poll may well have this status: there may be no such job, or no result yet."""
    return status < 500 and status not in _REFUSALS


def request_id_of(scope: Scope) -> str:
    """Return the request's id."""
    return str(scope["state"].get(_STATE, ""))
