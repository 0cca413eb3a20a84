"""Watch jobs: each change is read once, for all who watch the job.

The latest state wins: where many jobs change at once, watchers skip states, and what ends a watch or changes
a job's state goes before the progress of others.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice

from framegate.core.errors import Unavailable
from framegate.core.jobs import Job, JobState
from framegate.core.ports import JobStore

PACE_SECONDS = 0.2
"""Between two states of a job that differ in its progress."""
_BATCH = 128
"""The jobs that are read at once, and the watchers that see progress before changes are looked at again."""
_RETRY_SECONDS = 1.0
"""After which jobs that could not be read, as the store was away, are read again."""
_PAUSE = 0.005
"""The seconds between the beginnings of two rounds of reads, so that many changes come together."""


class JobWatches:
    """Read the jobs of ``store`` that are watched, and show them to their watchers."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._jobs: dict[str, _WatchedJob] = {}
        self._changed: dict[str, None] = {}
        self._late: dict[_Watcher, None] = {}  # those that have yet to see progress
        self._rounds: asyncio.Task[None] | None = None
        self._unfollow: Callable[[], None] | None = None

    async def watch(
        self, job_id: str, *, progress: bool = True, again_after: float | None = None
    ) -> AsyncGenerator[Job | None, None]:
        """Yield the job as it is from now on, ending with its final state; None if there is no such job.

        Without ``progress`` only changes of its state count. The state of a job that waits is repeated where
        ``again_after`` seconds bring no other, as its place in the queue may be another one by then.

        Raises:
            FramegateError: Its record can't be read.
            Unavailable: The store can't be reached.
        """
        if self._unfollow is None:
            self._unfollow = self._store.follow(self._note)
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = _WatchedJob()
        watcher = _Watcher(job, progress=progress)
        # What is being read may be older than this call.
        job.joining.add(watcher)
        self._note(job_id)
        try:
            while True:
                found = await watcher.next(again_after)
                yield found
                if found is None or found.state.finished:
                    return
        finally:
            self._late.pop(watcher, None)
            job.leave(watcher)
            if not job.is_watched and self._jobs.get(job_id) is job:
                del self._jobs[job_id]
            if not self._jobs and self._unfollow is not None:
                # A config that is read again has watches of its own, which take the place of these.
                self._unfollow()
                self._unfollow = None

    def _note(self, job_id: str | None) -> None:
        """Note that a job may have changed; None for any of them."""
        if job_id is None:
            self._changed.update(dict.fromkeys(self._jobs))
        elif job_id in self._jobs:
            self._changed[job_id] = None
        self._begin()

    def _note_again(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            self._note(job_id)

    def _begin(self) -> None:
        if self._rounds is None and (self._changed or self._late):
            # In a context of its own: what is logged is no request's.
            self._rounds = asyncio.create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._changed or self._late:
                began = clock()
                for _ in range(0, len(self._changed), _BATCH):
                    await self._read()
                for watcher in list(islice(self._late, _BATCH)):
                    del self._late[watcher]
                    watcher.wake()
                pause = 0.0 if self._late or not self._changed else began + _PAUSE - clock()
                await asyncio.sleep(max(pause, 0.0))
        finally:
            self._rounds = None

    async def _read(self) -> None:
        ids = list(islice(self._changed, _BATCH))
        read: dict[str, _WatchedJob] = {}
        for job_id in ids:
            del self._changed[job_id]
            if job := self._jobs.get(job_id):
                job.begin_read()
                read[job_id] = job
        if not read:
            return
        known = {job_id: job.found if isinstance(job.found, Job) else None for job_id, job in read.items()}
        try:
            found = await self._store.refresh(known)
        except Unavailable as error:  # an outage; those who watch already wait for its end
            again = [job_id for job_id, job in read.items() if job.refuse_joining(error)]
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._note_again, again)
            return
        except Exception as error:  # a watcher raises it
            for job in read.values():
                job.show(error)
            return
        for job_id, job in read.items():
            if job.show(found[job_id]):
                self._pace(job)

    def _pace(self, job: "_WatchedJob") -> None:
        """Let the job's watchers see its progress, at once or when it is time."""
        loop = asyncio.get_running_loop()
        left = job.shown_at + PACE_SECONDS - loop.time()
        if left <= 0:
            self._show_progress(job)
        elif job.timer is None:
            job.timer = loop.call_later(left, self._show_progress, job)

    def _show_progress(self, job: "_WatchedJob") -> None:
        job.timer = None
        job.shown_at = asyncio.get_running_loop().time()
        self._late.update(dict.fromkeys(watcher for watcher in job.watchers if watcher.progress))
        self._begin()


