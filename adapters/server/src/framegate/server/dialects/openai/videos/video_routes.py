"""OpenAI's videos: what there is, and the files of it."""

from typing import Annotated, Literal

from litestar import Response, delete, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import ASGIApp

from framegate.core.errors import NotFound
from framegate.server.auth.keys import client_of
from framegate.server.dialects.openai.videos.content import Kind, send_content
from framegate.server.dialects.openai.videos.schemas import Video, VideoDeleted, VideoList
from framegate.server.dialects.openai.videos.studio import COLLECTION, Studio
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import sends_files


def video_routes(studio: Studio) -> list[HTTPRouteHandler]:
    @get("/v1/videos", summary="The caller's videos, page by page")
    async def list_videos(
        request: HTTPRequest,
        after: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=0, le=100)] = 20,
        order: FromQuery[Literal["asc", "desc"]] = "desc",
    ) -> VideoList:
        try:
            page = await studio.services.jobs.page(
                COLLECTION,
                owner=client_of(request.scope).name,
                after=after,
                limit=max(limit, 1),
                newest_first=order == "desc",
            )
        except NotFound as error:
            raise NotFound(f"There is no video {after[:100]!r} to go on after.", param="after") from error
        videos = [studio.shown(job) for job in page.jobs[:limit]]
        return VideoList(
            data=videos,
            first_id=videos[0].id if videos else None,
            last_id=videos[-1].id if videos else None,
            has_more=page.has_more or len(page.jobs) > limit,
        )

    @get("/v1/videos/{video_id:str}", summary="A video as it is now")
    async def retrieve_video(request: HTTPRequest, video_id: FromPath[str]) -> Response[Video]:
        return await studio.answer(await studio.find(request, video_id))

    @delete("/v1/videos/{video_id:str}", status_code=200, summary="Remove a video, or what is being made")
    async def delete_video(request: HTTPRequest, video_id: FromPath[str]) -> VideoDeleted:
        job = await studio.find(request, video_id)
        await studio.services.jobs.delete(job.id, client_of(request.scope).name)
        return VideoDeleted(id=job.id)

    @route(
        "/v1/videos/{video_id:str}/content",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/webp", "image/jpeg"),
        summary="The MP4, its thumbnail, or a sheet of its frames",
    )
    async def video_content(
        request: HTTPRequest, video_id: FromPath[str], variant: FromQuery[Kind] = "video"
    ) -> ASGIApp:
        job = await studio.find(request, video_id)
        return await send_content(request, studio.services.results, job, variant)

    return [list_videos, retrieve_video, delete_video, video_content]
