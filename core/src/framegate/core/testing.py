"""For tests of plugins and of Framegate itself: ports in memory, and the contracts that every backend and
every dialect inherits as a class of tests.

A backend's tests::

    class TestPreview(BackendContract):
        spec = PREVIEW

        @pytest.fixture
        def backend(self): return PreviewBackend()

numpy and pytest are imported where they are used, so that importing this module needs neither.
"""

# assertions are what this module is for

import asyncio
import http.client
import itertools
import json
import struct
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from framegate.core import jobs, planning
from framegate.core.backend import Backend, FrameStream
from framegate.core.errors import InvalidMedia, JobCancelled, JobExists, KeyLimitReached, QueueFull
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.models import ModelSpec, fit
from framegate.core.ports import Base64Source, BytesSource, MediaSource, QueueCounts, UrlSource, WorkerInfo
from framegate.core.types import Artifact, GenerationRequest, MediaKind, MediaRef, Shot, Task

if TYPE_CHECKING:
    from framegate.core.backend import Frame


class InMemoryJobStore:
    """A `JobStore` that ends with its process. Its worker's side may be called from any thread."""

    def __init__(self) -> None:
        self.living: list[WorkerInfo] = []
        self._jobs: dict[str, Job] = {}
        self._watchers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._lock = threading.RLock()

    async def submit(self, job: Job, *, max_queued: int, owner_max_queued: int) -> None:
        with self._lock:
            if job.id in self._jobs:
                raise JobExists(f"There is a job with the id {job.id} already.", param="job_id")
            waiting = [other for other in self._jobs.values() if other.state == JobState.QUEUED]
            if max_queued and len(waiting) >= max_queued:
                raise QueueFull(f"The queue is full ({max_queued} jobs).", limit=max_queued)
            own = sum(other.owner == job.owner for other in waiting)
            if owner_max_queued and own >= owner_max_queued:
                raise KeyLimitReached(f"This key has {own} jobs waiting; {owner_max_queued} are allowed.")
            self._jobs[job.id] = job

    async def get(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    async def find_result_name(self, owner: str, name: str) -> str | None:
        with self._lock:
            for job in reversed(self._jobs.values()):
                if job.owner == owner and job.labels.get("result_name") == name:
                    return job.id
        return None

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        with self._lock:
            found = [
                job
                for job in reversed(self._jobs.values())
                if (owner is None or job.owner == owner) and (not states or job.state in states)
            ]
        return found[:limit]

    async def queue_position(self, job: Job) -> int | None:
        with self._lock:
            waiting = [other.id for other in self._queued() if other.queue == job.queue]
        return waiting.index(job.id) + 1 if job.id in waiting else None

    async def counts(self) -> QueueCounts:
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return QueueCounts(*(states.count(state) for state in JobState))

    async def cancel(self, job_id: str) -> Job | None:
        with self._lock:
            if job_id not in self._jobs:
                return None
            return self._change(jobs.request_cancel(self._jobs[job_id], time.time()))

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
        """The longest waiting job that its owner's limit lets run."""
        with self._lock:
            for job in self._queued():
                running = sum(
                    other.owner == job.owner and other.state == JobState.RUNNING
                    for other in self._jobs.values()
                )
                if not job.max_running or running < job.max_running:
                    return self._change(jobs.claim(job, worker, time.time()))
        return None

    def advance(self, job_id: str, progress: float, message: str = "") -> Job:
        with self._lock:
            job = self._jobs[job_id]
            return self._change(jobs.advance(job, job.attempt, progress, message))

    def succeed(self, job_id: str, *artifacts: Artifact) -> Job:
        with self._lock:
            job = self._jobs[job_id]
            return self._change(jobs.succeed(job, job.attempt, artifacts, time.time()))

    def fail(self, job_id: str, error: JobError) -> Job:
        with self._lock:
            job = self._jobs[job_id]
            return self._change(jobs.fail(job, job.attempt, error, time.time()))

    def leave(self, job_id: str) -> Job:
        with self._lock:
            job = self._jobs[job_id]
            return self._change(jobs.leave(job, job.attempt, time.time()))

    def forget(self, job_id: str) -> None:
        with self._lock:
            self._jobs.pop(job_id, None)
            self._tick(job_id)

    def _queued(self) -> Iterator[Job]:
        return (job for job in list(self._jobs.values()) if job.state == JobState.QUEUED)

    def _change(self, job: Job) -> Job:
        self._jobs[job.id] = job
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

    def put(self, source: Path, key: str) -> int:
        target = self._folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return target.stat().st_size

    def path(self, key: str) -> Path | None:
        path = self._folder / key
        return path if path.is_file() else None

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def workdir(self, name: str) -> Path:
        folder = self._folder / "work" / f"{name}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder


class StaticMediaFetcher:
    """A `MediaFetcher` that looks at nothing: every source becomes a picture or video of the given size, but
    for those in ``broken`` (URLs or texts)."""

    def __init__(self, width: int = 640, height: int = 480, broken: Collection[str] = ()) -> None:
        self.taken: list[MediaSource] = []
        self.discarded: list[MediaRef] = []
        self._size = width, height
        self._broken = broken

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

    def discard(self, ref: MediaRef) -> None:
        self.discarded.append(ref)


class RecordingContext:
    """A `GenerationContext` that keeps what is reported; after ``cancel_after`` reports it is cancelled."""

    def __init__(
        self,
        workdir: Path,
        *,
        image: Path | None = None,
        last_image: Path | None = None,
        video: Path | None = None,
        cancel_after: int | None = None,
    ) -> None:
        self.reports: list[tuple[int, int, str]] = []
        self.workdir = workdir
        self.image = image
        self.last_image = last_image
        self.video = video
        self._cancel_after = cancel_after

    def report(self, step: int, total: int, message: str = "") -> None:
        self.reports.append((step, total, message))
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if self._cancel_after is not None and len(self.reports) >= self._cancel_after:
            raise JobCancelled


def gradient_png(path: Path, width: int = 96, height: int = 64) -> Path:
    """Write a small picture without a picture library."""
    rows = b"".join(
        b"\0" + b"".join(bytes((255 * x // width, 255 * y // height, 128)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


class BackendContract:
    """What every backend promises. A subclass sets ``spec`` and gives a fixture ``backend`` (not loaded);
    one for video-to-video also overrides `source_video`. ``request_values`` keep the tests small and fast."""

    spec: ClassVar[ModelSpec]
    device: ClassVar[str] = "cpu"
    request_values: ClassVar[Mapping[str, Any]] = {"width": 96, "height": 64, "num_inference_steps": 2}

    def source_video(self, folder: Path) -> Path:
        raise NotImplementedError("video-to-video is among the tasks: override source_video")

    def test_gives_what_the_shot_asks_for(self, backend: Backend, tmp_path: Path) -> None:
        backend.load(self.device)
        for task in sorted(self.spec.tasks):
            shot = self.shot(task)
            frames = self.frames(backend, shot, tmp_path)
            assert len(frames) == shot.num_frames, task
            for frame in frames:
                assert frame.shape == (shot.height, shot.width, 3), task
                assert frame.dtype == "uint8", task

    def test_the_same_seed_gives_the_same(self, backend: Backend, tmp_path: Path) -> None:
        import numpy as np

        backend.load(self.device)
        for task in sorted(self.spec.tasks):
            first, again = (self.frames(backend, self.shot(task, seed=7), tmp_path) for _ in range(2))
            assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True)), task

    def test_another_seed_gives_something_else(self, backend: Backend, tmp_path: Path) -> None:
        import numpy as np

        backend.load(self.device)
        for task in sorted(self.spec.tasks & {Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO}):
            one, other = (self.frames(backend, self.shot(task, seed=seed), tmp_path) for seed in (1, 2))
            assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)), task

    def test_a_cancelled_job_is_left(self, backend: Backend, tmp_path: Path) -> None:
        import pytest

        backend.load(self.device)
        for task in sorted(self.spec.tasks):
            with pytest.raises(JobCancelled):
                self.frames(backend, self.shot(task), tmp_path, cancel_after=1)

    def test_loads_again_after_unloading(self, backend: Backend, tmp_path: Path) -> None:
        backend.load(self.device)
        backend.unload()
        backend.load(self.device)
        shot = self.shot(min(self.spec.tasks))
        assert len(self.frames(backend, shot, tmp_path)) == shot.num_frames

    def shot(self, task: Task, seed: int = 0) -> Shot:
        """The first shot of a small request for ``task``."""
        still = MediaRef(MediaKind.IMAGE, "image", 96, 64)
        film = MediaRef(MediaKind.VIDEO, "video", 96, 64, num_frames=9, fps=8.0)
        request = GenerationRequest(
            model=self.spec.id,
            task=task,
            prompt="a red ball on a green field",
            num_frames=self.spec.frames.at_least(9) if task.output == MediaKind.VIDEO else None,
            image=still if task in (Task.IMAGE_TO_IMAGE, Task.IMAGE_TO_VIDEO) else None,
            video=film if task == Task.VIDEO_TO_VIDEO else None,
            **self.request_values,
        )
        return planning.plan(self.spec, fit(self.spec, request), seed)[0]

    def frames(
        self, backend: Backend, shot: Shot, folder: Path, cancel_after: int | None = None
    ) -> "list[Frame]":
        """All pictures that the backend makes of ``shot``. A backend that hands over finished files
        overrides this to decode them."""
        context = RecordingContext(
            folder,
            image=gradient_png(folder / "image.png") if "image-to" in shot.task else None,
            video=self.source_video(folder) if shot.task == Task.VIDEO_TO_VIDEO else None,
            cancel_after=cancel_after,
        )
        output = backend.generate(shot, context)
        assert isinstance(output, FrameStream), "override frames() to decode finished files"
        return list(output.frames)


class DialectContract:
    """What every dialect promises about bad requests. A subclass gives a fixture ``base_url`` (its prefix
    included), says what its error bodies look like, and names its requests."""

    posts: ClassVar[Sequence[str]]
    """Paths that take a JSON body by POST."""
    unknown_path: ClassVar[str] = "/no/such/path"
    """A path below the dialect's own that it does not have."""
    api_key: ClassVar[str] = ""
    """A valid key, if the server has any."""

    def is_error_body(self, body: Any) -> bool:
        raise NotImplementedError

    def test_unknown_path(self, base_url: str) -> None:
        self.refused(base_url, "GET", self.unknown_path, statuses=(404,))

    def test_wrong_method(self, base_url: str) -> None:
        for path in self.posts:
            self.refused(base_url, "PUT", path, b"{}", statuses=(405,))

    def test_malformed_bodies(self, base_url: str) -> None:
        bodies = [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"prompt": NaN}',
            b'{"prompt": "\xff\xfe"}',
            b'{"prompt": 1e999}',
        ]
        for path, body in itertools.product(self.posts, bodies):
            self.refused(base_url, "POST", path, body)

    def test_deep_nesting(self, base_url: str) -> None:
        for path in self.posts:
            for body in (
                b"[" * 10_000 + b"]" * 10_000,
                b'{"prompt": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
            ):
                self.refused(base_url, "POST", path, body)

    def test_keys(self, base_url: str) -> None:
        if not self.api_key:
            return
        for path, key in itertools.product(
            self.posts, ("", "Bearer wrong", "Basic YTpi", f"Bearer {self.api_key}x")
        ):
            self.refused(base_url, "POST", path, b"{}", statuses=(401,), authorization=key)

    def refused(
        self,
        base_url: str,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        statuses: Collection[int] = range(400, 500),
        authorization: str | None = None,
    ) -> Any:
        """Send a request that must be refused with one of ``statuses`` and in the dialect's own body, which
        is returned."""
        parts = urlsplit(base_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {"Content-Type": "application/json"}
        if authorization is None and self.api_key:
            authorization = f"Bearer {self.api_key}"
        if authorization:
            headers["Authorization"] = authorization
        try:
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        shown = f"{method} {path} {(body or b'')[:40]!r}: {response.status} {text[:300]!r}"
        assert response.status in statuses, shown
        answer = json.loads(text)
        assert self.is_error_body(answer), shown
        return answer
