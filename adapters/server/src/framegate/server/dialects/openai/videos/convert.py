"""Between OpenAI's videos API and the core. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from framegate.core.characters import Character
from framegate.core.errors import InvalidRequest
from framegate.core.jobs import Job, JobState
from framegate.core.ports import MediaSource
from framegate.core.types import GenerationRequest, Task
from framegate.server.dialects.openai.videos.schemas import (
    CharacterObject,
    CreateFields,
    ExtendFields,
    MakingFields,
    ShapeFields,
    Video,
    VideoError,
)
from framegate.server.errors.field_errors import FieldError, shortened

REMIXED_FROM = "remixed_from"
MOST_MENTIONS = 20

_SECONDS = re.compile(r"\d{1,4}(\.\d{1,3})?", re.ASCII)
_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})", re.ASCII)
_MENTION = re.compile(r"(?<![\w@.])@(\w{1,64})", re.ASCII)
_STATUS: Mapping[JobState, Any] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


def rules(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """What a field's own type can't say."""
    seconds = values.get("seconds")
    if seconds is not None and not _is_length(seconds):
        message = 'Input should be seconds such as "4"'
        yield FieldError(("seconds",), "value_error", message, shortened(seconds))
    size = values.get("size")
    if size is not None and not _SIZE.fullmatch(size):
        message = 'Input should be pixels such as "1280x720"'
        yield FieldError(("size",), "value_error", message, shortened(size))
    steps = values.get("steps"), values.get("num_inference_steps")
    if None not in steps and steps[0] != steps[1]:
        yield FieldError(("steps",), "value_error", "This is num_inference_steps; give one of them", steps[0])


def _is_length(seconds: Any) -> bool:
    return bool(_SECONDS.fullmatch(_plain(seconds))) and float(seconds) > 0


def _plain(seconds: str | float) -> str:
    return seconds if isinstance(seconds, str) else f"{seconds:g}"


def mentions(prompt: str) -> tuple[str, ...]:
    """The characters that a prompt calls by ``@id``."""
    names = dict.fromkeys(name.lower() for name in _MENTION.findall(prompt))
    return tuple(names)[:MOST_MENTIONS]


def generation(
    fields: MakingFields, model: str, task: Task = Task.TEXT_TO_VIDEO
) -> GenerationRequest[MediaSource]:
    """The video that is asked for; its media are not in it yet."""
    width = height = seconds = fps = None
    if isinstance(fields, ShapeFields):
        fps, seconds = fields.fps, fields.seconds
        if fields.size is not None:
            width, height = (int(side) for side in fields.size.split("x"))
    if isinstance(fields, ExtendFields):
        seconds = fields.seconds
    return GenerationRequest(
        model=model,
        task=task,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt or "",
        width=width,
        height=height,
        num_frames=fields.num_frames,
        duration=None if seconds is None or fields.num_frames is not None else float(seconds),
        fps=fps,
        num_inference_steps=fields.num_inference_steps or fields.steps,
        guidance_scale=fields.guidance_scale,
        seed=fields.seed,
        extends_video=isinstance(fields, ExtendFields),
    )


def picture_address(fields: CreateFields, *, uploaded: bool) -> tuple[str, str] | None:
    """The URL of a picture to start from, and the field that it is in. ``uploaded``: there is a file, too.

    Raises:
        InvalidRequest: a video can't start from what is given.
    """
    reference = fields.input_reference
    if reference and (reference.file_id or not reference.image_url):
        raise InvalidRequest(
            "This server keeps no uploaded files: give input_reference as a file, or as image_url.",
            param="input_reference.file_id" if reference.file_id else "input_reference",
        )
    addresses = [
        (text, name)
        for name, text in (
            ("image_url", fields.image_url),
            ("input_reference.image_url", reference.image_url if reference else None),
        )
        if text
    ]
    if len(addresses) + uploaded > 1:
        raise InvalidRequest("A video starts from one picture; several are given.", param=addresses[0][1])
    if fields.characters and (addresses or uploaded):
        raise InvalidRequest(
            "A video starts from a picture or from a character, not from both.", param="characters"
        )
    return addresses[0] if addresses else None


def video_object(job: Job, retention: float) -> Video:
    """``retention``: seconds for which a result is kept."""
    done = job.state == JobState.SUCCEEDED
    shot = job.shots[0]
    made = job.artifacts[0] if job.artifacts else shot
    ended = job.finished_at
    return Video(
        id=job.id,
        model=job.model,
        status=_STATUS[job.state],
        progress=100 if done else int(job.progress * 100),
        created_at=int(job.created_at),
        completed_at=int(ended) if ended is not None and done else None,
        expires_at=int(ended + retention) if ended is not None and done else None,
        prompt=job.request.prompt,
        size=f"{made.width}x{made.height}",
        seconds=f"{round(_length(job), 2):g}",
        seed=job.seed,
        remixed_from_video_id=job.labels.get(REMIXED_FROM),
        error=_error(job),
    )


def _length(job: Job) -> float:
    """Seconds, of the whole video where one is extended."""
    if job.artifacts:
        return job.artifacts[0].duration
    fps = job.shots[0].fps
    source = job.request.video if job.request.extends_video else None
    before = max(1, round(source.duration * fps)) if source else 0
    return (before + sum(shot.frames_kept for shot in job.shots)) / fps


def _error(job: Job) -> VideoError | None:
    match job.state:
        case JobState.FAILED:
            error = job.error
            return VideoError(
                error.code if error else "generation_failed",
                error.message if error else "The generation failed.",
            )
        case JobState.CANCELLED:
            return VideoError("cancelled", "The video was cancelled.")
        case _:
            return None


def character_object(character: Character) -> CharacterObject:
    return CharacterObject(character.username, character.display_name, int(character.created_at))
