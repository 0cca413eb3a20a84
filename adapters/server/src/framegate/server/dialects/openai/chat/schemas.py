"""The wire of chat completions, as far as it serves generation. Fields that it has no use for are ignored."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Seed: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1, description="Drawn if left out")]
Media: TypeAlias = Annotated[str, Meta(description="Base64, a data URI, or an http(s) URL")]


class MediaUrl(Struct):
    url: str


class Part(Struct):
    """``type`` tells which of the others is meant: ``text``, ``image_url``, ``video_url``."""

    type: str
    text: str | None = None
    image_url: MediaUrl | str | None = None
    video_url: MediaUrl | str | None = None


class ChatMessage(Struct):
    role: str
    content: str | list[Part] | None = None


class ChatRequest(Struct, kw_only=True):
    """Beside OpenAI's: the fields with which models of the sora2api catalogue take their inputs."""

    model: Annotated[str, Meta(description="A name of /v1/models")]
    messages: list[ChatMessage]
    stream: bool | None = False
    seed: Seed | None = None
    image: Media | None = None
    video: Media | None = None
    remix_target_id: Annotated[str, Meta(description="s_ and 32 hex digits, or a link with it")] | None = None
    style: str | None = None
    timestamps: Annotated[str, Meta(description="Seconds of the video to look at")] = "0,3"


class Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Message(Struct):
    role: Literal["assistant"]
    content: str


class Choice(Struct):
    index: int
    finish_reason: Literal["stop"]
    message: Message


class Completion(Struct, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(Struct):
    """After the first frame there is no ``role``."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: None = None


class FirstDelta(Struct, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: None = None


class ChunkChoice(Struct):
    index: int
    delta: Delta | FirstDelta
    finish_reason: Literal["stop"] | None = None
    native_finish_reason: Literal["stop"] | None = None


class Chunk(Struct, kw_only=True):
    """``usage`` has all three counts in the last frame only."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: dict[str, int]


class ModelItem(Struct, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "framegate"
    description: str


class ModelList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ModelItem]


class ErrorItem(Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Struct):
    error: ErrorItem
