"""OpenAI's videos: the calls that make one."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from framegate.server.dialects.openai.videos.schemas import (
    CreateFields,
    EditFields,
    ExtendFields,
    RemixFields,
    Video,
)
from framegate.server.dialects.openai.videos.studio import Studio
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents

_CREATE: Mapping[str, Any] = {
    "Text to video": {"prompt": "A white cat on a surfboard", "seconds": "4", "size": "1280x720"},
}


def create_routes(studio: Studio) -> list[HTTPRouteHandler]:
    @post(
        "/v1/videos",
        status_code=200,
        summary="Make a video",
        opt=documents(
            CreateFields, _CREATE, content_type=MULTIPART, files={"input_reference": False}, or_json=True
        ),
    )
    async def create_video(request: HTTPRequest) -> Response[Video]:
        return await studio.create(request)

    @post(
        "/v1/videos/{video_id:str}/remix",
        status_code=200,
        summary="Make a new video from a completed one",
        opt=documents(RemixFields, {"Remix": {"prompt": "The same at night"}}),
    )
    async def remix_video(request: HTTPRequest, video_id: FromPath[str]) -> Response[Video]:
        return await studio.remix(request, video_id)

    @post(
        "/v1/videos/edits",
        status_code=200,
        summary="Edit a video: an uploaded one, or a completed one by its id",
        opt=documents(EditFields, content_type=MULTIPART, files={"video": False}, or_json=True),
    )
    async def edit_video(request: HTTPRequest) -> Response[Video]:
        return await studio.edit(request)

    @post(
        "/v1/videos/extensions",
        status_code=200,
        summary="Make a video go on: the answer has both, in one file",
        opt=documents(ExtendFields, content_type=MULTIPART, files={"video": False}, or_json=True),
    )
    async def extend_video(request: HTTPRequest) -> Response[Video]:
        return await studio.extend(request)

    return [create_video, remix_video, edit_video, extend_video]