class _WatchedJob:
    """A job, as it was ``found`` last: an error says why it can't be read.

    ``joining`` are the watchers that came after the last read had begun.
    """

    __slots__ = ("_reading", "found", "joining", "shown_at", "timer", "watchers")

    def __init__(self) -> None:
        self.found: Job | Exception | None = None
        self.watchers: set[_Watcher] = set()
        self.joining: set[_Watcher] = set()
        self.shown_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self._reading: set[_Watcher] = set()

    @property
    def is_watched(self) -> bool:
        return bool(self.watchers or self._reading or self.joining)

    def leave(self, watcher: "_Watcher") -> None:
        for group in (self.watchers, self._reading, self.joining):
            group.discard(watcher)
        if not self.is_watched and self.timer is not None:
            self.timer.cancel()

    def begin_read(self) -> None:
        self._reading, self.joining = self.joining, set()

    def refuse_joining(self, error: Exception) -> bool:
        """Let those raise ``error`` who have joined before this read, and return whether others watch."""
        joined, self._reading = self._reading, set()
        for watcher in joined:
            watcher.fail(error)
        return bool(self.watchers)

    def show(self, found: Job | Exception | None) -> bool:
        """Wake whoever is to see at once how the job was found, and return whether others may wait."""
        before, joined = self.found, self._reading
        self._reading = set()
        if found != before:
            self.found = found
        is_progress = found == before or _is_progress(before, found)
        self.watchers |= joined
        if not is_progress:
            self.shown_at = asyncio.get_running_loop().time()
        for watcher in joined if is_progress else self.watchers:
            watcher.wake()
        return is_progress and found != before


class _Watcher:
    __slots__ = ("_error", "_has_news", "_job", "_shown", "_waiting", "progress")

    def __init__(self, job: _WatchedJob, *, progress: bool) -> None:
        self.progress = progress
        self._job = job
        self._has_news = False
        self._error: Exception | None = None
        self._shown: Job | None = None
        self._waiting: asyncio.Future[None] | None = None

    def wake(self) -> None:
        self._has_news = True
        self._end_wait()

    def fail(self, error: Exception) -> None:
        self._error = error
        self.wake()

    async def next(self, again_after: float | None) -> Job | None:
        """Return the job once it has changed, or what was returned last after ``again_after`` seconds."""
        while True:
            if not self._has_news:
                await self._wait(again_after)
            if not self._has_news:
                return self._shown
            self._has_news = False
            if self._error is not None:
                raise self._error
            found = self._job.found
            if isinstance(found, Exception):
                raise found
            if found is None or found is not self._shown:
                self._shown = found
                return found

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        waits = self._shown is not None and self._shown.state == JobState.QUEUED
        timer = loop.call_later(seconds, self._end_wait) if seconds is not None and waits else None
        try:
            await self._waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()

    def _end_wait(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _is_progress(before: Job | Exception | None, found: Job | Exception | None) -> bool:
    return (
        isinstance(before, Job)
        and isinstance(found, Job)
        and not found.state.finished
        and (found.seq, found.state, found.attempt) == (before.seq, before.state, before.attempt)
    )
