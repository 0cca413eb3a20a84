"""What the services need from outside, as protocols that adapters implement."""

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct, field

from framegate.core.characters import Character, Portrait
from framegate.core.jobs import Job, JobState
from framegate.core.keys import StoredKey, StoredKeys
from framegate.core.types import MediaKind, MediaRef, Variant


class WorkerInfo(Struct, frozen=True):
    """A live worker process, as it announces itself.

    ``started_at`` is seconds since the epoch; ``health_findings`` are sentences that say what currently keeps
    some of its models from running.
    """

    id: str
    host: str
    pid: int
    device: str
    version: str
    models: tuple[str, ...]
    started_at: float
    job: str = ""
    health_findings: tuple[str, ...] = field(default=(), name="problems")


class WorkerPresence(Struct, frozen=True):
    """The live workers, and how many seconds ago each model was last served by one that was alive.

    Models of live workers were seen 0 s ago; those that were never or long not served are missing.
    """

    workers: Sequence[WorkerInfo]
    last_seen: Mapping[str, float]


class QueueCounts(Struct, frozen=True):
    """How many jobs there are of each state."""

    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def active(self) -> int:
        """How many are queued or running."""
        return self.queued + self.running


class Limits(Struct, frozen=True):
    """How many jobs there may be, the new one included. 0 means no limit.

    Attributes:
        max_queued: Waiting in all.
        owner_max_queued: Waiting of the new job's owner.
        owner_max_active: Waiting or running of the new job's owner.
        owner_max_stored: Bytes that the owner's jobs and characters may keep, the new job's inputs included.
            Results come later and are not foreseen, so what they exceed it by refuses the next job.
    """

    max_queued: int = 0
    owner_max_queued: int = 0
    owner_max_active: int = 0
    owner_max_stored: int = 0


class CharacterLimits(Struct, frozen=True):
    """How much an owner may keep, a new character included. 0 means no limit.

    Attributes:
        max_characters: Characters; temporary ones don't count.
        max_stored: Bytes, together with those of the owner's jobs.
    """

    max_characters: int = 0
    max_stored: int = 0


NO_CHARACTER_LIMITS = CharacterLimits()


class Rate(Struct, frozen=True):
    """How many requests may come.

    Attributes:
        per_minute: Within any minute; at least 1.
        burst: Of these within one second; 0 means any number.
    """

    per_minute: int
    burst: int = 0


class RateLease(Struct, frozen=True):
    """Requests that a process may let through.

    ``granted`` is their number. If it is 0, ``retry_after`` says in how many seconds there is one again.
    """

    granted: int
    retry_after: float = 0.0


class RateStore(Protocol):
    """The rates that all API processes keep together."""

    async def lease(self, name: str, rate: Rate, wanted: int) -> RateLease:
        """Lease at most ``wanted`` of the requests that ``name`` may still send.

        They count from now on, whether they come or not. What is left is shared out ever more sparingly, so
        that one process does not keep what another could use.

        Raises:
            Unavailable: The store can't be reached.
        """
        ...


class IdempotencyKey(Struct, frozen=True, kw_only=True):
    """How a repeated submission is recognised, so that it makes one job however often it is sent.

    Some clients mark only the repetitions as such. Their first submission has ``repeat`` False: it makes a
    new job and is remembered for the repetitions. The exception is a repetition that overtook it: if that has
    made the job later than ``since``, the first submission is given the same job.

    Of those clients some count their retries, and send a refused submission again just like one whose answer
    was lost. So each refusal is counted: a retry uses up one and is new work, or, if there is none, is given
    the newest job that no retry with its count has been given yet.

    Attributes:
        key: Its name among its owner's keys.
        fingerprint: A digest of the request.
        seconds: How long it is remembered; no longer than the job's record exists.
        repeat: Whether this submission may be a repetition.
        retries: How often the client has sent it before; None if it does not count its retries.
        since: When the reading of this submission began, by `time.monotonic`.
        call: The name of this one submission, by which its refusal is counted only once.
    """

    key: str
    fingerprint: str = ""
    seconds: int = 86_400
    repeat: bool = True
    retries: int | None = None
    since: float = field(default_factory=time.monotonic)
    call: str = field(default_factory=lambda: uuid.uuid4().hex)


class Page(Struct, frozen=True):
    """A part of a list, and whether more follows."""

    jobs: Sequence[Job]
    has_more: bool


