"""What those who watch jobs see, and in which order."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing

import pytest

from framegate.core import job_watches
from framegate.core.errors import FramegateError, Unavailable
from framegate.core.job_watches import JobWatches
from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.testing import InMemoryJobStore
from tests.support.sample_jobs import make_job

MANY = 400


class SlowStore(InMemoryJobStore):
    """Answers what was true when it was asked, once `answers` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()
        self.error: Exception | None = None

    async def refresh(self, jobs: Mapping[str, Job | None]) -> Mapping[str, Job | FramegateError | None]:
        found = await super().refresh(jobs)
        self.asked.set()
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return found


async def state_of(states: AsyncGenerator[Job | None, None]) -> tuple[JobState, float]:
    async with asyncio.timeout(60):
        job = await anext(states)
    assert job is not None
    return job.state, job.progress


async def running(store: InMemoryJobStore, *names: str) -> None:
    for name in names:
        await store.submit(make_job(name), limits=Limits())
        store.claim_next(f"worker of {name}")


async def test_the_end_of_a_job_goes_before_the_progress_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_watches, "PACE_SECONDS", 0.0)
    store = InMemoryJobStore()
    names = [f"j{number}" for number in range(MANY)]
    await running(store, *names)
    watches, seen = JobWatches(store), list[tuple[str, JobState]]()

    async def follow(name: str, started: asyncio.Barrier) -> None:
        async with aclosing(watches.watch(name)) as states:
            await state_of(states)
            await started.wait()
            seen.append((name, (await state_of(states))[0]))

    started = asyncio.Barrier(MANY + 1)
    following = [asyncio.create_task(follow(name, started)) for name in names]
    await started.wait()
    for name in names[:-1]:
        store.advance(name, 0.5)
    store.succeed(names[-1])
    await asyncio.gather(*following)
    assert seen[0] == (names[-1], JobState.SUCCEEDED)
    assert len(seen) == MANY


async def test_who_waits_for_the_end_alone_is_not_woken_by_progress() -> None:
    store = InMemoryJobStore()
    await running(store, "a")
    async with aclosing(JobWatches(store).watch("a", progress=False)) as states:
        assert await state_of(states) == (JobState.RUNNING, 0.0)
        ending = asyncio.create_task(state_of(states))
        for step in range(5):
            store.advance("a", step / 10)
            await asyncio.sleep(0.001)
        assert not ending.done()
        store.succeed("a")
        assert await ending == (JobState.SUCCEEDED, 1.0)


async def test_a_watcher_never_sees_what_was_before_it_came() -> None:
    store = SlowStore()
    await running(store, "a")
    watches = JobWatches(store)
    async with AsyncExitStack() as stack:
        early = await stack.enter_async_context(aclosing(watches.watch("a")))
        late = await stack.enter_async_context(aclosing(watches.watch("a")))
        assert await state_of(early) == (JobState.RUNNING, 0.0)
        store.answers.clear()
        store.asked.clear()
        store.advance("a", 0.5)
        await store.asked.wait()  # what it answers is from now
        store.succeed("a")
        joining = asyncio.create_task(state_of(late))
        await asyncio.sleep(0.01)
        store.answers.set()
        assert (await joining)[0] == JobState.SUCCEEDED


async def test_a_waiting_job_is_shown_again_and_a_running_one_is_not() -> None:
    store = InMemoryJobStore()
    await store.submit(make_job("a"), limits=Limits())
    async with aclosing(JobWatches(store).watch("a", again_after=0.01)) as states:
        for _ in range(3):
            assert await state_of(states) == (JobState.QUEUED, 0.0)
        store.claim_next("w")
        while (await state_of(states))[0] == JobState.QUEUED:
            pass
        again = asyncio.create_task(state_of(states))
        await asyncio.sleep(0.05)
        assert not again.done()
        store.succeed("a")
        assert (await again)[0] == JobState.SUCCEEDED


async def test_an_outage_ends_the_watches_of_those_who_asked_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others are read again, also if they would have been read together."""
    monkeypatch.setattr(job_watches, "_RETRY_SECONDS", 0.01)
    store = SlowStore()
    await running(store, "a", "b")
    watches = JobWatches(store)
    async with aclosing(watches.watch("b")) as quiet:
        await state_of(quiet)
        store.error = Unavailable("The queue is away.")
        store.succeed("b")
        async with aclosing(watches.watch("a")) as states, aclosing(watches.watch("b")) as late:
            for asking in (states, late):
                with pytest.raises(Unavailable):
                    await state_of(asking)
        waiting = asyncio.create_task(state_of(quiet))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        store.error = None
        async with aclosing(watches.watch("a")) as states:
            assert await state_of(states) == (JobState.RUNNING, 0.0)
        assert (await waiting)[0] == JobState.SUCCEEDED


async def test_nothing_is_kept_of_watches_that_have_ended() -> None:
    store = InMemoryJobStore()
    await running(store, "a")
    watches = JobWatches(store)
    async with aclosing(watches.watch("a")) as states:
        await state_of(states)
        store.advance("a", 0.5)
        await asyncio.sleep(0.01)
    async with aclosing(watches.watch("missing")) as states:
        assert await anext(states) is None
        assert [left async for left in states] == []
    assert not watches._jobs  # pyright: ignore[reportPrivateUsage]
    assert not store._followers  # pyright: ignore[reportPrivateUsage]
