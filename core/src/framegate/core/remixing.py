"""How a request changes when it starts from a given video or image. Pure."""

from msgspec.structs import replace

from framegate.core.fitting import FittedRequest, fit
from framegate.core.jobs import Job
from framegate.core.models import ModelSpec
from framegate.core.types import Artifact, GenerationRequest, MediaRef, Task

_TASK_FROM_IMAGE = {Task.TEXT_TO_IMAGE: Task.IMAGE_TO_IMAGE, Task.TEXT_TO_VIDEO: Task.IMAGE_TO_VIDEO}


def fit_remix(spec: ModelSpec, request: GenerationRequest) -> FittedRequest:
    """Fit ``request`` as the task with which the model starts from a video.

    This is video-to-video where the model makes the whole length that way, otherwise image-to-video from the
    video's first frame. An extension continues from its last frame, so it is image-to-video too.

    Raises:
        InvalidRequest: As for `fit`.
    """
    if not request.extends_video and not request.storyboard and Task.VIDEO_TO_VIDEO in spec.tasks:
        fitted = fit(spec, replace(request, task=Task.VIDEO_TO_VIDEO))
        if fitted.num_frames <= spec.frames.max:
            return fitted
    return fit(spec, replace(request, task=Task.IMAGE_TO_VIDEO))


def inherit_from(video: MediaRef, request: GenerationRequest) -> GenerationRequest:
    """Fill the size, frame rate and length that ``request`` leaves open with those of ``video``.

    The length of an extension stays open: it counts only what is added. A size of ``max_pixels`` stays so.
    """
    request = replace(request, fps=request.fps or video.fps)
    if request.max_pixels is None:
        width, height = request.width or video.width, request.height or video.height
        request = replace(request, width=width, height=height)
    if request.extends_video or request.num_frames is not None or request.duration is not None:
        return request
    return replace(request, duration=video.duration)


def result_video(job: Job) -> MediaRef:
    """Return the video that a job has made, as an input."""
    return result_as_input(job.artifacts[0])


def result_as_input(made: Artifact) -> MediaRef:
    """Return a result as an input of another job, which has to copy it."""
    return MediaRef(made.kind, made.key, made.width, made.height, made.num_frames, made.fps, made.size)


def start_from_image(request: GenerationRequest) -> GenerationRequest:
    """Return ``request`` with the task that starts from an image."""
    return replace(request, task=_TASK_FROM_IMAGE.get(request.task, request.task))
