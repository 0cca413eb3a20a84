"""What the service needs from the outside, as protocols. Adapters implement them."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct

from framegate.core.characters import Character, Portrait
from framegate.core.jobs import Job, JobState
from framegate.core.types import MediaKind, MediaRef


class WorkerInfo(Struct, frozen=True):
    """A living worker process, as it announces itself. ``started_at`` is seconds since the epoch;
    ``problems`` say, a sentence each, what keeps some of its models from running now."""

    id: str
    host: str
    pid: int
    device: str
    version: str
    models: tuple[str, ...]
    started_at: float
    job: str = ""
    problems: tuple[str, ...] = ()


class QueueCounts(Struct, frozen=True):
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def active(self) -> int:
        return self.queued + self.running


class Limits(Struct, frozen=True):
    """How many jobs there may be with a new one: waiting in all, waiting of its owner, and of its owner
    waiting or running. 0 means no limit."""

    max_queued: int = 0
    owner_max_queued: int = 0
    owner_max_active: int = 0


class JobStore(Protocol):
    """The truth about jobs, seen from the API.

    Every method raises `Unavailable` when the store can't be reached.
    """

    async def submit(self, job: Job, *, limits: Limits) -> None:
        """Write ``job`` and its ticket in one step. With the label ``result_name`` set, `find_result_name`
        finds the job by it.

        Raises:
            JobExists, QueueFull, KeyLimitReached: nothing was written.
        """
        ...

    async def get(self, job_id: str) -> Job | None: ...

    async def find_result_name(self, owner: str, name: str) -> str | None:
        """The id of the newest job of ``owner`` whose label ``result_name`` is ``name``."""
        ...

    async def find_shared(self, share_id: str) -> str | None:
        """The id of the job with that share id."""
        ...

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Newest first. ``owner`` None: everybody's; no ``states``: all."""
        ...

    async def queue_position(self, job: Job) -> int | None:
        """How many jobs of its queue will be served before it, plus one; None when it is not queued."""
        ...

    async def counts(self) -> QueueCounts: ...

    async def cancel(self, job_id: str) -> Job | None:
        """Cancel, or ask the job's worker to stop; the job as it is then."""
        ...

    def changes(self, job_id: str) -> AbstractAsyncContextManager[AsyncGenerator[None, None]]:
        """Ticks whenever the job may have changed since the last tick."""
        ...

    async def workers(self) -> Sequence[WorkerInfo]: ...


class ArtifactStore(Protocol):
    """Files by key ("results/abc.mp4"). A file is there whole or not at all."""

    def put(self, source: Path, key: str) -> int:
        """Move the finished file ``source`` to ``key`` durably; its size in bytes."""
        ...

    def path(self, key: str) -> Path | None:
        """A local path from which the file can be read, or None if there is no such file."""
        ...

    def copy(self, key: str, new_key: str) -> None:
        """Make the file ``key`` one by the name ``new_key`` as well: removing one leaves the other.

        Raises:
            NotFound: there is no such file.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the file if it is there."""
        ...

    def workdir(self, name: str) -> Path:
        """A private scratch folder on the store's file system; whoever asked for it removes it."""
        ...


class CharacterStore(Protocol):
    """The truth about characters. Every method raises `Unavailable` when the store can't be reached."""

    async def add(self, character: Character) -> bool:
        """Write it; False, and nothing written, if its username is taken."""
        ...

    async def get(self, username: str) -> Character | None: ...

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        """Newest first. ``owner`` None: everybody's."""
        ...

    async def delete(self, username: str) -> None:
        """Remove the record if it is there."""
        ...


class UrlSource(Struct, frozen=True):
    url: str


class Base64Source(Struct, frozen=True):
    """Raw base64, or a data URI."""

    text: str


class BytesSource(Struct, frozen=True):
    data: bytes


MediaSource: TypeAlias = UrlSource | Base64Source | BytesSource
"""An input as a client gives it."""


class MediaFetcher(Protocol):
    async def take(self, source: MediaSource, kind: MediaKind) -> MediaRef:
        """Fetch, check and store an input.

        Raises:
            InvalidMedia: with what is wrong with it.
        """
        ...

    async def take_frame(self, video: MediaRef, seconds: float) -> MediaRef:
        """Store the frame on show at that time of a stored video as an input picture of its own.

        Raises:
            NotFound: the video is gone.
        """
        ...

    async def portray(self, video: MediaRef, *, start: float, end: float) -> Portrait:
        """Find who (or what) the given seconds of a stored video show, and store their pictures.

        Raises:
            InvalidMedia: the video has no such seconds.
        """
        ...

    def discard(self, ref: MediaRef) -> None:
        """Remove an input that no job came to use."""
        ...
