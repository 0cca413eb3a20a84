"""A job and its states.

queued ──claim──▶ running ──succeed──▶ succeeded
  │ ▲                │ ├────fail─────▶ failed        (also: its worker died for the last time)
  │ └──requeue───────┘ └────cancel───▶ cancelled
  └──cancel──▶ cancelled

The transitions are Lua scripts in `framegate.storage`; `framegate.core.testing.transitions` is their
reference model.
"""

import hashlib
import re
import secrets
from enum import StrEnum

from msgspec import Struct

from framegate.core.fitting import Change
from framegate.core.types import Artifact, GenerationRequest, MediaRef, Shot

MAX_ATTEMPTS = 3
LOOKUP_LABEL = "result_name"
"""The label, as 0.1 stored it, by which `JobService.find_by_lookup_label` finds an owner's newest job."""


CLIENT_ID_LABEL = "task_id"
"""The label, as 0.1 stored it, of a job whose client knows it by an id of its own choice."""
_GENERATED_ID = re.compile(r"[0-9a-f]{32}")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def is_plain_id(text: str) -> bool:
    """Return whether ``text`` is safe as a job's id, and so as the name of a file."""
    return _PLAIN_ID.fullmatch(text) is not None


def is_generated_id(text: str) -> bool:
    """Return whether ``text`` may be an id that the server has given to a job."""
    return _GENERATED_ID.fullmatch(text) is not None


def job_id_for(owner: str, chosen: str) -> str:
    """Return the id of the job that ``owner`` calls ``chosen``.

    Jobs' ids are unique on the server, and what a client chooses is unique among its owner's jobs: so it is a
    digest of both. Without an owner it is what the client has chosen, if that is safe as a file's name.
    """
    if not owner and is_plain_id(chosen):
        return chosen
    named = f"{owner}\0{chosen}" if owner else chosen
    return "~" + hashlib.sha256(named.encode(errors="surrogatepass")).hexdigest()


def new_share_id() -> str:
    """Return a random share id, which nobody can guess."""
    return f"s_{secrets.token_hex(16)}"


class JobState(StrEnum):
    """Where a job stands; see the module's drawing."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobError(Struct, frozen=True):
    """Why a job failed: the ``code`` of `framegate.core.errors` and a sentence for its owner."""

    code: str
    message: str


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A submitted generation. Times are seconds since the epoch.

    Attributes:
        id: Its id.
        model: The name that the client requested.
        served_by: The id of the `ModelSpec` behind that name.
        queue: The queue in which it waits.
        dialect: The dialect that submitted it.
        request: What to generate, with its stored inputs.
        shots: The calls of the backend that make it.
        created_at: When it was submitted: by the clock of the store, once that has it.
        owner: The name of the key that submitted it.
        priority: Higher ones are served first.
        running_limits: The groups that it counts in while it runs, each with the most jobs that may run at
            once.
        changes: Values of the request that the model can't take, and what was used instead.
        request_id: The id of the HTTP request, for the logs.
        labels: The dialect's own notes.
        share_id: The id by which others may make new videos from this one; videos have one.
        collection: The list in which its owner finds it, page by page.
        webhooks: The URLs to notify of its end.
        timeout: How many seconds it may run, the time to load its model not counted; 0 for the worker's own
            limit.
        timeout_setting: The setting that raises ``timeout``.
        seq: Its number in the order of submission, which no other job ever has, not even one with its id; 0
            before the store has it.
        state: Where it stands.
        attempt: How many workers have started it.
        worker: The id of the worker that runs it.
        cancel_requested: Whether its worker was asked to stop.
        progress: 0.0–1.0 over the whole job.
        message: What it is doing, for people.
        started_at: When the last attempt began.
        finished_at: When it finished.
        artifacts: Its results.
        error: Why it failed.
    """

    id: str
    model: str
    served_by: str
    queue: str
    dialect: str
    request: GenerationRequest[MediaRef]
    shots: tuple[Shot, ...]
    created_at: float
    owner: str = ""
    priority: int = 0
    running_limits: dict[str, int] = {}
    changes: tuple[Change, ...] = ()
    request_id: str = ""
    labels: dict[str, str] = {}
    share_id: str = ""
    collection: str = ""
    webhooks: tuple[str, ...] = ()
    timeout: float = 0.0
    timeout_setting: str = ""

    seq: int = 0
    state: JobState = JobState.QUEUED
    attempt: int = 0
    worker: str = ""
    cancel_requested: bool = False
    progress: float = 0.0
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    artifacts: tuple[Artifact, ...] = ()
    error: JobError | None = None

    @property
    def client_id(self) -> str:
        """The id by which its client knows it: the one that it has chosen, or the job's own."""
        return self.labels.get(CLIENT_ID_LABEL, self.id)

    @property
    def seed(self) -> int:
        """The seed of its first shot."""
        return self.shots[0].seed

    @property
    def inputs(self) -> tuple[MediaRef, ...]:
        """The stored inputs of its request."""
        return tuple(self.request.media.values())

    @property
    def input_bytes(self) -> int:
        """The bytes of its stored inputs."""
        return sum(ref.size for ref in self.inputs)

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of all files that may be stored for it: results, partial images and inputs."""
        results = (key for artifact in self.artifacts for key in artifact.files)
        return (*results, *self.partial_image_keys, *self.submitted_files)

    @property
    def submitted_files(self) -> tuple[str, ...]:
        """Those of `files` that are known when it is submitted."""
        return (*self.earlier_partial_image_keys, *(ref.key for ref in self.inputs))

    @property
    def attempt_name(self) -> str:
        """What the names of this attempt's files begin with; no other attempt at any job has it.

        So a worker that lost its lease can't touch its successor's files, nor can whoever removes those of an
        earlier job with the same id. The attempt's number alone would not do: a Valkey that lost its last
        second may hand it out again.
        """
        return f"{self.seq}-{self.attempt}-{self.worker[:8]}"

    @property
    def partial_image_keys(self) -> tuple[str, ...]:
        """The keys of its current attempt's partial images, in the order in which they come."""
        return tuple(
            f"results/{self.id}/{self.attempt_name}-partial-{number}.png"
            for number in range(self.request.num_partial_images)
        )

    @property
    def earlier_partial_image_keys(self) -> tuple[str, ...]:
        """The keys under which a worker of an earlier version stores them, whichever attempt it is."""
        return tuple(
            f"results/{self.id}/look-{number}.png" for number in range(self.request.num_partial_images)
        )
