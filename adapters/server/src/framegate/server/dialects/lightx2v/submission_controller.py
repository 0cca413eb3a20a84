"""lightx2v's endpoints that submit tasks, and the one that waits for its image."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import ASGIApp

from framegate.core.errors import NotFound
from framegate.core.wiring import CoreServices
from framegate.server.dialects.lightx2v.fields import ImageFields, ImageForm, VideoFields, VideoForm
from framegate.server.dialects.lightx2v.schemas import Submitted
from framegate.server.dialects.lightx2v.states import saved_as, submitted
from framegate.server.dialects.lightx2v.submission import (
    IMAGE_FILES,
    VIDEO_FILES,
    SubmissionSettings,
    TaskSubmitter,
)
from framegate.server.dialects.lightx2v.uploads import upload_result
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents
from framegate.server.requests.jobs import require_result
from framegate.server.responses.files import send_artifact, sends_files
from framegate.server.responses.waiting import wait_for_job

_VIDEO_EXAMPLES: Mapping[str, Any] = {
    "Text to video": {"prompt": "A white cat on a surfboard", "video_duration": 2, "seed": 42},
    "Image to video": {
        "prompt": "The cat looks around",
        "image_path": "https://example.com/cat.png",
        "infer_steps": 4,
        "height": 480,
        "width": 832,
    },
}
_IMAGE_EXAMPLES: Mapping[str, Any] = {
    "Text to image": {"prompt": "A white cat on a surfboard", "aspect_ratio": "1:1"}
}

_KINDS = (
    "this server takes videos at /v1/tasks/video/ and images at /v1/tasks/image/, and does not have "
    "LightX2V's SenseNova-Vision."
)


class SubmissionController(Controller):
    """Submission of tasks."""

    path = "/v1/tasks"

    @post("/video", status_code=200, summary="Submit a video", opt=documents(VideoFields, _VIDEO_EXAMPLES))
    async def submit_video(self, submitter: NamedDependency[TaskSubmitter]) -> Submitted:
        """Submit a video."""
        return submitted(await submitter.submit_video())

    @post(
        "/",
        status_code=200,
        summary="Submit a video (older path)",
        opt=documents(VideoFields, _VIDEO_EXAMPLES),
    )
    async def submit_video_alias(self, submitter: NamedDependency[TaskSubmitter]) -> Submitted:
        """Submit a video by the real server's older path."""
        return submitted(await submitter.submit_video(server_path=True))

    @post(
        "/video/form",
        status_code=200,
        summary="Submit a video with its image as a file",
        opt=documents(VideoForm, content_type=MULTIPART, files=VIDEO_FILES),
    )
    async def submit_video_form(self, submitter: NamedDependency[TaskSubmitter]) -> Submitted:
        """Submit a video with its image as a file."""
        return submitted(await submitter.submit_video_form())

    @post("/image", status_code=200, summary="Submit an image", opt=documents(ImageFields, _IMAGE_EXAMPLES))
    async def submit_image(self, submitter: NamedDependency[TaskSubmitter]) -> Submitted:
        """Submit an image."""
        return submitted(await submitter.submit_image())

    @post(
        "/image/form",
        status_code=200,
        summary="Submit an image with its source as a file",
        opt=documents(ImageForm, content_type=MULTIPART, files=IMAGE_FILES),
    )
    async def submit_image_form(self, submitter: NamedDependency[TaskSubmitter]) -> Submitted:
        """Submit an image with its source as a file."""
        return submitted(await submitter.submit_image_form())

    @post(
        "/image/sync",
        status_code=200,
        summary="Make an image and respond with it",
        opt={**documents(ImageFields, _IMAGE_EXAMPLES), **sends_files("image/png")},
    )
    async def image_sync(
        self,
        request: HTTPRequest,
        submitter: NamedDependency[TaskSubmitter],
        services: NamedDependency[CoreServices],
        settings: NamedDependency[SubmissionSettings],
        timeout_seconds: Annotated[float, QueryParameter(le=86400)] = 600,
        poll_interval_seconds: FromQuery[float] = 0.5,
    ) -> ASGIApp:
        """Submit an image, wait for it, and send its file, or upload it to ``presigned_url``."""
        _require_positive(timeout_seconds=timeout_seconds, poll_interval_seconds=poll_interval_seconds)
        # The real server polls; this one is notified when the job ends.
        job, url = await submitter.submit_image_for_upload()
        job = await wait_for_job(request, services.jobs, job, timeout_seconds)
        artifact = require_result(job)
        if not url:
            return await send_artifact(request, services.results, artifact, name=saved_as(job), inline=True)
        uploaded = await upload_result(request, services.results, settings.uploader, job, url)
        return Response(uploaded).to_asgi_response(app=None, request=request)

    @post("/{task_id:str}", include_in_schema=False)
    async def unknown_submission(self, task_id: FromPath[str]) -> None:
        """Answer a submission of another kind of task, which would otherwise seem to be a wrong method."""
        raise NotFound(f"There is no POST /v1/tasks/{task_id[:100]}: {_KINDS}")

    @post("/sensenova-vision/sync", include_in_schema=False)
    async def unknown_sync_submission(self) -> None:
        """Answer a submission to the real server's other model."""
        raise NotFound(f"There is no POST /v1/tasks/sensenova-vision/sync: {_KINDS}")


def _require_positive(**parameters: float) -> None:
    for name, value in parameters.items():
        if not value > 0:  # also refuses NaN
            raise ClientException(f"{name} must be > 0")
