"""What ``queue.url`` names: a Valkey by TCP, TLS or Unix socket, or the primary that Sentinels name.

Every client is made here, whatever it is used for, so that all of them notice a peer that has fallen silent.
"""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
import redis.asyncio
import redis.asyncio.connection
import redis.asyncio.sentinel
import redis.sentinel
from msgspec import Struct
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.retry import Retry

from framegate.core.errors import ConfigError

SENTINEL_PORT = 26379
HEALTH_CHECK_SECONDS = 10
"""A connection that was idle for longer is tried with a PING before it is used."""

# By default, Linux looks for a silent peer after two hours.
_KEEPALIVE_SECONDS = {
    ("TCP_KEEPIDLE", "TCP_KEEPALIVE"): 15,
    ("TCP_KEEPINTVL",): 5,
    ("TCP_KEEPCNT",): 3,
}
QUEUE_URL = ("queue", "url")
"""The setting at fault, for errors."""
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SHARED_WITH_SENTINELS = ("socket_", "ssl")
"""What the names of options begin with that hold for connections to Sentinels too."""


class Endpoint(Struct, frozen=True):
    """A parsed ``queue.url``.

    ``options`` are redis-py's of a connection. ``sentinels`` are their hosts and ports, ``service`` is the
    name under which they know the primary, and ``sentinel_options`` are for connections to themselves; all of
    these are empty without Sentinels.
    """

    options: Mapping[str, Any]
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_options: Mapping[str, Any] = {}

    def pool(self, **defaults: Any) -> redis.ConnectionPool:
        """Return a pool of connections; what the URL says comes before ``defaults``."""
        options = _with_liveness(self, defaults)
        if not self.sentinels:
            secure = options.pop("ssl", False)
            connection = SSLConnection if secure else Connection
            if "path" in options:  # redis-py declares the class of TCP connections alone
                connection = cast("type[Connection]", redis.UnixDomainSocketConnection)
            return redis.ConnectionPool(connection_class=connection, **options)
        manager = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]  # untyped in redis-py
            self.sentinels, sentinel_kwargs=_for_sentinels(self, options, Retry(NoBackoff(), 0))
        )
        connection_class = _SecureConnection if options.pop("ssl", False) else _Connection
        return _SentinelPool(  # type: ignore[no-untyped-call]  # untyped in redis-py
            self.service, manager, connection_class=connection_class, **options
        )

    def async_pool(self, **defaults: Any) -> redis.asyncio.BlockingConnectionPool:
        """Return a pool of asynchronous connections, whose users wait for a free one."""
        options = _with_liveness(self, defaults)
        secure = options.pop("ssl", False)
        if not self.sentinels:
            if "path" in options:
                connection: type[redis.asyncio.connection.AbstractConnection] = (
                    redis.asyncio.UnixDomainSocketConnection
                )
            else:
                connection = redis.asyncio.SSLConnection if secure else redis.asyncio.Connection
            return redis.asyncio.BlockingConnectionPool(connection_class=connection, **options)
        manager = redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]  # untyped in redis-py
            self.sentinels,
            sentinel_kwargs=_for_sentinels(self, {**options, "ssl": secure}, AsyncRetry(NoBackoff(), 0)),
        )
        return _AsyncSentinelPool(
            service_name=self.service,
            sentinel_manager=manager,
            connection_class=(
                redis.asyncio.sentinel.SentinelManagedSSLConnection
                if secure
                else redis.asyncio.sentinel.SentinelManagedConnection
            ),
            **options,
        )


class _Connection(redis.sentinel.SentinelManagedConnection):
    """One that hangs up when an answer doesn't come in time, as connections without Sentinels do.

    redis-py keeps it: its next user would go on waiting for a primary that stands still although there is
    another one by now, or read the answer that was meant for the call before.
    """

    def read_response(self, *arguments: Any, disconnect_on_error: bool | None = True, **options: Any) -> Any:
        read: Callable[..., Any] = super().read_response
        return read(*arguments, disconnect_on_error=disconnect_on_error, **options)


