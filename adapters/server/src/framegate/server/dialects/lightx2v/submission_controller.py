"""lightx2v's endpoints that submit tasks, and the one that waits for its image."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from framegate.core.wiring import CoreServices
from framegate.server.dialects.lightx2v.requests import refused
from framegate.server.dialects.lightx2v.schemas import (
    ImageFields,
    ImageForm,
    Submitted,
    VideoFields,
    VideoForm,
)
from framegate.server.dialects.lightx2v.states import saved_as, submitted
from framegate.server.dialects.lightx2v.submission import TaskSubmitter
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents, read_form, read_json
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
_VIDEO_FILES = {"image_file": True, "last_frame_file": False, "audio_file": False}
_IMAGE_FILES = {"image_file": False}


class SubmissionController(Controller):
    """Submission of tasks."""

    path = "/v1/tasks"

    @post("/video", status_code=200, summary="Submit a video", opt=documents(VideoFields, _VIDEO_EXAMPLES))
    async def submit_video(
        self, request: HTTPRequest, submitter: NamedDependency[TaskSubmitter]
    ) -> Submitted:
        """Submit a video."""
        fields = await read_json(request, VideoFields, refused)
        return submitted(await submitter.submit_video(fields, await submitter.json_media(fields)))

    @post(
        "/",
        status_code=200,
        summary="Submit a video (older path)",
        opt=documents(VideoFields, _VIDEO_EXAMPLES),
    )
    async def submit_video_alias(
        self, request: HTTPRequest, submitter: NamedDependency[TaskSubmitter]
    ) -> Submitted:
        """Submit a video by the real server's older path."""
        fields = await read_json(request, VideoFields, refused)
        media = await submitter.json_media(fields)
        return submitted(await submitter.submit_video(fields, media, server_path=True))

    @post(
        "/video/form",
        status_code=200,
        summary="Submit a video with its image as a file",
        opt=documents(VideoForm, content_type=MULTIPART, files=_VIDEO_FILES),
    )
    async def submit_video_form(
        self, request: HTTPRequest, submitter: NamedDependency[TaskSubmitter]
    ) -> Submitted:
        """Submit a video with its image as a file."""
        fields, files = await read_form(request, VideoForm, _VIDEO_FILES, refused)
        if "audio_file" in files:
            message = "No served model can honour this field; omit it"
            raise InvalidFields([FieldError(("audio_file",), "unsupported_parameter", message)])
        return submitted(await submitter.submit_video(fields, await submitter.form_media(files)))

    @post("/image", status_code=200, summary="Submit an image", opt=documents(ImageFields, _IMAGE_EXAMPLES))
    async def submit_image(
        self, request: HTTPRequest, submitter: NamedDependency[TaskSubmitter]
    ) -> Submitted:
        """Submit an image."""
        fields = await read_json(request, ImageFields, refused)
        return submitted(await submitter.submit_image(fields, await submitter.json_media(fields)))

    @post(
        "/image/form",
        status_code=200,
        summary="Submit an image with its source as a file",
        opt=documents(ImageForm, content_type=MULTIPART, files=_IMAGE_FILES),
    )
    async def submit_image_form(
        self, request: HTTPRequest, submitter: NamedDependency[TaskSubmitter]
    ) -> Submitted:
        """Submit an image with its source as a file."""
        fields, files = await read_form(request, ImageForm, _IMAGE_FILES, refused)
        return submitted(await submitter.submit_image(fields, await submitter.form_media(files)))

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
        timeout_seconds: Annotated[float, QueryParameter(gt=0, le=86400)] = 600,
        poll_interval_seconds: Annotated[float, QueryParameter(gt=0)] = 0.5,
    ) -> ASGIApp:
        """Submit an image, wait for it, and send its file."""
        # The real server polls; this one is notified when the job ends.
        del poll_interval_seconds
        fields = await read_json(request, ImageFields, refused)
        job = await submitter.submit_image(fields, await submitter.json_media(fields))
        job = await wait_for_job(request, services.jobs, job, timeout_seconds)
        return await send_artifact(
            request, services.results, require_result(job), name=saved_as(job), inline=True
        )
