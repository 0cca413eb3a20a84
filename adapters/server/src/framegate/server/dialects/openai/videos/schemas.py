"""The bodies of OpenAI's videos API, with fields of Framegate's own that SDKs send by ``extra_body``."""

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.dialects.openai.extras import ExtraFields
from framegate.server.dialects.openai.fields import Seed, Steps
from framegate.server.requests.media import MEDIA
from framegate.server.responses.changes import FieldChange

Prompt: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=100_000, pattern=r"\S", description="What to show")
]
Seconds: TypeAlias = Annotated[str, Meta(description='Length in seconds, such as "4"')] | float
Size: TypeAlias = Annotated[str, Meta(description='Width and height in pixels, such as "1280x720"')]
Frames: TypeAlias = Annotated[int, Meta(ge=1, le=7200, description="Length in frames; overrides seconds")]


class InputReference(Struct, forbid_unknown_fields=True):
    """The image to start from."""

    image_url: Annotated[str, Meta(description="An http(s) URL, a data URI or base64"), MEDIA] | None = None
    file_id: str | None = None


class Reference(Struct, forbid_unknown_fields=True):
    """A character or video, by its id."""

    id: str


class GenerationFields(ExtraFields, forbid_unknown_fields=True, kw_only=True):
    """The fields of all calls that make a video; apart from the prompt, they are Framegate's own."""

    prompt: Prompt
    model: Annotated[str, Meta(description="A name of /v1/models")] | None = None
    negative_prompt: Annotated[str, Meta(max_length=100_000)] | None = None
    seed: Seed | None = None
    num_frames: Frames | None = None
    num_inference_steps: Steps | None = None
    steps: Annotated[Steps, Meta(description="The same as num_inference_steps")] | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    webhook_url: Annotated[str, Meta(description="A URL to notify when the video has ended")] | None = None


class SizedGenerationFields(GenerationFields, forbid_unknown_fields=True, kw_only=True):
    """The fields of calls that choose the video's size and length."""

    seconds: Seconds | None = None
    size: Size | None = None
    fps: Annotated[float, Meta(gt=0, le=240)] | None = None


class CreateFields(SizedGenerationFields, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a video."""

    input_reference: InputReference | None = None
    image_url: Annotated[str, Meta(description="The same as input_reference.image_url"), MEDIA] | None = None
    characters: list[Reference] | None = None


class RemixFields(SizedGenerationFields, forbid_unknown_fields=True, kw_only=True):
    """The body of a remix."""


class EditFields(SizedGenerationFields, forbid_unknown_fields=True, kw_only=True):
    """The body of an edit."""

    video: Reference | None = None


class ExtendFields(GenerationFields, forbid_unknown_fields=True, kw_only=True):
    """The body of an extension.

    ``seconds`` is the length of the extension; size and frame rate are those of the video.
    """

    seconds: Seconds
    video: Reference | None = None


class CharacterFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form of a new character."""

    name: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"\S")]


class VideoError(Struct):
    """Why there is no video."""

    code: str
    message: str


class Video(Struct, kw_only=True):
    """A video.

    ``size``, ``seconds`` and ``seed`` are those of the file; times are in seconds since the epoch.
    ``changes``, which OpenAI's doesn't have, is there if the model could not take the request as it was.
    ``metadata`` is there if the client gave any.
    """

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Literal["queued", "in_progress", "completed", "failed", "cancelled"]
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str
    size: str
    seconds: str
    seed: int
    remixed_from_video_id: str | None
    error: VideoError | None
    changes: list[FieldChange] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET


class VideoList(Struct, kw_only=True):
    """One page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(Struct, kw_only=True):
    """The answer to removing a video."""

    id: str
    deleted: Literal[True] = True
    object: Literal["video.deleted"] = "video.deleted"


class CharacterDeleted(Struct):
    """The answer to removing a character."""

    id: str
    deleted: Literal[True] = True
    object: Literal["character.deleted"] = "character.deleted"


class CharacterObject(Struct):
    """A character, which prompts mention as ``@id``."""

    id: str
    name: str
    created_at: int