class JobStore(Protocol):
    """The records of jobs, as the API needs them.

    Every method raises `Unavailable` when the store can't be reached.
    """

    async def check_admission(
        self, job_id: str, owner: str, *, limits: Limits, idempotency: IdempotencyKey | None
    ) -> Job | None:
        """Check whether `submit` would currently accept a job with this id ("" for a new one).

        It raises the same errors, and returns the earlier job that ``idempotency`` names, if there is one.
        """
        ...

    async def submit(self, job: Job, *, limits: Limits, idempotency: IdempotencyKey | None = None) -> Job:
        """Write ``job`` and its ticket in one step, and return it.

        If ``idempotency`` names an earlier job, that is returned instead. `find_by_lookup_label` finds the
        job by its label `framegate.core.jobs.LOOKUP_LABEL`, if it has one.

        Raises:
            JobExists, IdempotencyMismatch: Nothing was written.
            QueueFull, KeyLimitReached: Nothing was written but the refusal, for ``idempotency``.
        """
        ...

    async def count_refusal(self, owner: str, idempotency: IdempotencyKey) -> None:
        """Remember that a submission was refused for a reason of which the store knows nothing."""
        ...

    async def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none."""
        ...

    async def find_by_lookup_label(self, owner: str, value: str) -> str | None:
        """Return the id of the owner's newest job whose label `LOOKUP_LABEL` is ``value``."""
        ...

    async def find_shared(self, share_id: str) -> str | None:
        """Return the id of the job with this share id."""
        ...

    async def list(self, *, owner: str | None, states: Collection[JobState], limit: int) -> Sequence[Job]:
        """Return jobs, newest first. No ``owner`` means everybody's, no ``states`` means any state."""
        ...

    async def page(
        self, collection: str, *, owner: str, after: str, limit: int, newest_first: bool
    ) -> Page | None:
        """Return at most ``limit`` jobs of the owner's ``collection``, in the order of their submission.

        They begin with the one that follows the job ``after`` ("" for the first), which may have been removed
        within the last day. None means that ``after`` was never in the collection.
        """
        ...

    async def queue_position(self, job: Job) -> int | None:
        """Return how many jobs of its queue will be served before it, plus one; None if it is not queued.

        Jobs that are yet to come and limits on running jobs are not taken into account.
        """
        ...

    async def counts(self) -> QueueCounts:
        """Count the jobs of every state."""
        ...

    async def cancel(self, job_id: str) -> Job | None:
        """Cancel the job, or ask its worker to stop; return it as it is then."""
        ...

    async def delete(self, job_id: str) -> Job | None:
        """Hide the job from everybody, and cancel it if it has not ended; return it as it was before.

        What is left of it is removed by `delete_record`, or else by retention.
        """
        ...

    async def delete_record(self, job: Job) -> None:
        """Remove the record of a job that has ended and whose files are gone."""
        ...

    def changes(self, job_id: str) -> AbstractAsyncContextManager[AsyncGenerator[None, None]]:
        """Yield a tick whenever the job may have changed since the last one."""
        ...

    async def worker_presence(self) -> WorkerPresence:
        """Return the live workers, and when each model was last served, by the store's own clock."""
        ...


class ArtifactStore(Protocol):
    """Files by key ("results/abc.mp4"). A file is stored whole or not at all.

    Every method may block, and raises `Unavailable` when the store can't be reached.
    """

    def check(self) -> None:
        """Check that files can be written and read.

        Raises:
            Unavailable: They can't.
        """
        ...

    def put(self, source: Path, key: str) -> int:
        """Move the finished file ``source`` to ``key`` durably; return its size in bytes."""
        ...

    def path(self, key: str) -> Path | None:
        """Return a local path from which the file can be read, or None if there is no such file."""
        ...

    def fetch(self, key: str, folder: Path) -> Path | None:
        """Return a local path at which the file stays readable for as long as the caller needs it.

        A file that has to be downloaded is put into ``folder``, which the caller removes. None if there is no
        such file.
        """
        ...

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """Return a URL at which anybody may ``method`` (GET or HEAD) the file for that long.

        None if the store does not serve files itself.

        Raises:
            NotFound: The store serves files, and there is no such file.
        """
        ...

    def copy(self, key: str, new_key: str) -> None:
        """Copy the file ``key`` to ``new_key``; removing one leaves the other.

        Raises:
            NotFound: There is no such file.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the file if it is there."""
        ...

    def workdir(self, name: str) -> Path:
        """Create a private scratch folder on this host, whose files `put` accepts. The caller removes it."""
        ...

    def keys_before(self, moment: float) -> Iterator[str]:
        """Yield the keys of all files that were last written before ``moment`` (seconds since the epoch)."""
        ...

    def clean_up(self, *, unused_for: float) -> None:
        """Remove what killed processes left on this host, and copies unused for that many seconds."""
        ...


