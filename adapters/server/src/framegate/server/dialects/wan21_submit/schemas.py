"""The bodies of wan21-submit."""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from framegate.server.errors.detail import DetailItem


class Status(StrEnum):
    """The states of a request."""

    IN_QUEUE = "InQueue"
    IN_PROGRESS = "InProgress"
    SUCCEED = "Succeed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class SubmitRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a submission."""

    model: Annotated[str, Meta(description="A served model; by default the dialect's own")] | None = None
    prompt: Annotated[str, Meta(min_length=10, max_length=500, pattern=r"\S", description="What to show")]
    negative_prompt: Annotated[str, Meta(max_length=500, description="What to avoid")] | None = None
    image_url: (
        Annotated[str, Meta(description="An http(s) URL; optional only for text-to-video models")] | None
    ) = None
    image_size: Annotated[
        Literal["480x832", "832x480", "auto"],
        Meta(description="Width x height; auto fits the image's aspect ratio"),
    ] = "auto"
    num_frames: Annotated[int, Meta(ge=24, le=120, description="Rounded to the nearest 4n+1")] = 81
    guidance_scale: Annotated[float, Meta(ge=1, le=20, description="Classifier-free guidance")] = 3.0
    infer_steps: Annotated[int, Meta(ge=20, le=100, description="Denoising steps")] = 30
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="Random if omitted")] | None = None


class RequestId(Struct, forbid_unknown_fields=True, rename="camel"):
    """The id of a request."""

    request_id: Annotated[str, Meta(description="32 hexadecimal digits")]


class Video(Struct):
    """A video, by its link."""

    url: str


class Timings(Struct):
    """Durations in seconds."""

    inference: float


class Results(Struct):
    """The results of a request."""

    videos: list[Video]
    timings: Timings
    seed: int


class StatusAnswer(Struct, kw_only=True):
    """The state of a request.

    ``reason`` tells why it failed; ``queue_position`` counts from 1 while it waits.
    """

    status: Status
    reason: str | None = None
    results: Results | None = None
    queue_position: int | None = None


class Cancelled(Struct):
    """The answer to a cancelled request."""

    status: Literal["Succeed"] = "Succeed"


class Failure(Struct, kw_only=True):
    """Why a call failed."""

    status: Literal["Failed"] = "Failed"
    reason: str


class ErrorBody(Struct):
    """The body of every error: a reason, or the fields that are wrong."""

    detail: Failure | list[DetailItem]
