"""How often the service asks Valkey: once for a submission, whatever becomes of it, and once for a list."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from framegate.core import availability
from framegate.core.errors import (
    IdempotencyMismatch,
    InvalidRequest,
    JobExists,
    KeyLimitReached,
    NoWorker,
)
from framegate.core.jobs import JobState
from framegate.core.ports import IdempotencyKey, JobFilter, WorkerInfo
from framegate.core.submission import Client
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.service_stand import ALICE, ServiceStand

LIMITED = Client("alice", max_queued=5, max_active=5, max_stored_bytes=10**9, max_record_bytes=10**9)
WORKER = WorkerInfo("w1", "here", 1, "cpu", "0", ("preview",), 0.0)


class Asked(ValkeyJobStore):
    """A store that tells when it uses a connection of redis-py's."""

    living: list[WorkerInfo]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.living = []

        async def refuse(*call: object, **_: object) -> None:
            raise AssertionError(f"another round trip: {call}")

        self._client.execute_command = refuse  # type: ignore[method-assign]  # in place of the real one


@pytest.fixture
async def stand(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ServiceStand]:
    """A service that has had a job."""
    monkeypatch.setattr(availability, "FRESH_SECONDS", math.inf)
    WorkerStore(client, "w1").heartbeat([], info=WORKER)
    store = Asked(connect_async(valkey.url))
    found = ServiceStand(tmp_path, store=store)
    await found.submit()
    yield found
    await store._feed.close()  # pyright: ignore[reportPrivateUsage]  # nothing listens
    await store._calls.close()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("owner", [Client(), ALICE, LIMITED])
@pytest.mark.parametrize("idempotency", [None, IdempotencyKey(key="k")])
async def test_a_submission_is_one_round_trip(
    stand: ServiceStand, writes: list[int], owner: Client, idempotency: IdempotencyKey | None
) -> None:
    writes.clear()
    job = await stand.submit(client=owner, idempotency=idempotency)
    assert writes == [1]
    if idempotency:
        assert (await stand.submit(client=owner, idempotency=idempotency)).id == job.id
        assert writes == [1, 1]
        other = IdempotencyKey(key="k", fingerprint="other")
        with pytest.raises(IdempotencyMismatch):
            await stand.submit(client=owner, idempotency=other)
        assert writes == [1, 1, 1]


async def test_an_id_that_the_server_has_given_is_no_clients_choice(
    stand: ServiceStand, writes: list[int]
) -> None:
    """Not that of a job of the same key; the check costs no round trip."""
    other = await stand.submit(client=Client("bob"))
    mine = await stand.submit()
    writes.clear()
    with pytest.raises(JobExists, match=mine.id):
        await stand.submit(job_id="~digest", client_id=mine.id)
    assert (await stand.submit(job_id="~digest", client_id=other.id)).client_id == other.id
    assert writes == [1, 1]
    assert await stand.store.delete(mine.id)
    assert (await stand.submit(job_id="~other", client_id=mine.id)).client_id == mine.id


async def test_a_refusal_is_one_round_trip(stand: ServiceStand, writes: list[int]) -> None:
    full = Client("alice", max_queued=1)
    writes.clear()
    with pytest.raises(KeyLimitReached):
        await stand.submit(client=full)
    assert writes == [1]


async def test_lists_are_one_round_trip_and_one_for_what_has_changed(
    stand: ServiceStand, writes: list[int]
) -> None:
    """With and without filters, the first part and those that follow, by number and by id."""
    jobs = [await stand.submit(collection="videos", client=ALICE) for _ in range(5)]
    service, queued = stand.services.jobs, frozenset({JobState.QUEUED})
    lists: dict[str, Callable[[], Awaitable[object]]] = {
        "of a key": lambda: service.list(owner="alice"),
        "of everybody": lambda: service.list(),
        "of a state": lambda: service.list(owner="alice", states=queued),
        "of everybody in a state": lambda: service.list(states=queued),
        "a part": lambda: service.scan(JobFilter("alice"), limit=2),
        "a later part": lambda: service.scan(JobFilter("alice"), before=jobs[4].seq, limit=2),
        "a model": lambda: service.scan(JobFilter("alice", queued, "preview"), limit=2),
        "a page": lambda: service.page("videos", owner="alice", limit=2),
        "a later page": lambda: service.page("videos", owner="alice", after=jobs[2].id, limit=2),
    }
    for name, call in lists.items():
        await call()  # Valkey gets the scripts' texts, and the records are read
        writes.clear()
        assert await call()
        assert writes == [1], name
    changed = await stand.submit(collection="videos", client=ALICE)
    for expected in ([1, 1], [1]):
        writes.clear()
        assert (await service.list(owner="alice"))[0] == changed
        assert writes == expected


async def test_counts_and_outlooks_are_one_round_trip(stand: ServiceStand, writes: list[int]) -> None:
    jobs = [await stand.submit(client=ALICE) for _ in range(5)]
    service = stand.services.jobs
    await service.outlooks(jobs)  # which reads how fast the models are
    for call in (
        lambda: service.outlooks(jobs),
        lambda: service.outlooks(jobs[:1]),
        lambda: service.queue_position(jobs[0]),
    ):
        writes.clear()
        assert await call()
        assert writes == [1]
    writes.clear()
    assert (await service.counts()).queued == 6
    assert writes == [len(JobState)], "written at once"


async def test_what_the_store_says_comes_first(
    stand: ServiceStand, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeat is answered, and a full queue refused, whatever else is wrong with the submission."""
    once = IdempotencyKey(key="k")
    first = await stand.submit(idempotency=once)
    full = Client("alice", max_queued=1)
    wrong: dict[str, Any] = {"num_frames": 8001}
    assert await stand.submit(idempotency=once, **wrong) == first
    with pytest.raises(KeyLimitReached):
        await stand.submit(client=full, **wrong)
    with pytest.raises(InvalidRequest):
        await stand.submit(**wrong)
    monkeypatch.setattr(stand.services.jobs.availability, "_grace", -1.0)
    client.flushdb()
    with pytest.raises(NoWorker):
        await stand.submit()
