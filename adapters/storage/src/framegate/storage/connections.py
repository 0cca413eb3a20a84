"""Clients for Valkey or Redis, with the time-outs and retries that their use asks for."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from framegate.core.errors import ConfigError, Unavailable

_UNREACHABLE = (redis.ConnectionError, redis.TimeoutError)
_REFUSALS = (
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
# Those that redis-py has no class for; a pipeline says first which of its commands was refused.
_REFUSED = re.compile(r"(^|: )(BUSY|MISCONF|NOREPLICAS) ")


def is_passing(error: redis.RedisError) -> bool:
    """Whether the same call may work later: the server can't be reached, or can't do it now.

    What is left is a mistake in the call.
    """
    return isinstance(error, _UNREACHABLE) or is_refusal(error)


def is_refusal(error: redis.RedisError) -> bool:
    """Whether a server that answers takes no writes now: its memory is full, or it is a replica, say."""
    return isinstance(error, _REFUSALS) or bool(_REFUSED.search(str(error)))


def connect(url: str) -> redis.Redis:
    """A client for a worker, which tries again what failed.

    It never waits long for an answer: what comes too late finds that another has the job.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=3,
        socket_connect_timeout=2,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 5, (redis.ConnectionError,)),
    )


def connect_for_tickets(url: str) -> redis.Redis:
    """A client for Dramatiq: it answers with bytes, and calls all that passes a lost connection, which is
    what Dramatiq waits out."""
    return _TicketClient.from_url(
        url,
        socket_timeout=3,
        socket_connect_timeout=2,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1, (redis.ConnectionError,)),
    )


class _TicketClient(redis.Redis):
    def execute_command(self, *args: object, **options: object) -> object:
        try:
            return cast("object", super().execute_command(*args, **options))  # type: ignore[no-untyped-call]  # in redis-py
        except redis.RedisError as error:
            if is_passing(error):
                raise redis.ConnectionError(str(error)) from error
            raise


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for the API: many requests share few connections, and none waits long for a dead server."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=64,
        timeout=5,
        socket_timeout=2.5,
        socket_connect_timeout=2,
        retry=AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
    )
    return redis.asyncio.Redis.from_pool(pool)


def require_usable(url: str) -> None:
    """Ask the server once. If it can't be reached that is no error: it may start later than who needs it.

    Raises:
        ConfigError: it will never do, as there is no such database, say.
    """
    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=None)
    try:
        client.ping()
    except redis.RedisError as error:
        if not is_passing(error):
            raise misconfigured(error) from None
    finally:
        client.close()


def misconfigured(error: redis.RedisError) -> ConfigError:
    """What to tell about a server that answers a first call with what doesn't pass."""
    return ConfigError(f"queue.url: the server refuses it: {error}.")


@contextmanager
def outages_as_unavailable() -> Generator[None]:
    """Turn what passes into the error that callers may see."""
    try:
        yield
    except redis.RedisError as error:
        if is_refusal(error):
            raise Unavailable("The job queue takes no writes right now; try again shortly.") from error
        if is_passing(error):
            raise Unavailable("The job queue can't be reached right now; try again shortly.") from error
        raise
