"""Installations that share one Valkey, each under a prefix of its own."""

import redis

from framegate.core.ports import Limits
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.secrets import ValkeySecretStore
from tests.support.sample_jobs import make_job


async def test_what_one_installation_keeps_another_does_not_see(
    valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    first, second = (ValkeyJobStore(connect_async(valkey.url), prefix=name) for name in ("one:", "two:"))
    secrets = [ValkeySecretStore(connect_async(valkey.url), prefix=name) for name in ("one:", "two:")]
    try:
        await first.submit(make_job("a", owner="alice"), limits=Limits())
        assert await second.get("a") is None
        assert WorkerStore(client, "w", prefix="two:").claim("q-test", ["test"]) is None
        assert await first.installation() != await second.installation()
        assert await secrets[0].get_or_create("links") != await secrets[1].get_or_create("links")
        job = WorkerStore(client, "w", prefix="one:").claim("q-test", ["test"])
        assert job is not None
        assert job.id == "a"
        assert {str(key).partition(":")[0] for key in client.keys("*")} == {"one", "two"}
    finally:
        for store in (first, second):
            await store.close()
        for secret_store in secrets:
            await secret_store.close()
