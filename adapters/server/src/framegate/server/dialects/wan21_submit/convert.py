"""Translate between wan21-submit's bodies and the core. Pure."""

from collections.abc import Sequence

from framegate.core.errors import InvalidMedia
from framegate.core.jobs import Job, JobState
from framegate.core.models import FrameRule
from framegate.core.ports import MediaSource
from framegate.core.registry import ServedModel
from framegate.core.types import GenerationRequest, Task
from framegate.server.dialects.wan21_submit.schemas import (
    Results,
    Status,
    StatusAnswer,
    SubmitRequest,
    Timings,
    Video,
)
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.jobs import failure_message
from framegate.server.requests.media import is_url, media_source

AUTO_PIXELS = 480 * 832
FRAMES = FrameRule(step=4, offset=1, min=25, max=121)
_WORDS = {
    JobState.QUEUED: Status.IN_QUEUE,
    JobState.RUNNING: Status.IN_PROGRESS,
    JobState.SUCCEEDED: Status.SUCCEED,
    JobState.FAILED: Status.FAILED,
    JobState.CANCELLED: Status.CANCELLED,
}


def generation(served: ServedModel, body: SubmitRequest) -> GenerationRequest[MediaSource]:
    """Return the request for a body's video.

    Raises:
        InvalidFields: The model needs an image, and there is none.
        InvalidMedia: The image is not given by an http(s) URL.
    """
    url = (body.image_url or "").strip()
    task = Task.IMAGE_TO_VIDEO if url else Task.TEXT_TO_VIDEO
    if task == Task.TEXT_TO_VIDEO and task not in served.spec.tasks:
        raise InvalidFields(
            [FieldError(("image_url",), "missing", f"The model {served.name} needs an image")]
        )
    if url and not is_url(url):
        raise InvalidMedia(f"image_url: {url[:100]!r} is not an http(s) URL.", param="image_url")
    auto = body.image_size == "auto"
    width, height = (None, None) if auto else map(int, body.image_size.split("x"))
    return GenerationRequest(
        model=served.name,
        task=task,
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        width=width,
        height=height,
        max_pixels=AUTO_PIXELS if auto else None,
        num_frames=FRAMES.nearest(body.num_frames),
        num_inference_steps=body.infer_steps,
        guidance_scale=body.guidance_scale,
        seed=body.seed,
        image=media_source(url, "image_url") if url else None,
    )


def status_of(job: Job) -> Status:
    """Return the status to show: an acknowledged cancel always wins, so it is shown at once."""
    return _WORDS[JobState.CANCELLED if job.cancel_requested and not job.state.finished else job.state]


def answer(job: Job, *, queue_position: int | None, links: Sequence[str]) -> StatusAnswer:
    """Return the answer to a status call."""
    status = status_of(job)
    match status:
        case Status.SUCCEED:
            results = Results([Video(link) for link in links], Timings(_seconds(job)), job.seed)
            return StatusAnswer(status=status, results=results)
        case Status.FAILED:
            return StatusAnswer(status=status, reason=failure_message(job))
        case Status.CANCELLED:
            return StatusAnswer(status=status, reason="The request was cancelled.")
        case _:
            return StatusAnswer(status=status, queue_position=queue_position)


def _seconds(job: Job) -> float:
    """Return how long the successful attempt took."""
    if job.started_at is None or job.finished_at is None:
        return 0.0
    return round(job.finished_at - job.started_at, 3)
