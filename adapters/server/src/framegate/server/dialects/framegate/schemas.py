"""The bodies of the server's own API."""

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.core.jobs import JobState
from framegate.core.planning import MAX_SHOTS
from framegate.core.service import MAX_ID
from framegate.core.types import MediaKind, Task
from framegate.server.dialects.openai.extras import Metadata
from framegate.server.requests.media import MEDIA
from framegate.server.responses.changes import FieldChange

MAX_PRIORITY = 100

_Side: TypeAlias = Annotated[int, Meta(ge=1, le=16_384)]
_Name: TypeAlias = Annotated[str, Meta(max_length=200)]


class StoryboardItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One shot of a storyboard: what it shows, and for how many seconds."""

    prompt: Annotated[str, Meta(pattern=r"\S")]
    duration: Annotated[float, Meta(gt=0, le=3600)]


class ResultReference(Struct, frozen=True, forbid_unknown_fields=True):
    """A result of one of the client's own jobs, counted from 0."""

    job: Annotated[str, Meta(max_length=MAX_ID)]
    result: Annotated[int, Meta(ge=0, le=10_000)] = 0


MediaField: TypeAlias = Annotated[str, MEDIA] | ResultReference
"""An http(s) URL, a data URI, or the result of a job."""


class NewJob(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body that submits a job. In a form, media may be files."""

    prompt: Annotated[str, Meta(description="What to show; with a storyboard it applies to each shot")] = ""
    model: _Name | None = None
    negative_prompt: str | None = None
    task: Annotated[Task | None, Meta(description="Told by the inputs if omitted")] = None
    width: _Side | None = None
    height: _Side | None = None
    aspect: Annotated[str, Meta(description='Width to height, such as "16:9"')] | None = None
    resolution: Annotated[str, Meta(description='The shorter side, such as "720p"')] | None = None
    num_frames: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    duration: Annotated[float, Meta(gt=0, le=3600, description="Seconds")] | None = None
    fps: Annotated[float, Meta(gt=0, le=1000)] | None = None
    num_inference_steps: Annotated[int, Meta(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Random if omitted")] | None = None
    num_outputs: Annotated[int, Meta(ge=1, le=100)] | None = None
    strength: Annotated[float, Meta(ge=0, le=1)] | None = None
    style: _Name | None = None
    storyboard: Annotated[list[StoryboardItem], Meta(min_length=1, max_length=MAX_SHOTS)] | None = None
    image: MediaField | None = None
    last_image: MediaField | None = None
    mask: Annotated[MediaField | None, Meta(description="White where the image is to be repainted")] = None
    video: MediaField | None = None
    audio: Annotated[MediaField | None, Meta(description="No model honours it yet")] = None
    extend: Annotated[bool, Meta(description="Continue the video; the result has both")] = False
    remix_of: Annotated[str, Meta(max_length=200, description="The share id of a video")] | None = None
    loras: Annotated[Any, Meta(description="No model honours them yet")] = None
    postprocess: Annotated[Any, Meta(description="No model honours it yet")] = None
    webhook_url: Annotated[str, Meta(max_length=2048)] | None = None
    priority: Annotated[
        int,
        Meta(
            ge=-MAX_PRIORITY,
            le=MAX_PRIORITY,
            description="Added to the key's own; above 0 for operators alone",
        ),
    ] = 0
    partial_images: Annotated[int, Meta(ge=0, le=3)] = 0
    metadata: Metadata | None = None


class InputObject(Struct, frozen=True):
    """An input as it was stored."""

    kind: MediaKind
    width: int
    height: int


class UsedValues(Struct, frozen=True, kw_only=True):
    """The values with which a job is made, the model's defaults included."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_frames: int | None
    duration: float | None
    fps: float | None
    num_inference_steps: int
    guidance_scale: float
    strength: float | None
    seed: int
    num_outputs: int
    style: str | None
    storyboard: list[StoryboardItem]
    image: InputObject | None
    last_image: InputObject | None
    mask: InputObject | None
    video: InputObject | None
    extend: bool
    priority: int
    partial_images: int


class ResultObject(Struct, frozen=True, kw_only=True):
    """A result: where it is, and what it is. ``size`` is in bytes, ``duration`` in seconds, 0 for images."""

    url: str
    kind: MediaKind
    content_type: str
    size: int
    width: int
    height: int
    num_frames: int
    fps: float
    duration: float


class ErrorObject(Struct, frozen=True):
    """Why a job failed."""

    code: str
    message: str


class JobObject(Struct, frozen=True, kw_only=True):
    """A job. ``owner`` and ``dialect`` are there for operators alone."""

    id: str
    state: JobState
    progress: float
    message: str
    position: int | None
    eta_seconds: float | None
    model: str
    served_by: str
    task: Task
    request: UsedValues
    changes: list[FieldChange]
    results: list[ResultObject]
    error: ErrorObject | None
    share_id: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    metadata: dict[str, str]
    owner: str | UnsetType = UNSET
    dialect: str | UnsetType = UNSET


class JobList(Struct, frozen=True):
    """A part of the list of jobs; ``next`` is the ``after`` of the following part, null at the end."""

    items: list[JobObject]
    next: str | None
