"""The bodies of OpenAI's responses API, as far as its image tool needs them."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from framegate.server.dialects.openai.extras import Metadata, UserId
from framegate.server.dialects.openai.images.schemas import Format
from framegate.server.requests.media import MEDIA


class CreateResponse(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a call for a response; other fields of OpenAI's have no effect and are ignored.

    ``background``, ``conversation`` and ``previous_response_id`` are known only to be refused.
    """

    input: Annotated[
        str | list[Any], Meta(description="A prompt, or messages with input_text, input_image"), MEDIA
    ]
    tools: (
        Annotated[list[Any], Meta(max_length=128, description='The tool {"type": "image_generation"}'), MEDIA]
        | None
    ) = None
    model: str | None = None
    tool_choice: Any = None
    stream: bool | None = None
    store: bool | None = None
    instructions: Annotated[str, Meta(max_length=100_000)] | None = None
    metadata: Metadata | None = None
    user: UserId | None = None
    safety_identifier: UserId | None = None
    background: bool | None = None
    conversation: Any = None
    previous_response_id: str | None = None


class ImageCall(Struct, kw_only=True):
    """An image of a response, or one that is being made; ``result`` is base64."""

    id: str
    type: Literal["image_generation_call"] = "image_generation_call"
    status: Literal["in_progress", "generating", "completed", "failed"]
    result: str | None = None
    action: Literal["generate", "edit"]
    background: Literal["opaque"] = "opaque"
    output_format: Format
    quality: str
    revised_prompt: str | None = None
    size: str | None = None


class ResponseError(Struct):
    """Why there is no image."""

    code: str
    message: str


class InputTokens(Struct):
    """The kinds of input tokens."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokens(Struct):
    """The kinds of output tokens."""

    reasoning_tokens: int = 0


class Usage(Struct):
    """Token counts; nothing is counted in tokens here."""

    input_tokens: int = 0
    input_tokens_details: InputTokens = field(default_factory=InputTokens)
    output_tokens: int = 0
    output_tokens_details: OutputTokens = field(default_factory=OutputTokens)
    total_tokens: int = 0


class ResponseObject(Struct, kw_only=True):
    """A response: its ``output`` are images. It is not kept, whatever ``store`` says in the request."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "failed"]
    background: bool = False
    error: ResponseError | None = None
    incomplete_details: None = None
    instructions: str | None = None
    max_output_tokens: None = None
    metadata: dict[str, str] = {}
    model: str
    output: list[ImageCall] = []
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    reasoning: None = None
    store: bool = False
    temperature: float = 1.0
    text: dict[str, Any] = field(default_factory=lambda: {"format": {"type": "text"}})
    tool_choice: Any = "auto"
    tools: list[dict[str, Any]]
    top_p: float = 1.0
    truncation: Literal["disabled"] = "disabled"
    usage: Usage | None = None
    user: str | None = None
    safety_identifier: str | None = None


class ResponseEvent(Struct, kw_only=True):
    """The beginning or the end of a response."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.failed"]
    sequence_number: int
    response: ResponseObject


class ItemEvent(Struct, kw_only=True):
    """The beginning or the end of an image."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int
    item: ImageCall


class CallEvent(Struct, kw_only=True):
    """How far an image is."""

    type: Literal[
        "response.image_generation_call.in_progress",
        "response.image_generation_call.generating",
        "response.image_generation_call.completed",
    ]
    sequence_number: int
    output_index: int
    item_id: str


class PartialImageEvent(Struct, kw_only=True):
    """A partial image."""

    type: Literal["response.image_generation_call.partial_image"] = (
        "response.image_generation_call.partial_image"
    )
    sequence_number: int
    output_index: int
    item_id: str
    partial_image_index: int
    partial_image_b64: str
    output_format: Format
    quality: str
    size: str
    background: Literal["opaque"] = "opaque"
