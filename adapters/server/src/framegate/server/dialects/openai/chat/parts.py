"""Read the parts of a chat message. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.ports import Base64Source, MediaSource, UrlSource
from framegate.server.dialects.openai.chat.schemas import ChatMessage, MediaUrl, Part

_KNOWN = ("text", "image_url", "video_url")


class MessageParts(Struct, frozen=True):
    """The content of a message: the text of all text parts, joined by newlines, and images and videos.

    Images and videos are URLs, data URIs or base64.
    """

    text: str
    images: tuple[str, ...] = ()
    videos: tuple[str, ...] = ()


def last_message(messages: Sequence[ChatMessage], role: str = "") -> ChatMessage | None:
    """Return the last message, or the last with that ``role`` if one is given."""
    return next((message for message in reversed(messages) if role in ("", message.role)), None)


def parts_of(message: ChatMessage) -> MessageParts:
    """Return the content of a message.

    Raises:
        InvalidRequest: A part has an unknown type, or lacks the field that its type names.
    """
    content = message.content
    if not isinstance(content, list):
        return MessageParts(content or "")
    found: dict[str, list[str]] = {kind: [] for kind in _KNOWN}
    for part in content:
        if part.type not in found:
            raise InvalidRequest(
                f"messages: a part has the type {part.type[:50]!r}; use one of {', '.join(_KNOWN)}.",
                param="messages",
            )
        found[part.type].append(_value(part))
    return MessageParts("\n".join(found["text"]), tuple(found["image_url"]), tuple(found["video_url"]))


def _value(part: Part) -> str:
    value: MediaUrl | str | None = getattr(part, part.type)
    text = value.url if isinstance(value, MediaUrl) else value
    if text is None or (not text and part.type != "text"):
        raise InvalidRequest(f"messages: a part of the type {part.type} is empty.", param="messages")
    return text


def media_source(text: str) -> MediaSource:
    """Return the source that ``text`` names: a URL, a data URI or base64."""
    is_url = text[:8].lower().startswith(("http://", "https://"))
    return UrlSource(text) if is_url else Base64Source(text)
