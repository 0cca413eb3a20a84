"""Turn openai-chat's bodies into generation requests. Pure."""

from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.ports import MediaSource
from framegate.core.registry import ServedModel
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.openai.chat.parts import media_input, parts_of_last
from framegate.server.dialects.openai.chat.schemas import ChatRequest
from framegate.server.dialects.openai.fields import require_readable
from framegate.server.dialects.openai_chat.catalogue import CATALOGUE

_PROMISED = frozenset(entry.name for entry in CATALOGUE)


class ChatPrompt(Struct, frozen=True):
    """The prompt of a chat: a text, and an image as a URL or base64 (empty: none)."""

    text: str
    image: str


def read_chat_prompt(body: ChatRequest) -> ChatPrompt:
    """Return the prompt of the last user message; of several images the last is used.

    Raises:
        InvalidRequest: There is no user message, or it has no text or too long a one.
    """
    parts = parts_of_last(body.messages, role="user")
    if parts is None:
        raise InvalidRequest("messages: there is no user message.", param="messages")
    require_readable(parts.text, "messages")
    if not parts.text.strip():
        raise InvalidRequest(
            "messages: the last user message has no text; describe what to show.", param="messages"
        )
    return ChatPrompt(parts.text, parts.images[-1] if parts.images else "")


def generation(served: ServedModel, prompt: ChatPrompt, seed: int | None) -> GenerationRequest[MediaSource]:
    """Return the request for a chat's video.

    Raises:
        InvalidRequest: The model does not make videos, or needs an image, or the image is none.
    """
    if not served.makes(MediaKind.VIDEO):
        raise InvalidRequest(f"The model {served.name} is not a video model.", param="model")
    task = Task.IMAGE_TO_VIDEO if prompt.image else Task.TEXT_TO_VIDEO
    if task not in served.spec.tasks and Task.IMAGE_TO_VIDEO in served.spec.tasks:
        raise InvalidRequest(
            f"The model {served.name} needs an image: add a part of the type image_url to the last user "
            "message.",
            param="messages",
        )
    # A catalogue's name promises its size, whatever the image's, and whatever model has the name.
    defaults = served.spec.defaults if served.catalogue or served.name in _PROMISED else None
    return GenerationRequest(
        model=served.name,
        task=task,
        prompt=prompt.text,
        width=defaults.width if defaults else None,
        height=defaults.height if defaults else None,
        seed=seed,
        image=media_input(prompt.image, "messages") if prompt.image else None,
    )
