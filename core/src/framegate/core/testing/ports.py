"""The service's ports in memory."""

import asyncio
import itertools
import shutil
import threading
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from framegate.core.characters import Character, Portrait
from framegate.core.errors import (
    IdempotencyMismatch,
    InvalidMedia,
    JobExists,
    KeyLimitReached,
    NotFound,
    QueueFull,
)
from framegate.core.jobs import LOOKUP_LABEL, Job, JobError, JobState
from framegate.core.ports import (
    ArtifactStore,
    Base64Source,
    BytesSource,
    IdempotencyKey,
    Limits,
    MediaSource,
    Page,
    QueueCounts,
    UrlSource,
    WorkerInfo,
)
from framegate.core.testing import scheduling, transitions
from framegate.core.types import Artifact, MediaKind, MediaRef

PLACE_SECONDS = 86_400
"""How long a page may be asked for by a job that was removed."""


class InMemoryJobStore:
    """A `JobStore` that ends with its process. Its worker's side may be called from any thread."""

    def __init__(self) -> None:
        self.living: list[WorkerInfo] = []
        self._jobs: dict[str, Job] = {}
        self._deleted: dict[str, Job] = {}  # those that a worker still runs
        self._marks: dict[tuple[str, str], tuple[IdempotencyKey, str, float]] = {}
        self._places: dict[str, int] = {}
        self._removed: dict[str, tuple[Job, float]] = {}
        self._served: dict[scheduling.Turn, int] = {}
        self._turns = itertools.count(1)
        self._numbers = itertools.count(1)
        self._watchers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._lock = threading.RLock()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs that can be found, in the order of their submission."""
        with self._lock:
            return tuple(self._jobs.values())

    async def check_admission(
        self, job_id: str, owner: str, *, limits: Limits, idempotency: IdempotencyKey | None
    ) -> Job | None:
        with self._lock:
            if job_id in self._jobs or job_id in self._deleted:
                raise JobExists(f"There is a job with the id {job_id} already.", param="job_id")
            if idempotency and (earlier := self._earlier(owner, idempotency)):
                return earlier
            waiting = self._queued()
            most = limits.max_queued
            if most and len(waiting) >= most:
                raise QueueFull(f"The queue is full ({most} jobs).", limit=most)
            own = sum(job.owner == owner for job in waiting)
            if limits.owner_max_queued and own >= limits.owner_max_queued:
                raise KeyLimitReached(f"This key has {limits.owner_max_queued} jobs waiting.")
            active = own + sum(job.owner == owner for job in self._running())
            if limits.owner_max_active and active >= limits.owner_max_active:
                raise KeyLimitReached(f"This key has {limits.owner_max_active} jobs at once.")
            return None

    def _earlier(self, owner: str, idempotency: IdempotencyKey) -> Job | None:
        mark, job_id, made_at = self._marks.get((owner, idempotency.key), (None, "", 0.0))
        age = time.time() - made_at
        if mark is None or age > mark.seconds or job_id not in self._jobs:
            return None
        if not idempotency.repeat and not (mark.repeat and age <= idempotency.age):
            return None
        if mark.fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch("This idempotency key was used for another request.")
        return self._jobs[job_id]

    async def submit(self, job: Job, *, limits: Limits, idempotency: IdempotencyKey | None = None) -> Job:
        with self._lock:
            if earlier := await self.check_admission(
                job.id, job.owner, limits=limits, idempotency=idempotency
            ):
                return earlier
            if idempotency:
                self._marks[job.owner, idempotency.key] = idempotency, job.id, time.time()
            self._jobs[job.id] = job
            self._places[job.id] = next(self._numbers)
            return job

    async def get(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    async def find_by_lookup_label(self, owner: str, value: str) -> str | None:
        with self._lock:
            for job in reversed(self._jobs.values()):
                if job.owner == owner and job.labels.get(LOOKUP_LABEL) == value:
                    return job.id
        return None

    async def find_shared(self, share_id: str) -> str | None:
        with self._lock:
            return next((job.id for job in self._jobs.values() if job.share_id == share_id), None)

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        with self._lock:
            found = [
                job
                for job in reversed(self._jobs.values())
                if (owner is None or job.owner == owner) and (not states or job.state in states)
            ]
        return found[:limit]

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        with self._lock:
            found = [o for o in self._jobs.values() if (o.owner, o.collection) == (owner, collection)]
            if newest_first:
                found.reverse()
            if after:
                cursor = self._cursor(after)
                if cursor is None or (cursor.owner, cursor.collection) != (owner, collection):
                    return None
                place = self._places[after]
                found = [
                    job for job in found if job.id != after and (self._places[job.id] < place) == newest_first
                ]
        return Page(found[:limit], len(found) > limit)

    def _cursor(self, job_id: str) -> Job | None:
        if job := self._jobs.get(job_id):
            return job
        removed, at = self._removed.get(job_id, (None, 0.0))
        return removed if time.time() - at < PLACE_SECONDS else None

    async def queue_position(self, job: Job) -> int | None:
        with self._lock:
            waiting = self._queued()
            if job.id not in [other.id for other in waiting]:
                return None
            return scheduling.position(job, waiting, self._served)

    async def counts(self) -> QueueCounts:
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return QueueCounts(*(states.count(state) for state in JobState))

    async def cancel(self, job_id: str) -> Job | None:
        with self._lock:
            if job_id not in self._jobs:
                return None
            return self._change(transitions.request_cancel(self._jobs[job_id], time.time()))

    async def delete(self, job_id: str) -> Job | None:
        with self._lock:
            job = self._removed_job(job_id)
            if job is not None and job.state == JobState.RUNNING:
                self._deleted[job_id] = transitions.request_cancel(job, time.time())
            self._tick(job_id)
            return job

    async def forget(self, job: Job) -> None:
        with self._lock:
            self._removed_job(job.id)
            self._tick(job.id)

    def _removed_job(self, job_id: str) -> Job | None:
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._removed[job_id] = job, time.time()
        return job

    @asynccontextmanager
    async def changes(self, job_id: str) -> "AsyncGenerator[AsyncGenerator[None, None]]":
        watcher = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._watchers.setdefault(job_id, set()).add(watcher)

        async def ticks() -> AsyncGenerator[None, None]:
            while True:
                await watcher[1].wait()
                watcher[1].clear()
                yield

        ticking = ticks()
        try:
            yield ticking
        finally:
            await ticking.aclose()
            with self._lock:
                self._watchers[job_id].discard(watcher)

    async def workers(self) -> Sequence[WorkerInfo]:
        return list(self.living)

    # The worker's side.

    def claim_next(self, worker: str) -> Job | None:
        """The next job of the first queue in which one may run."""
        with self._lock:
            waiting = self._queued()
            models = {job.served_by for job in waiting}
            for queue in dict.fromkeys(job.queue for job in waiting):
                job = scheduling.next_job(waiting, self._running(), self._served, queue, models)
                if job is not None:
                    self._served[scheduling.scheduling_key(job)] = next(self._turns)
                    return self._change(transitions.claim(job, worker, time.time()))
        return None

    def advance(self, job_id: str, progress: float, message: str = "") -> Job:
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.advance(job, job.attempt, progress, message))

    def succeed(self, job_id: str, *artifacts: Artifact) -> Job:
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.succeed(job, job.attempt, artifacts, time.time()))

    def fail(self, job_id: str, error: JobError) -> Job:
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.fail(job, job.attempt, error, time.time()))

    def leave(self, job_id: str) -> Job:
        with self._lock:
            job = self._known(job_id)
            return self._change(transitions.leave(job, job.attempt, time.time()))

    def _queued(self) -> Sequence[Job]:
        return [job for job in self._jobs.values() if job.state == JobState.QUEUED]

    def _running(self) -> Sequence[Job]:
        known = (*self._jobs.values(), *self._deleted.values())
        return [job for job in known if job.state == JobState.RUNNING]

    def _known(self, job_id: str) -> Job:
        return self._deleted[job_id] if job_id in self._deleted else self._jobs[job_id]

    def _change(self, job: Job) -> Job:
        kept = self._deleted if job.id in self._deleted else self._jobs
        kept[job.id] = job
        if job.state.finished:
            self._deleted.pop(job.id, None)
        self._tick(job.id)
        return job

    def _tick(self, job_id: str) -> None:
        for loop, event in self._watchers.get(job_id, ()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


class InMemoryArtifactStore:
    """An `ArtifactStore` that trusts its folder: no syncing, no cleaning up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def check(self) -> None:
        return

    def put(self, source: Path, key: str) -> int:
        target = self._folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return target.stat().st_size

    def path(self, key: str) -> Path | None:
        path = self._folder / key
        return path if path.is_file() else None

    def fetch(self, key: str, folder: Path) -> Path | None:
        return self.path(key)

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        return None

    def copy(self, key: str, new_key: str) -> None:
        if self.path(key) is None:
            raise NotFound("There is no such file.")
        target = self._folder / new_key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._folder / key, target)

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def workdir(self, name: str) -> Path:
        folder = self._folder / "work" / f"{name}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder

    def keys_before(self, moment: float) -> Iterator[str]:
        for path in self._folder.rglob("*"):
            key = path.relative_to(self._folder).as_posix()
            if path.is_file() and not key.startswith("work/") and path.stat().st_mtime < moment:
                yield key

    def clean_up(self, *, unused_for: float) -> None:
        return


