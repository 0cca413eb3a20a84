"""The files of a video: the MP4 itself, a thumbnail, a sheet of its frames."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from litestar.types import ASGIApp

from framegate.core.errors import ArtifactGone, GenerationFailed, InvalidMedia, NotFound
from framegate.core.jobs import Job, JobState
from framegate.core.results import ResultAccess
from framegate.core.types import Variant
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import failure_message
from framegate.server.responses.files import send_artifact, send_file
from framegate.server.responses.waiting import while_connected

ContentKind: TypeAlias = Literal["video", "thumbnail", "spritesheet"]

_VARIANTS: Mapping[ContentKind, tuple[Variant, str]] = {
    "thumbnail": (Variant.THUMBNAIL, "image/webp"),
    "spritesheet": (Variant.SPRITESHEET, "image/jpeg"),
}


async def send_content(request: HTTPRequest, results: ResultAccess, job: Job, kind: ContentKind) -> ASGIApp:
    """Return the response with a video's file, or with an image made from it.

    Raises:
        NotFound: The video is not completed.
        ArtifactGone: It was removed after its retention.
        GenerationFailed: No image can be made from it.
    """
    if job.state != JobState.SUCCEEDED:
        raise NotFound(_not_ready(job), param="video_id")
    video = job.artifacts[0]
    try:
        if kind == "video":
            return await send_artifact(request, results, video, name=f"{job.id}.mp4")
        variant, content_type = _VARIANTS[kind]
        path = await while_connected(request.receive, results.variant_path(job, video, variant))
        return await send_file(request, path, content_type, name=f"{job.id}-{variant}")
    except ArtifactGone as error:
        error.param = "video_id"
        raise
    except InvalidMedia as error:  # nothing that the caller could fix
        raise GenerationFailed(f"The {kind} can't be made: {error.message}") from error


def _not_ready(job: Job) -> str:
    match job.state:
        case JobState.FAILED:
            return f"The video {job.id} has failed and has no content: {failure_message(job)}"
        case JobState.CANCELLED:
            return f"The video {job.id} was cancelled and has no content."
        case _:
            return (
                f"The video {job.id} is not ready yet ({job.progress:.0%}); use GET /v1/videos/{job.id} to "
                "check its status."
            )
