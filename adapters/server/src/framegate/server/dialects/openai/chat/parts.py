"""Read chat messages. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest
from framegate.core.ports import Base64Source, FileSource
from framegate.server.dialects.openai.chat.schemas import ChatMessage, MediaUrl, Part
from framegate.server.errors.field_errors import InvalidFields, value_errors
from framegate.server.requests.media import media_source

_FIELDS: Mapping[str, str] = {
    "text": "text",
    "image_url": "image_url",
    "video_url": "video_url",
    # As in OpenAI's responses API.
    "input_text": "text",
    "input_image": "image_url",
}
"""The field that holds a part's value, by the part's type."""


MAX_PARTS = 1000
"""The parts of a message."""

# What can be nothing but broken base64 is refused as that, not as a path.
_SHORT_BASE64 = re.compile(r"[A-Za-z0-9+/]{1,63}={0,2}")


class MessageParts(Struct, frozen=True):
    """The content of a message: the text of all text parts, joined by newlines, and images and videos.

    Images and videos are URLs, data URIs or base64.
    """

    text: str
    images: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()


class _Content(Struct):
    content: str | Annotated[list[Part], Meta(max_length=MAX_PARTS)] | None = None


def parts_of_last(messages: Sequence[ChatMessage], role: str = "") -> MessageParts | None:
    """Return the content of the last message, or of the last with that ``role`` if one is given.

    The other messages are not looked at: chats hold whatever other models have said.

    Raises:
        InvalidFields: The content has another shape than a text or a list of parts.
        InvalidRequest: A part has an unknown type, or lacks the field that its type names.
    """
    places = (index for index in reversed(range(len(messages))) if role in ("", messages[index].role))
    index = next(places, None)
    return None if index is None else _parts_of(messages[index], index)


def _parts_of(message: ChatMessage, index: int) -> MessageParts:
    values = {"content": message.content}
    if found := value_errors(values, _Content):
        raise InvalidFields(replace(error, location=("messages", index, *error.location)) for error in found)
    content = msgspec.convert(values, _Content).content
    if not isinstance(content, list):
        return MessageParts(content or "")
    values_of: dict[str, list[str]] = {field: [] for field in _FIELDS.values()}
    for part in content:
        if part.type not in _FIELDS:
            raise InvalidRequest(
                f"messages: a part has the type {part.type[:50]!r}; use one of {', '.join(_FIELDS)}.",
                param="messages",
            )
        field = _FIELDS[part.type]
        values_of[field].append(_value(part, field))
    return MessageParts(
        "\n".join(values_of["text"]), tuple(values_of["image_url"]), tuple(values_of["video_url"])
    )


def _value(part: Part, field: str) -> str:
    value: MediaUrl | str | None = getattr(part, field)
    text = value.url if isinstance(value, MediaUrl) else value
    if text is None or (not text and field != "text"):
        raise InvalidRequest(f"messages: a part of the type {part.type} is empty.", param="messages")
    return text


def text_of(message: ChatMessage) -> str:
    """Return the text of a message with whatever content; what is not text is passed over."""
    if isinstance(message.content, str):
        return message.content
    if not isinstance(message.content, list):
        return ""
    parts: list[Any] = message.content  # pyright: ignore[reportUnknownVariableType] # plain JSON
    fields = (cast(dict[str, Any], part) for part in parts if isinstance(part, dict))
    return "\n".join(text for part in fields if isinstance(text := part.get("text"), str))


def media_input(text: str, param: str) -> FileSource:
    """Return the source that ``text`` names: a URL, a data URI or base64, which may be too short for a file.

    Raises:
        InvalidMedia: It is something else; ``param`` is its field.
    """
    text = text.strip()
    return Base64Source(text) if _SHORT_BASE64.fullmatch(text) else media_source(text, param)