class InMemoryCharacterStore:
    """A `CharacterStore` that ends with its process."""

    def __init__(self) -> None:
        self._characters: dict[str, Character] = {}

    async def add(self, character: Character) -> bool:
        return self._characters.setdefault(character.username, character) is character

    async def get(self, username: str) -> Character | None:
        return self._characters.get(username)

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        return [c for c in reversed(self._characters.values()) if owner is None or c.owner == owner]

    async def delete(self, username: str) -> None:
        self._characters.pop(username, None)


class StaticMediaIngest:
    """A `MediaIngest` that looks at nothing: every source becomes a picture or video of the given size, but
    for those in ``broken`` (URLs or texts). Pictures that it takes out of videos are empty files in
    ``artifacts``, if it is given."""

    def __init__(
        self,
        width: int = 640,
        height: int = 480,
        broken: Collection[str] = (),
        artifacts: ArtifactStore | None = None,
    ) -> None:
        self.taken: list[MediaSource] = []
        self.discarded: list[MediaRef] = []
        self._size = width, height
        self._broken = broken
        self._artifacts = artifacts

    async def take(self, source: MediaSource, kind: MediaKind) -> MediaRef:
        match source:
            case BytesSource():
                named = ""
            case Base64Source():
                named = source.text
            case UrlSource():
                named = source.url
        if named and named in self._broken:
            raise InvalidMedia("The picture can't be read.")
        self.taken.append(source)
        width, height = self._size
        num_frames, fps = (48, 24.0) if kind == MediaKind.VIDEO else (1, 0.0)
        return MediaRef(kind, f"inputs/{len(self.taken)}", width, height, num_frames, fps)

    async def take_frame(self, video: MediaRef, seconds: float) -> MediaRef:
        return self._picture(f"inputs/{video.key}@{seconds:g}", video)

    async def portray(self, video: MediaRef, *, start: float, end: float) -> Portrait:
        length = video.num_frames / video.fps
        if start >= length:
            raise InvalidMedia(f"The video is {length:g} s long.", param="timestamps")
        stem = f"characters/{video.key}@{start:g}-{end:g}"
        return Portrait(self._picture(f"{stem}-avatar", video).key, self._picture(stem, video))

    def discard(self, ref: MediaRef) -> None:
        self.discarded.append(ref)
        if self._artifacts is not None:
            self._artifacts.delete(ref.key)

    def _picture(self, key: str, video: MediaRef) -> MediaRef:
        if self._artifacts is not None:
            path = self._artifacts.workdir("picture") / "picture"
            path.touch()
            self._artifacts.put(path, key)
        return MediaRef(MediaKind.IMAGE, key, video.width, video.height)
