"""Jobs that end, and delivery workers that notify their receivers, with a real Valkey and real sockets."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import redis
from msgspec.structs import replace
from redis.backoff import ConstantBackoff

from framegate.core.jobs import JobError, JobState
from framegate.core.options import EnvSecret
from framegate.core.ports import Limits
from framegate.media.network.addresses import DialPolicy
from framegate.server.webhooks.delivery_worker import WebhookDeliveryWorker
from framegate.server.webhooks.events import Signer
from framegate.server.webhooks.sender import WebhookSender
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.webhook_deliveries import ValkeyDeliveryStore
from tests.support.running import PATIENCE
from tests.support.sample_jobs import make_job

BROKE = JobError("generation_failed", "It broke.")


async def reached(state: Callable[[], bool], *, seconds: float = PATIENCE / 2) -> None:
    """Wait until a state is reached."""
    async with asyncio.timeout(seconds):
        while not state():  # noqa: ASYNC110 # the state is another process's
            await asyncio.sleep(0.01)


class DeliveryStand:
    """Ends jobs, and inspects their deliveries."""

    def __init__(self, valkey: EmbeddedValkey, client: redis.Redis) -> None:
        self.url = valkey.url
        self.client = client
        self.worker = WorkerStore(client, "w1")

    async def submit(self, *job_ids: str, urls: Sequence[str], owner: str = "") -> None:
        """Submit jobs with these webhooks."""
        async with self.job_store() as store:
            for job_id in job_ids:
                job = replace(make_job(job_id, owner=owner), webhooks=tuple(urls))
                await store.submit(job, limits=Limits())

    async def end(self, *job_ids: str, urls: Sequence[str], owner: str = "", failing: bool = False) -> None:
        """Submit jobs with these webhooks, and let them succeed or fail."""
        await self.submit(*job_ids, urls=urls, owner=owner)
        for _ in job_ids:
            job = self.worker.claim("q-test", ["test"])
            assert job is not None
            state = self.worker.fail(job.id, job.attempt, BROKE) if failing else self.worker.succeed(job, ())
            assert state == (JobState.FAILED if failing else JobState.SUCCEEDED)

    def pending(self) -> dict[str, str]:
        """Return the receivers of pending deliveries by their keys, and check that all indexes agree.

        Not while delivery workers run: they may change one index between two reads.
        """
        deliveries = {key: self.client.hget(key, "receiver") for key in self.keys("fg:delivery:*")}
        indexed = {
            f"fg:delivery:{member}": waiting.removeprefix("fg:deliveries:")
            for waiting in self.keys("fg:deliveries:*")
            for member in self.members(waiting)
        }
        assert deliveries == indexed
        assert set(self.members("fg:deliveries")) == set(indexed.values())
        return indexed

    def all_settled(self) -> bool:
        """Return whether no delivery is pending; also while delivery workers run."""
        return not self.keys("fg:delivery:*")

    def keys(self, pattern: str) -> list[str]:
        """Return the keys that match."""
        return cast("list[str]", self.client.keys(pattern))

    def members(self, key: str) -> list[str]:
        """Return the members of a sorted set, in their order."""
        return cast("list[str]", self.client.zrange(key, 0, -1))

    @asynccontextmanager
    async def job_store(self) -> AsyncGenerator[ValkeyJobStore]:
        store = ValkeyJobStore(connect_async(self.url))
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def delivery_store(self) -> AsyncGenerator[ValkeyDeliveryStore]:
        store = ValkeyDeliveryStore(connect_async(self.url))
        try:
            yield store
        finally:
            await store.close()

    def delivery_worker(
        self, store: ValkeyDeliveryStore, *, patience: float, delay: float
    ) -> WebhookDeliveryWorker:
        """Return a delivery worker; see `deliver_until`."""
        return WebhookDeliveryWorker(
            store,
            WebhookSender(DialPolicy(["127.0.0.0/8"]), timeout=patience),
            Signer([EnvSecret("WEBHOOK_SECRET")]),
            backoff=ConstantBackoff(delay),
        )

    async def deliver_all(self, *, workers: int = 1, delay: float = 0.05) -> None:
        """Run delivery workers until none of the deliveries is pending."""
        await self.deliver_until(self.all_settled, workers=workers, delay=delay)
        assert self.pending() == {}

    async def deliver_until(
        self, done: Callable[[], bool], *, workers: int = 1, patience: float = 30.0, delay: float = 0.05
    ) -> None:
        """Run delivery workers until it is ``done``.

        They give an attempt ``patience`` seconds, and wait ``delay`` seconds after one that failed.
        """
        async with self.delivering(workers, patience, delay):
            await reached(done)

    @asynccontextmanager
    async def delivering(self, workers: int, patience: float, delay: float) -> AsyncGenerator[None]:
        """Run delivery workers; see `deliver_until`."""
        stores = [ValkeyDeliveryStore(connect_async(self.url)) for _ in range(workers)]
        running = [
            asyncio.create_task(self.delivery_worker(store, patience=patience, delay=delay).run())
            for store in stores
        ]
        try:
            yield
        finally:
            for task in running:
                assert not task.done(), "a delivery worker has ended"
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for store in stores:
                await store.close()
