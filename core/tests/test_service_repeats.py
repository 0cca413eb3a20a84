"""Submissions that are sent again."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from framegate.core import availability
from framegate.core.errors import (
    IdempotencyMismatch,
    InvalidMedia,
    InvalidRequest,
    KeyLimitReached,
    NoWorker,
    StorageFull,
    Unavailable,
)
from framegate.core.ports import FileSource, IdempotencyKey
from framegate.core.types import MediaKind, MediaRef, Task
from tests.support.service_stand import BOB, BROKEN, PICTURE, ServiceStand


@pytest.fixture
def stand(tmp_path: Path) -> ServiceStand:
    return ServiceStand(tmp_path)


async def test_a_repeat_is_given_the_first_job_and_fetches_nothing(stand: ServiceStand) -> None:
    once = IdempotencyKey(key="k", fingerprint="boat")
    first = await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=once)
    again = await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=once)
    assert (again, len(stand.media.taken)) == (first, 1)
    other = IdempotencyKey(key="k", fingerprint="tree")
    with pytest.raises(IdempotencyMismatch):
        await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=other)
    bobs = await stand.submit(idempotency=once, client=BOB)
    assert bobs.id != first.id


def retry(count: int) -> IdempotencyKey:
    return IdempotencyKey(key="k", repeat=count > 0, retries=count)


async def test_what_a_client_retries_is_counted_as_refused(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "MAX_AGE_SECONDS", 0.0)
    first = await stand.submit(idempotency=retry(0))
    with monkeypatch.context() as patch:
        patch.setattr(stand.store, "living", [])
        await stand.refused(NoWorker, idempotency=retry(0))
    second = await stand.submit(idempotency=retry(1))
    assert second.id != first.id
    for error in (StorageFull("No room."), Unavailable("No bucket."), OSError("unforeseen")):

        async def broken(*_: Any, owner: str, error: Exception = error) -> MediaRef:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(stand.media, "ingest", broken)
            await stand.refused(type(error), task=Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=retry(0))
        made = await stand.submit(idempotency=retry(1))
        assert made.id not in (first.id, second.id)


async def test_what_no_client_retries_is_not_counted(stand: ServiceStand) -> None:
    first = await stand.submit(idempotency=retry(0))
    await stand.refused(InvalidMedia, task=Task.IMAGE_TO_VIDEO, image=BROKEN, idempotency=retry(0))
    await stand.refused(InvalidRequest, prompt=" ", idempotency=retry(0))
    assert await stand.submit(idempotency=retry(1)) == first


async def test_a_refusal_that_cant_be_counted_is_answered_all_the_same(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise Unavailable("The queue can't be reached.")

    monkeypatch.setattr(stand.store, "count_refusal", away)
    with monkeypatch.context() as patch:
        patch.setattr(stand.store, "living", [])
        await stand.refused(NoWorker, idempotency=retry(0))
    monkeypatch.setattr(stand.store, "submit", away)
    await stand.refused(Unavailable, idempotency=retry(0))


async def test_equal_submissions_at_once_make_one_job_and_keep_one_input(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest, all_here = stand.media.ingest, asyncio.Barrier(5)

    async def together(source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        await all_here.wait()
        return await ingest(source, kind, owner=owner)

    monkeypatch.setattr(stand.media, "ingest", together)
    jobs = await asyncio.gather(
        *(
            stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=IdempotencyKey(key="k"))
            for _ in range(5)
        )
    )
    assert len({job.id for job in jobs}) == 1
    assert len(stand.media.taken) == 5
    kept = {ref.key for job in jobs for ref in job.inputs}
    assert kept.isdisjoint(ref.key for ref in stand.media.discarded)
    assert len(stand.media.discarded) == 4


async def test_what_a_client_gave_up_and_retries_is_new_work(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no repetition of an earlier, equal submission, whose job it would be given otherwise."""
    first = await stand.submit(idempotency=retry(0))
    fetching = asyncio.Event()

    async def endless(*_: Any, owner: str) -> MediaRef:
        fetching.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody waits for that long")

    with monkeypatch.context() as patch:
        patch.setattr(stand.media, "ingest", endless)
        leaving = asyncio.create_task(stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=retry(0)))
        await fetching.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
    again = await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=retry(1))
    assert again.id != first.id


async def test_a_client_with_too_many_files_to_decode_is_refused_and_may_retry(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await stand.submit(idempotency=retry(0))

    async def busy(*_: Any, owner: str) -> MediaRef:
        raise KeyLimitReached("32 of your files are waiting to be decoded.")

    with monkeypatch.context() as patch:
        patch.setattr(stand.media, "ingest", busy)
        await stand.refused(KeyLimitReached, task=Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=retry(0))
    again = await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, idempotency=retry(1))
    assert again.id != first.id


async def test_a_store_that_is_away_is_asked_once(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for the answer would else wait for as many time limits."""
    asked = AsyncMock(side_effect=Unavailable("The queue can't be reached."))
    for name in ("worker_presence", "model_paces", "check_admission", "submit"):
        monkeypatch.setattr(stand.store, name, asked)
    stand = ServiceStand(stand.folder, store=stand.store)
    with pytest.raises(Unavailable):
        await stand.submit()
    assert asked.await_count == 1
