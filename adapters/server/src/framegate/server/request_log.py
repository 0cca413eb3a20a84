"""Give every request an id and every answer its common headers, and write one log line when it is done."""

import re
import secrets
import time

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from framegate.core.audit import Actor, acting_as
from framegate.server.requests.forwarded import client_ip

log = structlog.get_logger(__name__)

_HEADER = b"x-request-id"
_NOSNIFF = (b"x-content-type-options", b"nosniff")
"""Browsers take a text that a client chose, such as a prompt in JSON, for what its Content-Type says."""
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_STATE = "request_id"
_LONGEST_PATH = 500


class RequestLog:
    """ASGI middleware that identifies and logs requests, and answers with ``X-Content-Type-Options``.

    It also tells the audit log from where the request comes. What handlers bind to structlog's context
    variables (``job_id``, ``client``) is on the line; query values, headers and bodies never are.
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
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id.encode()), _NOSNIFF]
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            with acting_as(Actor("client", address=client_ip(scope))):
                await self._app(scope, receive, send_with_id)
        finally:
            elapsed = round((time.perf_counter() - started) * 1000, 1)
            log.info("request", method=method, path=path, status=status, ms=elapsed)
            structlog.contextvars.clear_contextvars()


def _incoming_id(scope: Scope) -> str | None:
    given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
    return given.decode() if _VALID_ID.fullmatch(given) else None


def request_id_of(scope: Scope) -> str:
    """Return the request's id."""
    return str(scope["state"].get(_STATE, ""))
