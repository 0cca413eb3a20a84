"""Turn the bodies of all endpoints into one type. Pure."""

import math

from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.registry import ServedModel
from framegate.core.types import MediaKind
from framegate.server.dialects.openai.chat.parts import parts_of_last
from framegate.server.dialects.openai.chat.schemas import ChatRequest
from framegate.server.dialects.openai.fields import require_readable
from framegate.server.dialects.sora2api.prompts import take_share_id
from framegate.server.dialects.sora2api.schemas import (
    CharacterGenerate,
    ImageGenerate,
    ImageTransform,
    VideoGenerate,
    VideoRemix,
    VideoStoryboard,
    VideoTransform,
)


class ParsedRequest(Struct, frozen=True, kw_only=True):
    """A request for an image or a video, whichever endpoint it came by.

    ``image`` and ``video`` are base64, data URIs or URLs. ``video`` shows a character, within the seconds of
    ``timestamps``, to be used in the new video.
    """

    task_type: str
    kind: MediaKind
    model: str
    prompt: str
    image: str | None = None
    video: str | None = None
    timestamps: str = ""
    remix_target_id: str | None = None
    style: str | None = None
    seed: int | None = None
    needs_storyboard: bool = False


def require(value: str | None, field: str) -> None:
    """Refuse a field that is given but blank.

    Raises:
        InvalidRequest: The field is blank.
    """
    if value is not None and not value.strip():
        raise InvalidRequest(f"{field} is required", param=field)


def parsed_feature_request(task_type: str, fields: ImageGenerate | VideoGenerate) -> ParsedRequest:
    """Return the request of a feature endpoint."""
    return ParsedRequest(
        task_type=task_type,
        kind=MediaKind.IMAGE if isinstance(fields, ImageGenerate) else MediaKind.VIDEO,
        model=fields.model,
        prompt=fields.prompt,
        image=fields.image if isinstance(fields, ImageTransform | VideoTransform) else None,
        remix_target_id=fields.remix_target_id if isinstance(fields, VideoRemix) else None,
        style=fields.style if isinstance(fields, VideoGenerate) else None,
        seed=fields.seed,
        needs_storyboard=isinstance(fields, VideoStoryboard),
    )


def parsed_character_request(fields: CharacterGenerate) -> ParsedRequest:
    """Return the request for a video with another video's character."""
    return ParsedRequest(
        task_type="character_generate",
        kind=MediaKind.VIDEO,
        model=fields.model,
        prompt=fields.prompt,
        video=fields.video,
        timestamps=fields.timestamps,
        seed=fields.seed,
    )


def parsed_chat_request(body: ChatRequest, served: ServedModel) -> ParsedRequest:
    """Return the request in the last message of a chat.

    Raises:
        InvalidRequest: The model makes images, but the chat has a video or a remix id; or the text is too
            long.
    """
    parts = parts_of_last(body.messages)
    assert parts is not None
    kind = MediaKind.VIDEO if served.makes(MediaKind.VIDEO) else MediaKind.IMAGE
    prompt, remix = parts.text, body.remix_target_id or None
    require_readable(prompt, "prompt")
    if kind == MediaKind.VIDEO and remix is None:
        found, prompt = take_share_id(prompt)
        remix = found or None
    image = body.image or (parts.images[-1] if parts.images else None)
    video = body.video or (parts.videos[-1] if parts.videos else None)
    if kind == MediaKind.IMAGE and (video is not None or remix is not None):
        raise InvalidRequest(f"Model {served.name} is not a video model", param="model")
    return ParsedRequest(
        task_type="chat",
        kind=kind,
        model=body.model,
        prompt=prompt,
        image=image,
        video=video,
        timestamps=body.timestamps,
        remix_target_id=remix,
        style=body.style,
        seed=body.seed,
    )


def parse_timestamps(text: str) -> tuple[float, float]:
    """Return start and end, in seconds.

    Raises:
        InvalidRequest: ``text`` is not two increasing numbers.
    """
    parts = text.split(",")
    try:
        start, end = (float(part) for part in parts)
    except ValueError:
        start = end = math.nan
    if not 0 <= start < end < math.inf:
        raise InvalidRequest(
            f'timestamps should be two increasing times in seconds such as "0,3", not {text[:50]!r}.',
            param="timestamps",
        )
    return start, end
