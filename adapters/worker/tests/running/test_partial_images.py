"""Partial images of several attempts at one job."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import redis
from msgspec.structs import replace

from framegate.core.ports import Limits
from framegate.core.results import ResultAccess
from framegate.core.testing import InMemoryJobStore, StaticVariantMaker
from framegate.core.types import Variant
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.worker.running.partial_images import PartialImages
from tests.support.sample_jobs import make_job
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]


@pytest.fixture
def artifacts(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "data")


async def test_a_worker_that_lost_its_job_removes_its_own_alone(
    valkey: EmbeddedValkey, client: redis.Redis, artifacts: FolderStore
) -> None:
    jobs = ValkeyJobStore(connect_async(valkey.url))
    job = make_job("job")
    await jobs.submit(replace(job, request=replace(job.request, num_partial_images=1)), limits=Limits())
    slow, next_one = WorkerStore(client, "slow"), WorkerStore(client, "next")
    lost = slow.claim("q-test", ["test"])
    next_one.sweep()
    client.zadd("fg:leases", {"job": 0})
    next_one.sweep()
    taken = next_one.claim("q-test", ["test"])
    assert lost is not None
    assert taken is not None
    results = ResultAccess(jobs, artifacts, StaticVariantMaker())
    for attempt, brightness in ((taken, 200), (lost, 10)):
        images = PartialImages(artifacts, attempt, artifacts.workdir(attempt.attempt_name))
        assert images.store(partial(np.full, (8, 8, 3), brightness, np.uint8))
    shown = await results.partial_image(taken, 0, Variant.PNG)
    assert slow.succeed(lost, ()) is None
    artifacts.delete_many(lost.partial_image_keys)
    now = await jobs.get("job")
    assert now is not None
    assert await results.partial_image(now, 0, Variant.PNG) == shown is not None
    assert await results.partial_image(now, 1, Variant.PNG) is None
    await jobs.close()


async def test_those_of_a_worker_of_an_earlier_version_are_shown(artifacts: FolderStore) -> None:
    job = make_job("job")
    running = replace(job, attempt=1, worker="w", request=replace(job.request, num_partial_images=2))
    results = ResultAccess(InMemoryJobStore(), artifacts, StaticVariantMaker())
    assert await results.partial_image(running, 1, Variant.PNG) is None
    path = artifacts.workdir("making") / "image"
    path.write_bytes(b"image")
    artifacts.put(path, "results/job/look-1.png")
    assert await results.partial_image(running, 1, Variant.PNG) == b"image"
    assert "results/job/look-1.png" in running.files