class CharacterStore(Protocol):
    """The records of characters. Every method raises `Unavailable` when the store can't be reached."""

    async def check_quota(self, owner: str, limits: CharacterLimits) -> None:
        """Check whether `add` would currently accept one more character of ``owner``.

        Raises:
            QuotaReached: It would not.
        """
        ...

    async def add(self, character: Character, limits: CharacterLimits = NO_CHARACTER_LIMITS) -> bool:
        """Write the character; return False, with nothing written, if its username is taken.

        Raises:
            QuotaReached: Its owner keeps as much as ``limits`` allow; nothing was written.
        """
        ...

    async def get(self, username: str) -> Character | None:
        """Return the character, or None if there is none."""
        ...

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        """Return characters, newest first; everybody's if ``owner`` is None."""
        ...

    async def delete(self, character: Character) -> None:
        """Remove the record if it is there."""
        ...


class SecretStore(Protocol):
    """Secrets that all API hosts share. The method raises `Unavailable` when the store can't be reached."""

    async def get_or_create(self, name: str) -> bytes:
        """Return the secret of that name, 32 random bytes; it is made when it is first asked for."""
        ...


class KeyStore(Protocol):
    """The API keys that were created at run time.

    Every method but `changes` raises `Unavailable` when the store can't be reached.
    """

    async def version(self) -> int:
        """Return the version of the stored keys; see `StoredKeys`."""
        ...

    async def read(self) -> StoredKeys:
        """Return all stored keys."""
        ...

    async def add(self, key: StoredKey) -> bool:
        """Store the key; return False, with nothing stored, if its name is taken."""
        ...

    async def update(self, name: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey | None:
        """Replace the key by what ``change`` returns for it, in one step, and return that.

        ``change`` may be called more than once. None means that there is no such key.
        """
        ...

    async def delete(self, name: str) -> bool:
        """Remove the key; return False if there is none."""
        ...

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield a tick whenever the keys may have changed, at once at first, and every few seconds anyway."""
        ...

    async def note_uses(self, uses: Mapping[str, float]) -> None:
        """Remember when keys were last used: seconds since the epoch by their names."""
        ...

    async def last_uses(self) -> Mapping[str, float]:
        """Return when keys were last used, those of the config included."""
        ...


class UrlSource(Struct, frozen=True):
    """An http or https URL."""

    url: str


class Base64Source(Struct, frozen=True):
    """Raw base64, or a data URI."""

    text: str


class BytesSource(Struct, frozen=True):
    """The file's own bytes."""

    data: bytes


FileSource: TypeAlias = UrlSource | Base64Source | BytesSource
"""A file as a client gives it."""


class CollageSource(Struct, frozen=True):
    """Several images that become one, side by side from left to right, and the mask of the first."""

    images: tuple[FileSource, ...]
    mask: FileSource | None = None


MediaSource: TypeAlias = FileSource | CollageSource
"""An input as a client gives it."""


class MediaIngest(Protocol):
    """Turn media as clients give them into stored inputs.

    ``owner`` is the client (`Client.identity`) in whose share of the server the media are decoded. If a call
    is cancelled, the work ends and nothing remains stored.
    """

    async def ingest(self, source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        """Fetch, check and store an input.

        Raises:
            InvalidMedia: It can't be fetched or read; the message says why.
            Busy: Too much is waiting to be decoded; so do the other methods.
        """
        ...

    async def ingest_collage(self, collage: CollageSource, *, owner: str) -> tuple[MediaRef, MediaRef | None]:
        """Fetch and check images, and store them as one, with a mask of its size if there is one.

        Raises:
            InvalidMedia: A file can't be fetched or read; ``param`` is "mask" if it is that.
        """
        ...

    async def ingest_mask(
        self, source: FileSource, image: MediaRef, *, owner: str, ignore_alpha: bool = False
    ) -> MediaRef:
        """Fetch and check the mask of a stored image, and store it in that image's size: white on black.

        Clients may give it in any size, and mark the area to repaint as white or as transparent; with
        ``ignore_alpha`` as white only.

        Raises:
            InvalidMedia: It can't be fetched or read, or marks nothing.
        """
        ...

    async def ingest_frame(self, video: MediaRef, seconds: float, *, owner: str) -> MediaRef:
        """Store the frame that a stored video shows at that time as an input image of its own.

        Raises:
            NotFound: The video was removed.
        """
        ...

    async def create_portrait(self, video: MediaRef, *, start: float, end: float, owner: str) -> Portrait:
        """Find who (or what) a stored video shows between two times, and store their images.

        Raises:
            InvalidMedia: The interval lies outside the video.
        """
        ...

    def discard(self, ref: MediaRef) -> None:
        """Remove an input that no job uses. May block."""
        ...


class VariantMaker(Protocol):
    """Make images from results."""

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        """Write a variant of the result ``source`` to ``target``; ``quality`` (0–100) is JPEG's and WebP's.

        Raises:
            InvalidMedia: The result can't be decoded.
            Busy: Too much is waiting to be decoded.
        """
        ...
