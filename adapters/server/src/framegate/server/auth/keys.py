"""Identify a request's client by its bearer key, before the body is read."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from framegate.core.audit import identify_client
from framegate.core.errors import Unauthorized
from framegate.core.settings import KeyConfig
from framegate.core.submission import Client

ANONYMOUS = Client()
DIALECT_OPT = "dialect"
KEY_OPT = "needs_key"
"""The ``opt`` of handlers of no dialect that need a key nevertheless."""
_STATE = "client"


class KeyRing:
    """The configured keys, kept as SHA-256 digests.

    Raises:
        ConfigError: A key is missing, or its environment variable is not set.
    """

    def __init__(self, keys: Sequence[KeyConfig]) -> None:
        self._clients = [
            (
                config.digest(),
                Client(
                    config.name,
                    config.plan,
                    max_queued=config.max_queued,
                    max_running=config.max_running,
                    max_active=config.max_active,
                    priority=config.priority,
                ),
            )
            for config in keys
        ]

    def __bool__(self) -> bool:
        return bool(self._clients)

    def find(self, key: bytes) -> Client | None:
        """Return the client that ``key`` belongs to, or None, in the same time for every key."""
        digest = hashlib.sha256(key).digest()
        found = None
        for known, client in self._clients:
            if hmac.compare_digest(digest, known):
                found = client
        return found

    def authenticate(self, authorization: str | None) -> Client:
        """Return the client whose key is in an Authorization header.

        Raises:
            Unauthorized: The header has no key, or an unknown one.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("The request has no API key; send one as 'Authorization: Bearer KEY'.")
        client = self.find(key.strip().encode("latin-1"))
        if client is None:
            raise Unauthorized("The API key is not valid.")
        return client


class KeyGuard:
    """Litestar's guard for every handler.

    Handlers of the dialects in ``open_dialects``, those marked public, those that belong to no dialect and
    those that answer OPTIONS need no key; with `KEY_OPT`, one of no dialect does. It is async, as Litestar
    would call it in a thread otherwise, where context variables that it sets are lost.
    """

    def __init__(self, keys: KeyRing, open_dialects: frozenset[str]) -> None:
        self._keys = keys
        self._open = open_dialects

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Authenticate the request and keep its client in the connection's state.

        Raises:
            Unauthorized: The handler needs a key, and the request has none or an unknown one.
        """
        dialect = handler.opt.get(DIALECT_OPT)
        if not self._keys or dialect in self._open or handler.opt.get("public"):
            return
        if dialect is None and not handler.opt.get(KEY_OPT):
            return
        if connection.scope.get("method") == "OPTIONS":
            return
        client = self._keys.authenticate(connection.headers.get("authorization"))
        connection.scope["state"][_STATE] = client
        structlog.contextvars.bind_contextvars(client=client.name)
        identify_client(client.name)


def client_of(scope: Scope) -> Client:
    """Return the client that the guard has authenticated, or the anonymous one where no key is needed."""
    client: Client = scope["state"].get(_STATE, ANONYMOUS)
    return client
