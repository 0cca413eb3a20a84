"""Show jobs as the server's own API does."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec import UNSET

from framegate.core.estimates import Outlook
from framegate.core.jobs import Job
from framegate.core.types import MediaKind, MediaRef
from framegate.server.auth.keys import is_operator
from framegate.server.dialect import DialectContext
from framegate.server.dialects.framegate.schemas import (
    ErrorObject,
    InputObject,
    JobObject,
    ResultObject,
    StoryboardItem,
    UsedValues,
)
from framegate.server.dialects.openai.extras import metadata_of
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.changes import field_changes
from framegate.server.responses.public_links import server_url

CORE_NAMES: Mapping[str, str] = {"num_partial_images": "partial_images", "extends_video": "extend"}
"""This API's names of the core's request fields, where they differ."""


class JobObjects:
    """Turn jobs into the objects that clients see."""

    def __init__(self, context: DialectContext) -> None:
        self._jobs = context.services.jobs
        self._public_url = context.public_url
        self._prefix = context.prefix
        self._retention = context.retention

    def view(self, request: HTTPRequest) -> Hashable:
        """Return what of a request decides how a job is shown: two requests with the same see the same."""
        return server_url(request, self._public_url), is_operator(request.scope)

    async def show_all(self, request: HTTPRequest, jobs: Sequence[Job]) -> list[JobObject]:
        """Return the jobs' objects, with links that work from where the request came from."""
        url, for_operators = server_url(request, self._public_url), is_operator(request.scope)
        outlooks = await self._jobs.outlooks(jobs)
        return [
            self._object(job, outlook, f"{url}{self._prefix}/jobs", for_operators=for_operators)
            for job, outlook in zip(jobs, outlooks, strict=True)
        ]

    async def show(self, request: HTTPRequest, job: Job) -> JobObject:
        """Return one job's object."""
        [shown] = await self.show_all(request, [job])
        return shown

    def _object(self, job: Job, outlook: Outlook, url: str, *, for_operators: bool) -> JobObject:
        """Return a job's object; ``url`` is that of all jobs."""
        files, left = f"{url}/{quote(job.id, safe='')}/results", outlook.seconds_left
        return JobObject(
            id=job.id,
            state=job.state,
            progress=job.progress,
            message=job.message,
            position=outlook.position,
            eta_seconds=None if left is None else round(left, 1),
            model=job.model,
            served_by=job.served_by,
            task=job.request.task,
            request=used_values(job),
            changes=field_changes(job, CORE_NAMES),
            results=[
                ResultObject(
                    url=f"{files}/{number}",
                    kind=made.kind,
                    content_type=made.content_type,
                    size=made.size,
                    width=made.width,
                    height=made.height,
                    num_frames=made.num_frames,
                    fps=made.fps,
                    duration=made.duration,
                )
                for number, made in enumerate(job.artifacts)
            ],
            error=ErrorObject(job.error.code, job.error.message) if job.error else None,
            share_id=job.share_id or None,
            attempt=job.attempt,
            created_at=_moment(job.created_at),
            started_at=None if job.started_at is None else _moment(job.started_at),
            finished_at=None if job.finished_at is None else _moment(job.finished_at),
            expires_at=None if job.finished_at is None else _moment(job.finished_at + self._retention),
            metadata=metadata_of(job.labels) or {},
            owner=job.owner if for_operators else UNSET,
            dialect=job.dialect if for_operators else UNSET,
        )


def used_values(job: Job) -> UsedValues:
    """Return the values with which a job is made."""
    request, shot = job.request, job.shots[0]
    is_video = request.task.output == MediaKind.VIDEO
    num_frames = sum(each.frames_kept for each in job.shots)
    return UsedValues(
        prompt=request.prompt,
        negative_prompt=shot.negative_prompt,
        width=shot.width,
        height=shot.height,
        num_frames=num_frames if is_video else None,
        duration=num_frames / shot.fps if is_video and shot.fps else None,
        fps=shot.fps if is_video else None,
        num_inference_steps=shot.num_inference_steps,
        guidance_scale=shot.guidance_scale,
        strength=shot.strength,
        seed=job.seed,
        num_outputs=1 if is_video else shot.num_frames,
        style=request.style,
        storyboard=[StoryboardItem(each.prompt, each.duration) for each in request.storyboard],
        image=_input(request.image),
        last_image=_input(request.last_image),
        mask=_input(request.mask),
        video=_input(request.video),
        extend=request.extends_video,
        priority=job.priority,
        partial_images=request.num_partial_images,
    )


def _input(ref: MediaRef | None) -> InputObject | None:
    return None if ref is None else InputObject(ref.kind, ref.width, ref.height)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
