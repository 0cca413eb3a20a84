"""lightx2v: submitting, and the one call that waits for its image."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from framegate.core.errors import GenerationFailed, JobCancelled
from framegate.core.jobs import Job, JobState
from framegate.server.dialects.lightx2v.convert import refused
from framegate.server.dialects.lightx2v.schemas import (
    ImageFields,
    ImageForm,
    Submitted,
    VideoFields,
    VideoForm,
)
from framegate.server.dialects.lightx2v.states import saved_as, submitted
from framegate.server.dialects.lightx2v.tasks import Tasks
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents, read_form, read_json
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
_VIDEO_FILES = {"image_file": True, "last_frame_file": False, "audio_file": False}
_IMAGE_FILES = {"image_file": False}


def submit_routes(tasks: Tasks) -> list[HTTPRouteHandler]:
    @post(
        "/v1/tasks/video",
        status_code=200,
        summary="Submit a video",
        opt=documents(VideoFields, _VIDEO_EXAMPLES),
    )
    async def submit_video(request: HTTPRequest) -> Submitted:
        fields = await read_json(request, VideoFields, refused)
        job = await tasks.submit_video(request, fields, await tasks.json_media(fields), server_path=False)
        return submitted(job)

    @post(
        "/v1/tasks",
        status_code=200,
        summary="Submit a video (older path)",
        opt=documents(VideoFields, _VIDEO_EXAMPLES),
    )
    async def submit_video_alias(request: HTTPRequest) -> Submitted:
        fields = await read_json(request, VideoFields, refused)
        job = await tasks.submit_video(request, fields, await tasks.json_media(fields), server_path=True)
        return submitted(job)

    @post(
        "/v1/tasks/video/form",
        status_code=200,
        summary="Submit a video with its picture as a file",
        opt=documents(VideoForm, content_type=MULTIPART, files=_VIDEO_FILES),
    )
    async def submit_video_form(request: HTTPRequest) -> Submitted:
        fields, files = await read_form(request, VideoForm, _VIDEO_FILES, refused)
        if "audio_file" in files:
            message = "No served model can honour this field; leave it out"
            raise InvalidFields([FieldError(("audio_file",), "unsupported_parameter", message)])
        job = await tasks.submit_video(request, fields, await tasks.form_media(files), server_path=False)
        return submitted(job)

    @post(
        "/v1/tasks/image",
        status_code=200,
        summary="Submit an image",
        opt=documents(ImageFields, _IMAGE_EXAMPLES),
    )
    async def submit_image(request: HTTPRequest) -> Submitted:
        fields = await read_json(request, ImageFields, refused)
        return submitted(await tasks.submit_image(request, fields, await tasks.json_media(fields)))

    @post(
        "/v1/tasks/image/form",
        status_code=200,
        summary="Submit an image with its source as a file",
        opt=documents(ImageForm, content_type=MULTIPART, files=_IMAGE_FILES),
    )
    async def submit_image_form(request: HTTPRequest) -> Submitted:
        fields, files = await read_form(request, ImageForm, _IMAGE_FILES, refused)
        return submitted(await tasks.submit_image(request, fields, await tasks.form_media(files)))

    @post(
        "/v1/tasks/image/sync",
        status_code=200,
        summary="Make an image and answer with it",
        opt={**documents(ImageFields, _IMAGE_EXAMPLES), **sends_files("image/png")},
    )
    async def image_sync(
        request: HTTPRequest,
        timeout_seconds: Annotated[float, QueryParameter(gt=0, le=86400)] = 600,
        poll_interval_seconds: Annotated[float, QueryParameter(gt=0)] = 0.5,
    ) -> ASGIApp:
        # The real server polls; here the job's end is waited for.
        del poll_interval_seconds
        fields = await read_json(request, ImageFields, refused)
        job = await tasks.submit_image(request, fields, await tasks.json_media(fields))
        job = await wait_for_job(request, tasks.services.jobs, job, timeout_seconds)
        return await _send_image(request, tasks, job)

    return [submit_video, submit_video_alias, submit_video_form, submit_image, submit_image_form, image_sync]


async def _send_image(request: HTTPRequest, tasks: Tasks, job: Job) -> ASGIApp:
    """Raises:
    JobCancelled, GenerationFailed: there is no image.
    """
    if job.state == JobState.CANCELLED:
        raise JobCancelled("Task cancelled by user")
    if not job.artifacts:
        raise GenerationFailed(job.error.message if job.error else "Task failed")
    return await send_artifact(
        request, tasks.services.results, job.artifacts[0], name=saved_as(job), inline=True
    )
