"""The bodies of chat completions, as far as generation needs them; other fields are ignored."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.dialects.openai.fields import Seed
from framegate.server.requests.media import MEDIA

Media: TypeAlias = Annotated[str, Meta(description="Base64, a data URI, or an http(s) URL"), MEDIA]
Timestamps: TypeAlias = Annotated[
    str, Meta(max_length=100, description="The seconds of the video that show the character")
]
RemixTarget: TypeAlias = Annotated[
    str, Meta(max_length=4096, description="s_ and 32 hex digits, or a link with it")
]
StyleName: TypeAlias = Annotated[str, Meta(max_length=100)]

MAX_MESSAGES = 2000


class MediaUrl(Struct):
    """An image or video in a message."""

    url: str


class Part(Struct):
    """A part of a message; ``type`` names the field that holds it: ``text``, ``image_url``, ``video_url``."""

    type: str
    text: str | None = None
    image_url: MediaUrl | str | None = None
    video_url: MediaUrl | str | None = None


_TEXT_OR_URL = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"url": {"type": "string"}}}]}
_CONTENT = {
    "anyOf": [
        {"type": "string"},
        {"type": "null"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["text", "image_url", "video_url"]},
                    "text": {"type": "string"},
                    "image_url": _TEXT_OR_URL,
                    "video_url": _TEXT_OR_URL,
                },
            },
        },
    ]
}


class ChatMessage(Struct):
    """A message, as text or in parts.

    Only the message that counts is checked (`framegate.server.dialects.openai.chat.parts`).
    """

    role: str
    content: Annotated[
        Any, Meta(description="A text or a list of parts", extra_json_schema=_CONTENT), MEDIA
    ] = None


class StreamOptions(Struct):
    """``include_usage``: send the usage in a chunk of its own, after the others."""

    include_usage: bool | None = None


class ChatRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request for a completion: OpenAI's fields, and those that hold the inputs of sora2api's models."""

    model: Annotated[str, Meta(description="A name of /v1/models")]
    messages: Annotated[list[ChatMessage], Meta(max_length=MAX_MESSAGES)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    seed: Seed | None = None
    image: Media | None = None
    video: Media | None = None
    remix_target_id: RemixTarget | None = None
    style: StyleName | None = None
    timestamps: Timestamps = "0,3"


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
    """A chunk of a stream; for its ``usage`` see `framegate.server.dialects.openai.chat.answers`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: dict[str, int] | UnsetType | None = UNSET


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
