"""What processes of 0.1 leave in Valkey: they change jobs, but not the indexes that came after them."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import redis

from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.worker_store import WorkerStore

_LATER = ("buckets:*", "bucket:*", "places:*", "closed", "waiting:*", "waitingby:*", "depths:*")


@contextmanager
def as_older_version(client: redis.Redis) -> Generator[None]:
    """Leave the indexes over lanes as they are, whatever happens to jobs meanwhile.

    They are mended first, as an older version finds its jobs without them.
    """
    raw = redis.Redis(connection_pool=_undecoded(client))
    try:
        before = {key: raw.dump(key) for key in _later_keys(client)}
        queues = cast("set[str]", client.smembers(f"{PREFIX}queues"))
        WorkerStore(client, "older").sweep()
        yield
        for key in _later_keys(client):
            client.delete(key)
        for key, value in before.items():
            raw.restore(key, 0, cast("bytes", value))
        for queue in queues:
            client.sadd(f"{PREFIX}queues", queue)  # the sweep may have removed it
    finally:
        raw.close()
        raw.connection_pool.disconnect()


def _later_keys(client: redis.Redis) -> list[str]:
    return [key for kind in _LATER for key in cast("list[str]", client.keys(f"{PREFIX}{kind}"))]


def _undecoded(client: redis.Redis) -> redis.ConnectionPool:
    """Return connections to the same server that leave bytes as they are."""
    pool = client.connection_pool
    options: dict[str, Any] = {**pool.connection_kwargs, "decode_responses": False}
    return redis.ConnectionPool(pool.connection_class, **options)
