"""A job and its states.

queued ──claim──▶ running ──succeed──▶ succeeded
  │ ▲                │ ├────fail─────▶ failed        (also: its worker died for the last time)
  │ └──requeue───────┘ └────cancel───▶ cancelled
  └──cancel──▶ cancelled

The steps themselves are Lua scripts in `framegate.storage`; `framegate.core.testing.transitions` is their
reference model.
"""

import secrets
from enum import StrEnum

from msgspec import Struct

from framegate.core.models import Change
from framegate.core.types import Artifact, GenerationRequest, MediaRef, Shot

MAX_ATTEMPTS = 3
LOOKUP_LABEL = "result_name"
"""The label by whose value `JobService.find_by_lookup_label` finds an owner's newest job."""


def new_share_id() -> str:
    return f"s_{secrets.token_hex(16)}"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobError(Struct, frozen=True):
    """Why a job failed: the ``code`` of `framegate.core.errors` and a sentence for its owner."""

    code: str
    message: str


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A generation, from its acceptance on. Times are seconds since the epoch.

    ``model`` is the name that was asked for, ``served_by`` the id of the ModelSpec behind it. ``owner``
    is the name of the key that submitted it. ``labels`` are the dialect's own notes on it. Every video has
    a ``share_id``: whoever is given it may make new videos from this one. A ``collection`` is what its owner
    finds it in, page by page. ``webhooks`` are the URLs that are told of its end.

    A higher ``priority`` is served first. ``running_limits`` are the groups that the job counts in while it
    runs, each with the most that may run at once; no other job of such a group starts beyond it.
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
    def seed(self) -> int:
        return self.shots[0].seed

    @property
    def inputs(self) -> tuple[MediaRef, ...]:
        return tuple(self.request.media.values())

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of all that may be stored for it: results and inputs."""
        results = (key for artifact in self.artifacts for key in artifact.files)
        return (*results, *self.partial_image_keys, *(ref.key for ref in self.inputs))

    @property
    def partial_image_keys(self) -> tuple[str, ...]:
        """The keys of the looks at its unfinished work, in the order in which they come."""
        return tuple(
            f"results/{self.id}/look-{number}.png" for number in range(self.request.num_partial_images)
        )
