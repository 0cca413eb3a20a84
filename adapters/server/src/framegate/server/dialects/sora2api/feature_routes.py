"""sora2api: one endpoint per feature."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.types import MediaKind
from framegate.server.dialects.openai.chat.schemas import Completion
from framegate.server.dialects.sora2api.requests import ParsedRequest
from framegate.server.dialects.sora2api.schemas import (
    VIDEO_MODEL,
    Accepted,
    CharacterCreate,
    CharacterGenerate,
    ImageGenerate,
    ImageTransform,
    VideoGenerate,
    VideoRemix,
    VideoStoryboard,
    VideoTransform,
)
from framegate.server.dialects.sora2api.studio import Studio
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.responses.sse import STREAMS

Fields: TypeAlias = ImageGenerate | VideoGenerate

_CAT = "A white cat on a surfboard"
_IMAGE = "https://example.com/cat.png"
_VIDEO = "https://example.com/cat.mp4"
_REMIX = "s_00000000000000000000000000000000"


class _Feature(Struct, frozen=True):
    """An endpoint that submits a job."""

    path: str
    task_type: str
    kind: MediaKind
    model: type[Fields]
    summary: str
    example: Mapping[str, Any]


_FEATURES = (
    _Feature(
        "/v1/images/generate",
        "image_generate",
        MediaKind.IMAGE,
        ImageGenerate,
        "Make an image",
        {"prompt": _CAT},
    ),
    _Feature(
        "/v1/images/transform",
        "image_transform",
        MediaKind.IMAGE,
        ImageTransform,
        "Make an image from an image",
        {"prompt": "In oil colours", "image": _IMAGE},
    ),
    _Feature(
        "/v1/videos/generate",
        "video_generate",
        MediaKind.VIDEO,
        VideoGenerate,
        "Make a video",
        {"prompt": _CAT, "style": "anime", "async_mode": True},
    ),
    _Feature(
        "/v1/videos/transform",
        "video_transform",
        MediaKind.VIDEO,
        VideoTransform,
        "Make a video from an image",
        {"prompt": "The cat turns its head", "image": _IMAGE, "async_mode": True},
    ),
    _Feature(
        "/v1/videos/remix",
        "video_remix",
        MediaKind.VIDEO,
        VideoRemix,
        "Make a new video from one of this server's",
        {"prompt": "At night", "remix_target_id": _REMIX, "async_mode": True},
    ),
    _Feature(
        "/v1/videos/storyboard",
        "video_storyboard",
        MediaKind.VIDEO,
        VideoStoryboard,
        "Make a video of several shots",
        {"prompt": "[5.0s]A cat wakes up [5.0s]It jumps off the sofa", "async_mode": True},
    ),
)


def feature_routes(studio: Studio) -> list[HTTPRouteHandler]:
    return [*(_job_route(studio, feature) for feature in _FEATURES), *_character_routes(studio)]


def _job_route(studio: Studio, feature: _Feature) -> HTTPRouteHandler:
    @post(
        feature.path,
        status_code=200,
        operation_id=feature.task_type,
        summary=feature.summary,
        opt={**documents(feature.model, {feature.summary: feature.example}), **STREAMS},
    )
    async def handle(request: HTTPRequest) -> Response[Completion | Accepted]:
        fields = await read_json(request, feature.model)
        parsed = ParsedRequest(
            task_type=feature.task_type,
            kind=feature.kind,
            model=fields.model,
            prompt=fields.prompt,
            image=getattr(fields, "image", None),
            remix_target_id=getattr(fields, "remix_target_id", None),
            style=getattr(fields, "style", None),
            seed=fields.seed,
            needs_storyboard=feature.model is VideoStoryboard,
        )
        return await studio.make(
            request, parsed, stream=bool(fields.stream), async_mode=bool(fields.async_mode)
        )

    return handle


def _character_routes(studio: Studio) -> list[HTTPRouteHandler]:
    @post(
        "/v1/characters/create",
        status_code=200,
        summary="Keep who is in a video as a character (stream only)",
        opt={
            **documents(CharacterCreate, {"From a link": {"video": _VIDEO, "stream": True}}),
            **STREAMS,
        },
    )
    async def create_character(request: HTTPRequest) -> Response[Completion]:
        fields = await read_json(request, CharacterCreate)
        _require_stream(fields.stream)
        return await studio.make_character(
            request, fields.video, fields.timestamps, model=VIDEO_MODEL, stream=True
        )

    @post(
        "/v1/characters/generate",
        status_code=200,
        summary="Make a video with who is in another (stream only)",
        opt={
            **documents(
                CharacterGenerate,
                {"From a link": {"prompt": "They dance", "video": _VIDEO, "stream": True}},
            ),
            **STREAMS,
        },
    )
    async def generate_with_character(request: HTTPRequest) -> Response[Completion]:
        fields = await read_json(request, CharacterGenerate)
        studio.model_for(fields.model, MediaKind.VIDEO)
        _require_stream(fields.stream)
        parsed = ParsedRequest(
            task_type="character_generate",
            kind=MediaKind.VIDEO,
            model=fields.model,
            prompt=fields.prompt,
            video=fields.video,
            timestamps=fields.timestamps,
            seed=fields.seed,
        )
        return await studio.make(request, parsed, stream=True)

    return [create_character, generate_with_character]


def _require_stream(stream: bool | None) -> None:
    if not stream:
        raise InvalidRequest("stream must be true: this endpoint only streams", param="stream")
