"""The bodies of chat completions, as far as generation needs them; other fields are ignored."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from framegate.server.dialects.openai.fields import Seed

Media: TypeAlias = Annotated[str, Meta(description="Base64, a data URI, or an http(s) URL")]


class MediaUrl(Struct):
    """An image or video in a message."""

    url: str


class Part(Struct):
    """A part of a message; ``type`` names the field that holds it: ``text``, ``image_url``, ``video_url``."""

    type: str
    text: str | None = None
    image_url: MediaUrl | str | None = None
    video_url: MediaUrl | str | None = None


class ChatMessage(Struct):
    """A message, as text or in parts."""

    role: str
    content: str | list[Part] | None = None


class ChatRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request for a completion: OpenAI's fields, and those that hold the inputs of sora2api's models."""

    model: Annotated[str, Meta(description="A name of /v1/models")]
    messages: list[ChatMessage]
    stream: bool | None = False
    seed: Seed | None = None
    image: Media | None = None
    video: Media | None = None
    remix_target_id: Annotated[str, Meta(description="s_ and 32 hex digits, or a link with it")] | None = None
    style: str | None = None
    timestamps: Annotated[str, Meta(description="The seconds of the video that show the character")] = "0,3"


class Usage(Struct):
    """Token counts; nothing is counted in tokens here."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Message(Struct):
    """The assistant's message."""

    role: Literal["assistant"]
    content: str


class Choice(Struct):
    """The only choice of a completion."""

    index: int
    finish_reason: Literal["stop"]
    message: Message


class Completion(Struct, kw_only=True):
    """A response that is not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(Struct):
    """The content that a later chunk of a stream adds; it has no ``role``."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: None = None


class FirstDelta(Struct, kw_only=True):
    """The content that the first chunk of a stream adds."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: None = None


class ChunkChoice(Struct):
    """The only choice of a chunk."""

    index: int
    delta: Delta | FirstDelta
    finish_reason: Literal["stop"] | None = None
    native_finish_reason: Literal["stop"] | None = None


class Chunk(Struct, kw_only=True):
    """A chunk of a stream; only the last one's ``usage`` has all three counts."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: dict[str, int]


class ModelItem(Struct, kw_only=True):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "framegate"
    description: str


class ModelList(Struct, kw_only=True):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelItem]
