"""What the service needs from the outside, as protocols. Adapters implement them."""

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct, field

from framegate.core.characters import Character, Portrait
from framegate.core.jobs import Job, JobState
from framegate.core.types import MediaKind, MediaRef


class WorkerInfo(Struct, frozen=True):
    """A living worker process, as it announces itself. ``started_at`` is seconds since the epoch;
    ``health_findings`` say, a sentence each, what keeps some of its models from running now."""

    id: str
    host: str
    pid: int
    device: str
    version: str
    models: tuple[str, ...]
    started_at: float
    job: str = ""
    health_findings: tuple[str, ...] = field(default=(), name="problems")


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


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """How a submission is known again, so that it makes one job however often it is sent.

    ``key`` names it among its owner's, ``fingerprint`` is a digest of what was asked. It is remembered for
    ``seconds``, and as long as the job's record is there.

    Some clients say only in their second sending that it is one. For them the first has ``repeat`` False: it
    makes a job of its own and leaves its mark for the repeats, but for one case: a repeat that was sent while
    the first was still being read made the job within the last ``age`` seconds.
    """

    key: str
    fingerprint: str = ""
    seconds: int = 86_400
    repeat: bool = True
    age: float = 0.0


class Page(Struct, frozen=True):
    """A part of a list, and whether it goes on."""

    jobs: Sequence[Job]
    has_more: bool


class JobStore(Protocol):
    """The truth about jobs, seen from the API.

    Every method raises `Unavailable` when the store can't be reached.
    """

    async def check_admission(
        self, job_id: str, owner: str, *, limits: Limits, idempotency: IdempotencyKey | None
    ) -> Job | None:
        """What `submit` would say now to a job with this id ("": a new one): it raises the same errors, and
        returns the earlier job that ``idempotency`` names, if there is one. Nothing is written."""
        ...

    async def submit(self, job: Job, *, limits: Limits, idempotency: IdempotencyKey | None = None) -> Job:
        """Write ``job`` and its ticket in one step, and return it; or return the earlier job that
        ``idempotency`` names. `find_by_lookup_label` finds the job by its label
        `framegate.core.jobs.LOOKUP_LABEL`, if it has one.

        Raises:
            JobExists, IdempotencyMismatch, QueueFull, KeyLimitReached: nothing was written.
        """
        ...

    async def get(self, job_id: str) -> Job | None: ...

    async def find_by_lookup_label(self, owner: str, value: str) -> str | None:
        """The id of the newest job of ``owner`` whose label `LOOKUP_LABEL` is ``value``."""
        ...

    async def find_shared(self, share_id: str) -> str | None:
        """The id of the job with that share id."""
        ...

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Newest first. ``owner`` None: everybody's; no ``states``: all."""
        ...

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        """At most ``limit`` jobs of the owner's ``collection``, in the order of their submission, from the
        one that follows the job ``after`` ("": from the first), which may have been removed within the
        last day. None: ``after`` was not in it."""
        ...

    async def queue_position(self, job: Job) -> int | None:
        """How many jobs of its queue will be served before it, plus one; None when it is not queued. No more
        jobs may come, and limits on running jobs are left out of the account."""
        ...

    async def counts(self) -> QueueCounts: ...

    async def cancel(self, job_id: str) -> Job | None:
        """Cancel, or ask the job's worker to stop; the job as it is then."""
        ...

    async def delete(self, job_id: str) -> Job | None:
        """Cancel the job if it has not ended, and take it out of everybody's sight; as it was before. What
        is left of it is removed by `forget`, or else by retention."""
        ...

    async def forget(self, job: Job) -> None:
        """Remove the record of a job that has ended and whose files are gone."""
        ...

    def changes(self, job_id: str) -> AbstractAsyncContextManager[AsyncGenerator[None, None]]:
        """Ticks whenever the job may have changed since the last tick."""
        ...

    async def workers(self) -> Sequence[WorkerInfo]: ...


class ArtifactStore(Protocol):
    """Files by key ("results/abc.mp4"). A file is there whole or not at all.

    Every method may block, and raises `Unavailable` when the store can't be reached.
    """

    def check(self) -> None:
        """Raises:
        Unavailable: files can't be written and read.
        """
        ...

    def put(self, source: Path, key: str) -> int:
        """Move the finished file ``source`` to ``key`` durably; its size in bytes."""
        ...

    def path(self, key: str) -> Path | None:
        """A local path from which the file can be read, or None if there is no such file."""
        ...

    def fetch(self, key: str, folder: Path) -> Path | None:
        """As `path`, for who needs the file for a while: one that has to be brought here comes into
        ``folder``, whose owner removes it."""
        ...

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """A URL at which anybody may ``method`` (GET or HEAD) the file for that long, if the store gives
        files out itself.

        Raises:
            NotFound: it does, and there is no such file.
        """
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
        """A private scratch folder on this host, from which `put` takes files; whoever asked for it removes
        it."""
        ...

    def keys_before(self, moment: float) -> Iterator[str]:
        """The keys of all files that were last written before ``moment`` (seconds since the epoch)."""
        ...

    def clean_up(self, *, unused_for: float) -> None:
        """Remove what is left on this host of processes that were killed, and copies of files that nobody
        used for that many seconds."""
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


class MediaIngest(Protocol):
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
        """Remove an input that no job came to use. May block."""
        ...
