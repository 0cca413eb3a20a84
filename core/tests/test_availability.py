"""Which jobs are accepted, and may wait, while the workers for their model come and go."""

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace

from framegate.core.availability import OwnWorkersStatus, WorkerAvailability
from framegate.core.errors import NoWorker, Unavailable
from framegate.core.jobs import JobState
from framegate.core.ports import WorkerInfo, WorkerPresence
from framegate.core.testing import InMemoryJobStore
from framegate.core.types import Task
from tests.support.service_stand import PICTURE, ServiceStand

WORKER = WorkerInfo("w1", "here", 1, "cpu", "0", ("preview",), 0.0)


class Own:
    """A process's own workers, whose status the test sets."""

    def __init__(self, status: OwnWorkersStatus) -> None:
        self.status_now = status

    def status(self, announced: Sequence[WorkerInfo]) -> OwnWorkersStatus:
        return self.status_now


class AwayStore(InMemoryJobStore):
    """A store that can't be reached while ``away``."""

    away = False

    async def worker_presence(self) -> WorkerPresence:
        if self.away:
            raise Unavailable("The job queue can't be reached.")
        return await super().worker_presence()


def seen(seconds_ago: float) -> InMemoryJobStore:
    store = InMemoryJobStore()
    store.last_seen["preview"] = time.monotonic() - seconds_ago
    return store


async def refusal(availability: WorkerAvailability) -> str:
    with pytest.raises(NoWorker) as caught:
        await availability.check("preview", "a-name")
    assert caught.value.retry_after > 0
    return caught.value.message


async def test_a_live_worker_serves_its_models_alone() -> None:
    store = InMemoryJobStore()
    store.living.append(WORKER)
    availability = WorkerAvailability(store, grace=0)
    assert await availability.check("preview", "a-name") == 0
    with pytest.raises(NoWorker, match="No worker that runs the model b-name is alive"):
        await availability.check("other", "b-name")


async def test_the_grace_begins_when_the_worker_was_seen_last() -> None:
    left = await WorkerAvailability(seen(20), grace=60).check("preview", "a-name")
    assert 39 < left <= 40
    assert "a-name" in await refusal(WorkerAvailability(seen(61), grace=60))


async def test_forever_accepts_what_no_worker_ever_served() -> None:
    assert await WorkerAvailability(InMemoryJobStore(), grace=math.inf).check("preview", "p") == math.inf


async def test_own_workers_that_start_are_waited_for() -> None:
    own = Own(OwnWorkersStatus(starting_for=500.0))
    availability = WorkerAvailability(InMemoryJobStore(), grace=60, own_workers=own)
    assert await availability.check("preview", "a-name") == 60, "a start may take minutes"
    own.status_now = OwnWorkersStatus(starting_for=20.0, failing=True)
    assert await availability.check("preview", "a-name") == 40
    own.status_now = OwnWorkersStatus(starting_for=61.0, failing=True)
    assert "own worker ends as soon as it is started" in await refusal(availability)
    own.status_now = OwnWorkersStatus()
    assert "own worker" not in await refusal(availability)


async def test_an_own_worker_serves_a_model_before_it_announces_it() -> None:
    own = Own(OwnWorkersStatus(alive=True))
    availability = WorkerAvailability(InMemoryJobStore(), grace=0, own_workers=own)
    assert await availability.check("a-new-workflow", "a-new-workflow") == 0


async def test_an_outage_of_the_store_is_not_the_workers() -> None:
    store = AwayStore()
    availability = WorkerAvailability(store, grace=60)
    await refusal(availability)
    store.away = True
    with pytest.raises(Unavailable):
        await availability.check("preview", "a-name")
    store.away = False
    assert await availability.check("preview", "a-name") > 59, "they need a moment to come back"


async def test_a_refused_job_leaves_nothing_behind(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path)
    stand.store.living.clear()
    await stand.refused(NoWorker, task=Task.IMAGE_TO_VIDEO, image=PICTURE)
    assert not stand.media.taken


async def test_who_waits_is_told_when_the_grace_is_over(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, worker_grace=0.5)
    job, other = await stand.submit(), await stand.submit()
    stand.store.living.clear()
    stand.store.last_seen["preview"] = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(30):
            with pytest.raises(NoWorker):
                await stand.services.jobs.wait(job.id)
    [line] = [line for line in logs if "actor" in line]
    assert (line["event"], line["actor"], line["job_id"]) == ("job_cancelled", "server", job.id)
    assert (await stand.services.jobs.get(job.id)).state == JobState.CANCELLED
    assert (await stand.services.jobs.get(other.id)).state == JobState.QUEUED, "nobody waits for it"


async def test_a_running_job_is_left_alone(tmp_path: Path) -> None:
    """Its worker is alive, or else its lease will end and it waits again."""
    stand = ServiceStand(tmp_path, worker_grace=0)
    job = await stand.submit()
    stand.store.claim_next("w1")
    stand.store.living.clear()
    waiting = asyncio.create_task(stand.services.jobs.wait(job.id))
    done, _ = await asyncio.wait({waiting}, timeout=1.5)
    assert not done
    stand.store.succeed(job.id)
    assert (await waiting).state == JobState.SUCCEEDED


async def test_readiness_agrees_except_at_the_start() -> None:
    store = seen(20)
    own = Own(OwnWorkersStatus())
    assert (await WorkerAvailability(store, grace=60, own_workers=own).overview()).waited_for
    assert not (await WorkerAvailability(store, grace=10, own_workers=own).overview()).waited_for
    assert (await WorkerAvailability(InMemoryJobStore(), grace=math.inf).overview()).waited_for
    own.status_now = OwnWorkersStatus(starting_for=1.0)
    assert not (await WorkerAvailability(store, grace=60, own_workers=own).overview()).waited_for
    store.living.append(WORKER)
    found = await WorkerAvailability(store, grace=60, own_workers=own).overview()
    assert (list(found.workers), found.waited_for) == ([WORKER], False)


class CountingStore(InMemoryJobStore):
    """A store that takes a while to say who is alive, and counts how often it is asked."""

    asked = 0

    async def worker_presence(self) -> WorkerPresence:
        self.asked += 1
        await asyncio.sleep(0.01)
        return await super().worker_presence()


async def test_jobs_that_come_at_once_share_a_read_of_the_workers() -> None:
    store = CountingStore()
    store.living.append(WORKER)
    availability = WorkerAvailability(store, grace=0)
    await asyncio.gather(*(availability.check("preview", "a-name") for _ in range(50)))
    assert store.asked == 1
    store.living.clear()
    await refusal(availability)
    assert store.asked == 2


async def test_a_model_that_rests_is_accepted_for_the_grace_alone() -> None:
    """Though the worker is one of this process's own, which would else serve it."""
    store = seen(20)
    store.living.append(replace(WORKER, models=("other",), resting={"preview": "It can't be loaded."}))
    own = Own(OwnWorkersStatus(alive=True))
    left = await WorkerAvailability(store, grace=60, own_workers=own).check("preview", "a-name")
    assert 39 < left <= 40
    impatient = WorkerAvailability(store, grace=10, own_workers=own)
    assert "a-name is unavailable for some minutes" in (told := await refusal(impatient))
    assert told.endswith("It can't be loaded.")
    store.living.append(replace(WORKER, id="second"))
    assert await impatient.check("preview", "a-name") == 10, "another worker serves it"
