"""Clients for Valkey or Redis, with time-outs and retries for each use."""

import re
from collections.abc import Generator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from framegate.core.errors import Unavailable
from framegate.storage.endpoints import read_url

REFUSED_LOGINS = (AuthenticationError, AuthenticationWrongNumberOfArgsError)
REFUSED_LOGIN = (
    "the server refuses the user name and password of queue.url; write them as in "
    "redis://user:password@host:6379/0, with % codes for special characters"
)
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


def is_transient(error: redis.RedisError) -> bool:
    """Return whether the same call may work later: the server can't be reached, or can't do it now.

    Other errors are mistakes in the call.
    """
    return isinstance(error, _UNREACHABLE) or is_refusal(error)


def is_refusal(error: redis.RedisError) -> bool:
    """Return whether a server that answers takes no writes now, for example because its memory is full."""
    return isinstance(error, _REFUSALS) or bool(_REFUSED.search(str(error)))


def connect(url: str) -> redis.Redis:
    """Return a client for a worker, which retries failed calls.

    It never waits long for an answer: after its lease another worker has the job.
    """
    return redis.Redis.from_pool(
        read_url(url).pool(
            decode_responses=True,
            encoding_errors="replace",  # a damaged text must not break the replies around it
            socket_timeout=3,
            socket_connect_timeout=2,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 5, (redis.ConnectionError,)),
        )
    )


def connect_for_tickets(url: str) -> redis.Redis:
    """Return a client for Dramatiq, which takes messages as bytes; a worker waits for its tickets on it."""
    return redis.Redis.from_pool(
        read_url(url).pool(
            socket_timeout=3,
            socket_connect_timeout=2,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1, (redis.ConnectionError,)),
        )
    )


def connect_once(url: str) -> redis.Redis:
    """Return a client for a look at the server, whose calls fail at the first error."""
    return redis.Redis.from_pool(
        read_url(url).pool(
            decode_responses=True,
            health_check_interval=0,  # a server that is loading answers INFO, but no PING
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """Return a client for the API: many requests share few connections.

    A call waits little for its answer, but long for a free connection: there are many calls before it, which
    says nothing about Valkey.
    """
    pool = read_url(url).async_pool(
        decode_responses=True,
        encoding_errors="replace",  # a damaged text must not break the replies around it
        max_connections=64,
        timeout=20,
        socket_timeout=2.5,
        socket_connect_timeout=2,
        retry=AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def outages_as_unavailable() -> Generator[None]:
    """Turn passing errors of Valkey into `Unavailable`."""
    try:
        yield
    except redis.RedisError as error:
        if isinstance(error, REFUSED_LOGINS):
            raise Unavailable(f"The job queue can't be used: {REFUSED_LOGIN}.") from error
        if isinstance(error, BusyLoadingError):
            raise Unavailable("The job queue is loading its data; try again shortly.") from error
        if is_refusal(error):
            raise Unavailable("The job queue takes no writes right now; try again shortly.") from error
        if is_transient(error):
            raise Unavailable("The job queue can't be reached right now; try again shortly.") from error
        raise
