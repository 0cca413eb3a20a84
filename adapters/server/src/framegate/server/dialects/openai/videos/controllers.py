"""The endpoints of OpenAI's videos API."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from litestar import Controller, Response, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import ASGIApp

from framegate.core.errors import InvalidMedia, NotFound
from framegate.core.ports import BytesSource
from framegate.core.wiring import CoreServices
from framegate.server.dialects.openai.videos.answers import character_object
from framegate.server.dialects.openai.videos.content import ContentKind, send_content
from framegate.server.dialects.openai.videos.handlers import COLLECTION, VideoHandlers, find_video
from framegate.server.dialects.openai.videos.schemas import (
    CharacterDeleted,
    CharacterFields,
    CharacterObject,
    CreateFields,
    EditFields,
    ExtendFields,
    RemixFields,
    Video,
    VideoDeleted,
    VideoList,
)
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents, read_form
from framegate.server.requests.jobs import ClientJobs
from framegate.server.responses.files import sends_files
from framegate.server.responses.waiting import while_connected

_CREATE: Mapping[str, Any] = {
    "Text to video": {"prompt": "A white cat on a surfboard", "seconds": "4", "size": "1280x720"},
}
_CHARACTER_FILES = {"video": True}
_CHARACTER_SECONDS = 10.0
"""The part of a video, from its beginning, that is searched for its character."""


class VideoController(Controller):
    """Videos."""

    path = "/v1/videos"

    @post(
        "/",
        status_code=200,
        summary="Make a video",
        opt=documents(
            CreateFields, _CREATE, content_type=MULTIPART, files={"input_reference": False}, or_json=True
        ),
    )
    async def create_video(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        videos: NamedDependency[VideoHandlers],
    ) -> Response[Video]:
        """Make a video."""
        return await videos.create(request, client_jobs)

    @post(
        "/{video_id:str}/remix",
        status_code=200,
        summary="Make a new video from a completed one",
        opt=documents(RemixFields, {"Remix": {"prompt": "The same at night"}}),
    )
    async def remix_video(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        videos: NamedDependency[VideoHandlers],
        video_id: FromPath[str],
    ) -> Response[Video]:
        """Make a video from a completed one."""
        return await videos.remix(request, client_jobs, video_id)

    @post(
        "/edits",
        status_code=200,
        summary="Edit a video: an uploaded one, or a completed one by its id",
        opt=documents(EditFields, content_type=MULTIPART, files={"video": False}, or_json=True),
    )
    async def edit_video(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        videos: NamedDependency[VideoHandlers],
    ) -> Response[Video]:
        """Make a video from an uploaded or a completed one."""
        return await videos.edit(request, client_jobs)

    @post(
        "/extensions",
        status_code=200,
        summary="Continue a video: the result has both, in one file",
        opt=documents(ExtendFields, content_type=MULTIPART, files={"video": False}, or_json=True),
    )
    async def extend_video(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        videos: NamedDependency[VideoHandlers],
    ) -> Response[Video]:
        """Continue an uploaded or a completed video."""
        return await videos.extend(request, client_jobs)

    @get("/", summary="The caller's videos, page by page")
    async def list_videos(
        self,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        videos: NamedDependency[VideoHandlers],
        after: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=0, le=100)] = 20,
        order: FromQuery[Literal["asc", "desc"]] = "desc",
    ) -> VideoList:
        """Return one page of the client's videos."""
        try:
            page = await services.jobs.page(
                COLLECTION,
                owner=client_jobs.client.name,
                after=after,
                limit=max(limit, 1),
                newest_first=order == "desc",
            )
        except NotFound as error:
            raise NotFound(
                f"There is no video {after[:100]!r} in this list to continue after.", param="after"
            ) from error
        shown = [videos.shown(job) for job in page.jobs[:limit]]
        return VideoList(
            data=shown,
            first_id=shown[0].id if shown else None,
            last_id=shown[-1].id if shown else None,
            has_more=page.has_more or len(page.jobs) > limit,
        )

    @get("/{video_id:str}", summary="The current state of a video")
    async def retrieve_video(
        self,
        client_jobs: NamedDependency[ClientJobs],
        videos: NamedDependency[VideoHandlers],
        video_id: FromPath[str],
    ) -> Response[Video]:
        """Return the state of a video."""
        return await videos.answer(await find_video(client_jobs, video_id))

    @delete("/{video_id:str}", status_code=200, summary="Remove a video, or cancel it while it is being made")
    async def delete_video(
        self,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        video_id: FromPath[str],
    ) -> VideoDeleted:
        """Remove a video with its files."""
        job = await find_video(client_jobs, video_id)
        await services.jobs.delete(job.id, client_jobs.client.name)
        return VideoDeleted(id=job.id)

    @route(
        "/{video_id:str}/content",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/webp", "image/jpeg"),
        summary="The MP4, its thumbnail, or a sheet of its frames",
    )
    async def video_content(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        video_id: FromPath[str],
        variant: FromQuery[ContentKind] = "video",
    ) -> ASGIApp:
        """Send a video, its thumbnail, or a sheet of its frames."""
        return await send_content(request, services.results, await find_video(client_jobs, video_id), variant)


class CharacterController(Controller):
    """Characters, which prompts mention as ``@id``."""

    path = "/v1/videos/characters"

    @post(
        "/",
        status_code=200,
        summary="Create a character from a person or object in a video",
        opt=documents(CharacterFields, content_type=MULTIPART, files=_CHARACTER_FILES),
    )
    async def create_character(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        videos: NamedDependency[VideoHandlers],
    ) -> CharacterObject:
        """Create a character from an uploaded video."""
        fields, files = await read_form(request, CharacterFields, _CHARACTER_FILES)
        creation = services.characters.create(
            BytesSource(await videos.upload(files["video"], "video")),
            start=0.0,
            end=_CHARACTER_SECONDS,
            client=client_jobs.client,
            display_name=fields.name,
        )
        try:
            return character_object(await while_connected(request.receive, creation))
        except InvalidMedia as error:
            error.param = "video"
            raise

    @get("/{character_id:str}", summary="A character")
    async def get_character(
        self,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        character_id: FromPath[str],
    ) -> CharacterObject:
        """Return a character of the client."""
        try:
            character = await services.characters.get(character_id, client_jobs.client.name)
        except NotFound as error:
            error.param = "character_id"
            raise
        return character_object(character)

    @delete(
        "/{character_id:str}",
        status_code=200,
        summary="Remove a character; videos that use it have their own copies",
    )
    async def delete_character(
        self,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        character_id: FromPath[str],
    ) -> CharacterDeleted:
        """Remove a character of the client and its images."""
        try:
            await services.characters.delete(character_id, client_jobs.client.name)
        except NotFound as error:
            error.param = "character_id"
            raise
        return CharacterDeleted(id=character_id)
