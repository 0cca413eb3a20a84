"""Identify a request's client by its bearer key, and check what it may do, before the body is read."""

from collections.abc import Mapping
from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from framegate.core.audit import identify_client
from framegate.core.errors import PermissionDenied, Unauthorized
from framegate.core.keys import KeyScope
from framegate.core.submission import Client
from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.origins import OriginRules
from framegate.server.errors.error_info import ForeignOrigin
from framegate.server.limits.limiter import RateLimiter
from framegate.server.limits.logins import LoginThrottle
from framegate.server.limits.requests import check_key_rate
from framegate.server.requests.forwarded import client_network

DIALECT_OPT = "dialect"
"""The ``opt`` that names the dialect of a handler."""
SHARED_OPT = "shared_by"
"""The ``opt`` with the names of all dialects that share a handler."""
SCOPE_OPT = "scope"
"""The ``opt`` with the scope that a handler needs, if its method doesn't tell."""
ADMIN_OPT = "admin"
"""The ``opt`` of the handlers that administer the server."""
KEY_OPT = "needs_key"
"""The ``opt`` of handlers of no dialect that need a key nevertheless."""
_STATE = "client"
_READING = frozenset({"GET", "HEAD"})


def needed_scope(opt: Mapping[str, Any], method: object) -> KeyScope:
    """Return the scope that a key needs to call a handler with these ``opt`` by ``method``."""
    scope: KeyScope | None = opt.get(SCOPE_OPT)
    return scope or (KeyScope.READ if method in _READING else KeyScope.SUBMIT)


class KeyGuard:
    """Litestar's guard for every handler, which also counts failed logins and the requests of each key.

    Handlers of the dialects in ``open_dialects``, those marked public, those that belong to no dialect and
    those that answer OPTIONS need no key, unless they administer the server; with `KEY_OPT`, one of no
    dialect needs any. Open dialects refuse other sites' pages by ``origins`` instead. While the server has no
    keys nobody needs one: see `framegate.server.auth.loopback_guard`.

    With a key, GET and HEAD need the scope ``read`` and all else ``submit``, unless the handler's ``opt``
    says otherwise; handlers that administer the server need ``admin``.

    It is async, as Litestar would call it in a thread otherwise, where context variables that it sets are
    lost.
    """

    def __init__(
        self,
        keys: KeyRing,
        open_dialects: frozenset[str],
        origins: OriginRules,
        *,
        logins: LoginThrottle,
        limiter: RateLimiter,
    ) -> None:
        self._keys = keys
        self._open = open_dialects
        self._origins = origins
        self._logins = logins
        self._limiter = limiter

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Authenticate the request and keep its client in the connection's state.

        Raises:
            Unauthorized: The handler needs a key, and the request has none or an unknown one.
            PermissionDenied: The key may not make such a request, or another site's page makes it.
            RateLimited: The key has sent as many requests as it may, or the address as many wrong keys.
            Unavailable: It is not known yet which keys there are.
        """
        opt, method = handler.opt, connection.scope.get("method")
        dialect, is_admin = opt.get(DIALECT_OPT), bool(opt.get(ADMIN_OPT))
        needs_key = dialect is not None or is_admin or opt.get(KEY_OPT)
        if not needs_key or opt.get("public") or method == "OPTIONS":
            return
        if not self._keys.keyed:
            self._keys.require_known()
            return
        if dialect in self._open and not is_admin:
            if reason := self._origins.reason_against_page(connection.scope):
                raise ForeignOrigin(reason)
            connection.scope["state"][_STATE] = self._keys.anonymous
            return
        client = await self._authenticate(connection)
        connection.scope["state"][_STATE] = client
        structlog.contextvars.bind_contextvars(client=client.name)
        identify_client(client.name)
        await check_key_rate(self._limiter, client)
        if is_admin:
            client.require_scope(KeyScope.ADMIN)
            return
        if dialect is None:
            return
        client.require_scope(needed_scope(opt, method))
        names: frozenset[str] = opt.get(SHARED_OPT) or frozenset({str(dialect)})
        if not any(map(client.may_call, names)):
            raise PermissionDenied(
                f"The API key {client.name!r} may not call the API {' or '.join(sorted(names))}; it may call "
                f"{', '.join(client.dialects)}."
            )

    async def _authenticate(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Client:
        scope = connection.scope
        header = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        authorization = None if header is None else header.decode("latin-1")
        self._logins.check(scope, authorization)
        try:
            client = self._keys.authenticate(authorization)
        except Unauthorized:
            await self._logins.failed(scope)
            raise
        self._logins.succeeded(scope, authorization)
        return client


def client_of(scope: Scope) -> Client:
    """Return the client that the guard has authenticated, or an anonymous one where no key is needed."""
    client: Client | None = scope["state"].get(_STATE)
    return client or Client(address=client_network(scope))


def is_operator(scope: Scope) -> bool:
    """Return whether a request that the guard let through is an operator's.

    Its key has the scope ``admin``, or the server has no keys and answers this machine alone.
    """
    client: Client | None = scope["state"].get(_STATE)
    return client is None or KeyScope.ADMIN in client.scopes
