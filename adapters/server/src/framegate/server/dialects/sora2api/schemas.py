"""The bodies of sora2api's feature endpoints and tasks."""

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.dialects.openai.chat.schemas import Media, RemixTarget, StyleName, Timestamps
from framegate.server.dialects.openai.fields import Seed
from framegate.server.responses.changes import FieldChange

Prompt: TypeAlias = Annotated[str, Meta(description="What to show; may contain {style} and @character")]

IMAGE_MODEL = "gpt-image"
VIDEO_MODEL = "sora2-landscape-10s"
TIMESTAMPS = "0,3"


class ImageGenerate(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for an image."""

    prompt: Prompt
    model: str = IMAGE_MODEL
    stream: bool | None = False
    async_mode: bool | None = False
    seed: Seed | None = None


class ImageTransform(ImageGenerate, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for an image from an image."""

    image: Media


class VideoGenerate(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a video."""

    prompt: Prompt
    model: str = VIDEO_MODEL
    style: StyleName | None = None
    stream: bool | None = False
    async_mode: bool | None = False
    seed: Seed | None = None


class VideoTransform(VideoGenerate, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a video from an image."""

    image: Media


class VideoRemix(VideoGenerate, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a video from a finished one."""

    remix_target_id: RemixTarget


class VideoStoryboard(VideoGenerate, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a video of several shots: ``[5.0s]first shot [5.0s]second shot``."""


class CharacterCreate(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a new character."""

    video: Media
    timestamps: Timestamps = TIMESTAMPS
    stream: bool | None = False


class CharacterGenerate(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a video with another's character."""

    prompt: Prompt
    video: Media
    model: str = VIDEO_MODEL
    timestamps: Timestamps = TIMESTAMPS
    stream: bool | None = False
    seed: Seed | None = None


class CharacterDeleted(Struct, kw_only=True):
    """The answer to the removal of a character."""

    username: str
    deleted: Literal[True] = True


class Accepted(Struct, kw_only=True):
    """The answer of ``async_mode``."""

    task_id: str
    task_type: str
    status: Literal["processing"] = "processing"
    message: str


class TaskState(Struct, kw_only=True):
    """The state of a task.

    ``progress`` is 0.0–100.0, times are in UTC and read ``2024-01-01T00:00:00``;
    ``remix_target_id`` is a finished video's share id. ``changes`` is there if the model could not take the
    request as it was.
    """

    task_id: str
    status: Literal["processing", "completed", "failed"]
    progress: float
    model: str
    prompt: str
    result_urls: list[str] | None
    error_message: str | None
    created_at: str
    completed_at: str | None
    remix_target_id: str | None
    changes: list[FieldChange] | UnsetType = UNSET
