"""sora2api's endpoints: one for each feature, tasks, and result files."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, Response, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.types import MediaKind
from framegate.server.dialect import PUBLIC
from framegate.server.dialects.openai.chat.schemas import Completion
from framegate.server.dialects.sora2api.features import FeatureHandlers
from framegate.server.dialects.sora2api.requests import parsed_character_request
from framegate.server.dialects.sora2api.schemas import (
    VIDEO_MODEL,
    Accepted,
    CharacterCreate,
    CharacterDeleted,
    CharacterGenerate,
    ImageGenerate,
    ImageTransform,
    TaskState,
    VideoGenerate,
    VideoRemix,
    VideoStoryboard,
    VideoTransform,
)
from framegate.server.dialects.sora2api.tasks import job_id, task_state
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.requests.jobs import ClientJobs
from framegate.server.responses.files import sends_files
from framegate.server.responses.result_files import ResultFiles
from framegate.server.responses.sse import STREAMS

_CAT = "A white cat on a surfboard"
_IMAGE = "https://example.com/cat.png"
_VIDEO = "https://example.com/cat.mp4"
_SHARE_ID = "s_00000000000000000000000000000000"


def _feature(model: type[Struct], title: str, example: Mapping[str, Any]) -> dict[str, Any]:
    return {**documents(model, {title: example}), **STREAMS}


class ImageController(Controller):
    """Images."""

    path = "/v1/images"

    @post(
        "/generate",
        status_code=200,
        operation_id="image_generate",
        summary="Make an image",
        opt=_feature(ImageGenerate, "Make an image", {"prompt": _CAT}),
    )
    async def generate_image(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion | Accepted]:
        """Make an image from a prompt."""
        return await features.run(
            request, "image_generate", await read_json(request, ImageGenerate, lax=True)
        )

    @post(
        "/transform",
        status_code=200,
        operation_id="image_transform",
        summary="Make an image from an image",
        opt=_feature(
            ImageTransform, "Make an image from an image", {"prompt": "In oil colours", "image": _IMAGE}
        ),
    )
    async def transform_image(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion | Accepted]:
        """Make an image from a prompt and an image."""
        return await features.run(
            request, "image_transform", await read_json(request, ImageTransform, lax=True)
        )


class VideoController(Controller):
    """Videos."""

    path = "/v1/videos"

    @post(
        "/generate",
        status_code=200,
        operation_id="video_generate",
        summary="Make a video",
        opt=_feature(VideoGenerate, "Make a video", {"prompt": _CAT, "style": "anime", "async_mode": True}),
    )
    async def generate_video(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion | Accepted]:
        """Make a video from a prompt."""
        return await features.run(
            request, "video_generate", await read_json(request, VideoGenerate, lax=True)
        )

    @post(
        "/transform",
        status_code=200,
        operation_id="video_transform",
        summary="Make a video from an image",
        opt=_feature(
            VideoTransform,
            "Make a video from an image",
            {"prompt": "The cat turns its head", "image": _IMAGE, "async_mode": True},
        ),
    )
    async def transform_image(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion | Accepted]:
        """Make a video from a prompt and an image."""
        return await features.run(
            request, "video_transform", await read_json(request, VideoTransform, lax=True)
        )

    @post(
        "/remix",
        status_code=200,
        operation_id="video_remix",
        summary="Make a new video from one of this server's",
        opt=_feature(
            VideoRemix,
            "Make a new video from one of this server's",
            {"prompt": "At night", "remix_target_id": _SHARE_ID, "async_mode": True},
        ),
    )
    async def remix_video(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion | Accepted]:
        """Make a video from a prompt and a finished video."""
        return await features.run(request, "video_remix", await read_json(request, VideoRemix, lax=True))

    @post(
        "/storyboard",
        status_code=200,
        operation_id="video_storyboard",
        summary="Make a video of several shots",
        opt=_feature(
            VideoStoryboard,
            "Make a video of several shots",
            {"prompt": "[5.0s]A cat wakes up [5.0s]It jumps off the sofa", "async_mode": True},
        ),
    )
    async def generate_storyboard(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion | Accepted]:
        """Make a video from a prompt that describes its shots."""
        return await features.run(
            request, "video_storyboard", await read_json(request, VideoStoryboard, lax=True)
        )


class CharacterController(Controller):
    """Characters, which prompts mention as ``@username``."""

    path = "/v1/characters"

    @post(
        "/create",
        status_code=200,
        summary="Create a character from a person in a video (stream only)",
        opt=_feature(CharacterCreate, "From a link", {"video": _VIDEO, "stream": True}),
    )
    async def create_character(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion]:
        """Create a character from a video."""
        fields = await read_json(request, CharacterCreate, lax=True)
        _require_stream(fields.stream)
        return await features.create_character(
            request, fields.video, fields.timestamps, model=VIDEO_MODEL, stream=True
        )

    @post(
        "/generate",
        status_code=200,
        summary="Make a video with the character of another (stream only)",
        opt=_feature(
            CharacterGenerate, "From a link", {"prompt": "They dance", "video": _VIDEO, "stream": True}
        ),
    )
    async def generate_with_character(
        self, request: HTTPRequest, features: NamedDependency[FeatureHandlers]
    ) -> Response[Completion]:
        """Make a video with the character that another video shows."""
        fields = await read_json(request, CharacterGenerate, lax=True)
        features.model_for(fields.model, MediaKind.VIDEO)
        _require_stream(fields.stream)
        return await features.generate(request, parsed_character_request(fields), stream=True)

    @delete(
        "/{username:str}",
        status_code=200,
        summary="Remove a character; jobs that use it have their own copies",
    )
    async def delete_character(
        self,
        request: HTTPRequest,
        features: NamedDependency[FeatureHandlers],
        username: FromPath[str],
    ) -> CharacterDeleted:
        """Remove one of the key's own characters and its images."""
        return await features.delete_character(request, username)


def _require_stream(stream: bool | None) -> None:
    if not stream:
        raise InvalidRequest("stream must be true: this endpoint only streams", param="stream")


class TaskController(Controller):
    """Tasks, which ``async_mode`` creates."""

    path = "/v1/tasks"

    @get("/{task_id:str}", summary="State of a task, and its result")
    async def task(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        features: NamedDependency[FeatureHandlers],
        task_id: FromPath[str],
    ) -> TaskState:
        """Return the state of a task, with links to its result."""
        job = await client_jobs.find_own_job(job_id(task_id), noun="task", requested=task_id, param="task_id")
        return task_state(job, await features.files.links(request, job))


class FileController(Controller):
    """Result files."""

    path = "/v1/files"

    @route(
        "/{name:str}",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("video/mp4", "image/png")},
        summary="A result by the name in its link",
    )
    async def file(
        self, request: HTTPRequest, files: NamedDependency[ResultFiles], name: FromPath[str]
    ) -> ASGIApp:
        """Send a result file."""
        return await files.send(request, name)
