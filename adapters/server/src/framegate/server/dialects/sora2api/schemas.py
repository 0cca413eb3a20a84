"""The wire of sora2api's feature endpoints and tasks. Unknown fields are ignored, as its origin does."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from framegate.server.dialects.openai.chat.schemas import Media, Seed

Prompt: TypeAlias = Annotated[str, Meta(description="What to show; may hold {style} and @character")]
Timestamps: TypeAlias = Annotated[str, Meta(description="The seconds of the video to look at")]

IMAGE_MODEL = "gpt-image"
VIDEO_MODEL = "sora2-landscape-10s"
TIMESTAMPS = "0,3"


class ImageGenerate(Struct, kw_only=True):
    prompt: Prompt
    model: str = IMAGE_MODEL
    stream: bool | None = False
    async_mode: bool | None = False
    seed: Seed | None = None


class ImageTransform(ImageGenerate, kw_only=True):
    image: Media


class VideoGenerate(Struct, kw_only=True):
    prompt: Prompt
    model: str = VIDEO_MODEL
    style: str | None = None
    stream: bool | None = False
    async_mode: bool | None = False
    seed: Seed | None = None


class VideoTransform(VideoGenerate, kw_only=True):
    image: Media


class VideoRemix(VideoGenerate, kw_only=True):
    remix_target_id: Annotated[str, Meta(description="s_ and 32 hex digits, or a link with it")]


class VideoStoryboard(VideoGenerate, kw_only=True):
    """``prompt`` is such as ``[5.0s]first shot [5.0s]second shot``."""


class CharacterCreate(Struct, kw_only=True):
    video: Media
    timestamps: Timestamps = TIMESTAMPS
    stream: bool | None = False


class CharacterGenerate(Struct, kw_only=True):
    prompt: Prompt
    video: Media
    model: str = VIDEO_MODEL
    timestamps: Timestamps = TIMESTAMPS
    stream: bool | None = False
    seed: Seed | None = None


class Accepted(Struct, kw_only=True):
    """The answer of ``async_mode``."""

    task_id: str
    task_type: str
    status: Literal["processing"] = "processing"
    message: str


class TaskState(Struct, kw_only=True):
    """``progress`` is 0.0–100.0, times are ISO 8601 in UTC. ``remix_target_id`` is a finished video's own."""

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
