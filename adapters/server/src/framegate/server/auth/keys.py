"""Who asks: bearer keys, checked before a body is read."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from framegate.core.errors import Unauthorized
from framegate.core.settings import KeyConfig
from framegate.core.submission import Client

ANONYMOUS = Client()
DIALECT_OPT = "dialect"
_STATE = "client"


class KeyRing:
    """The configured keys, kept as SHA-256 digests.

    Raises:
        ConfigError: a key is not given, or its environment variable is not set.
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
        """Takes the same time whichever key it is, and whether or not there is one."""
        digest = hashlib.sha256(key).digest()
        found = None
        for known, client in self._clients:
            if hmac.compare_digest(digest, known):
                found = client
        return found

    def authenticate(self, authorization: str | None) -> Client:
        """The owner of the key in an Authorization header.

        Raises:
            Unauthorized: there is no key, or an unknown one.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("No API key was given; send it as 'Authorization: Bearer KEY'.")
        client = self.find(key.strip().encode("latin-1"))
        if client is None:
            raise Unauthorized("The API key is not valid.")
        return client


class KeyGuard:
    """Litestar's guard for every handler: those of dialects in ``open_dialects``, those marked public and
    those that belong to no dialect need no key."""

    def __init__(self, keys: KeyRing, open_dialects: frozenset[str]) -> None:
        self._keys = keys
        self._open = open_dialects

    def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        dialect = handler.opt.get(DIALECT_OPT)
        if not self._keys or dialect is None or dialect in self._open or handler.opt.get("public"):
            return
        client = self._keys.authenticate(connection.headers.get("authorization"))
        connection.scope["state"][_STATE] = client
        structlog.contextvars.bind_contextvars(client=client.name)


def client_of(scope: Scope) -> Client:
    """The client that the guard found; the anonymous one where no key is asked for."""
    client: Client = scope["state"].get(_STATE, ANONYMOUS)
    return client