class _SecureConnection(_Connection, redis.sentinel.SentinelManagedSSLConnection):
    """The same with TLS."""


class _SentinelPool(redis.sentinel.SentinelConnectionPool):
    """One that closes its connections to Sentinels as well."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:  # else there is another primary
            for sentinel in cast("list[redis.Redis]", self.sentinel_manager.sentinels):
                sentinel.close()


class _AsyncSentinelPool(redis.asyncio.BlockingConnectionPool, redis.asyncio.sentinel.SentinelConnectionPool):
    """The same; its users wait for a free connection."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in cast("list[redis.asyncio.Redis]", self.sentinel_manager.sentinels):
                await sentinel.aclose()


def read_url(url: str) -> Endpoint:
    """Parse a ``queue.url``.

    Raises:
        ConfigError: It is not the URL of a Valkey, or names a file that is not there. Of the URL the message
            shows nothing but that file, as any other part may belong to a password.
    """
    try:
        if url.startswith(("sentinel://", "sentinels://")):
            found = _read_sentinel_url(url)
        else:
            found = Endpoint(_connection_options(url))
        found.pool().make_connection()  # which refuses options that such a connection doesn't have
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigError(
            "this is not a URL such as redis://user:password@host:6379/0 or "
            "sentinel://user:password@host:26379,host:26379/name-of-the-primary/0.",
            key=QUEUE_URL,
        ) from None
    _require_files(found.options)
    return found


def _require_files(options: Mapping[str, Any]) -> None:
    for name in _FILES:
        if name in options and not Path(options[name]).is_file():
            raise ConfigError(f"{name}: there is no file {options[name]}.", key=QUEUE_URL)


def _connection_options(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path:
            raise ValueError("the path of the socket doesn't begin with /")
    elif (database := parts.path.strip("/")) and not database.isdecimal():
        raise ValueError("the database is not a number")  # for which redis-py takes number 0
    options: dict[str, Any] = {**parse_url(url)}
    options.pop("connection_class", None)
    if parts.scheme == "rediss":
        options["ssl"] = True
    return options


def _read_sentinel_url(url: str) -> Endpoint:
    """Parse ``sentinel://[user:password@]host[:port],…/service[/database][?options]``."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("the Sentinels or the name of the primary are missing")
    query = dict(parse_qsl(parts.query))
    own = {
        name.removeprefix("sentinel_"): query.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if name in query
    }
    scheme = "rediss" if parts.scheme == "sentinels" else "redis"
    options = _connection_options(f"{scheme}://{user}@/{database or 0}?{urlencode(query)}")
    return Endpoint(options, tuple(_host_and_port(host) for host in hosts.split(",")), service, own)


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("the host of a Sentinel is missing")
    return parts.hostname, parts.port or SENTINEL_PORT


def _with_liveness(endpoint: Endpoint, defaults: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"health_check_interval": HEALTH_CHECK_SECONDS, **defaults}
    if "path" not in endpoint.options:
        options |= {"socket_keepalive": True, "socket_keepalive_options": _keepalive_options()}
    return {**options, **endpoint.options}


def _keepalive_options() -> dict[int, int]:
    found: dict[int, int] = {}
    for names, value in _KEEPALIVE_SECONDS.items():
        for name in names:  # the first that this platform has
            if hasattr(socket, name):
                found[getattr(socket, name)] = value
                break
    return found


def _for_sentinels(
    endpoint: Endpoint, options: Mapping[str, Any], retry: Retry | AsyncRetry
) -> dict[str, Any]:
    """Return the options of connections to Sentinels; where one can't be reached, the next one is asked."""
    shared = {
        name: value
        for name, value in options.items()
        if name.startswith(_SHARED_WITH_SENTINELS) and value is not None
    }
    return {**shared, "retry": retry, **endpoint.sentinel_options}
