"""Secrets that hosts share."""

import asyncio

import pytest
import redis

from framegate.core.errors import Unavailable
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.secrets import ValkeySecretStore
from tests.support.ports import free_port


async def test_hosts_agree_on_a_secret(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    hosts = [ValkeySecretStore(connect_async(valkey.url)) for _ in range(8)]
    found = set(await asyncio.gather(*(host.get_or_create("links") for host in hosts)))
    [secret] = found
    assert len(secret) == 32
    assert await hosts[0].get_or_create("other") != secret
    assert client.ttl("fg:secret:links") == -1, "it never expires"
    for host in hosts:
        await host.close()


async def test_an_outage(client: redis.Redis) -> None:
    store = ValkeySecretStore(connect_async(f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(Unavailable):
        await store.get_or_create("links")
    await store.close()
