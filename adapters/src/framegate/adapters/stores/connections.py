"""Clients for Valkey or Redis, with the time-outs and retries that their use asks for."""

from collections.abc import Generator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError
from redis.retry import Retry

from framegate.core.errors import Unavailable

_OUTAGE = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError)


def connect(url: str, *, text: bool = True) -> redis.Redis:
    """A client for a worker: patient, because an answer that is lost costs a job's whole run.

    It answers with str, or with bytes, as Dramatiq expects, unless ``text``.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=text,
        socket_timeout=30,
        socket_connect_timeout=5,
        retry=Retry(ExponentialWithJitterBackoff(cap=1, base=0.05), 5),
        retry_on_error=list(_OUTAGE),
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for the API: many requests share few connections, and none waits long for a dead server."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=64,
        timeout=5,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 2),
        retry_on_error=list(_OUTAGE),
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def outages_as_unavailable() -> Generator[None]:
    """Turn an unreachable server into the error that callers may see."""
    try:
        yield
    except _OUTAGE as error:
        raise Unavailable("The job queue can't be reached right now; try again shortly.") from error
    except redis.ResponseError as error:
        if str(error).startswith(("OOM", "MISCONF", "READONLY", "LOADING")):
            raise Unavailable("The job queue takes no writes right now; try again shortly.") from error
        raise
