"""The server of this machine's config, with everybody's jobs and characters: its operator's view."""

import datetime
import shutil
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from framegate.cli.servers.protocol import InputFile, ResultFile
from framegate.cli.servers.views import ChangeView, CharacterView, JobView, ResultView
from framegate.core.characters import Character
from framegate.core.errors import InvalidRequest
from framegate.core.jobs import Job, JobState
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.registry import FALLBACK_MODEL
from framegate.core.submission import Submission
from framegate.core.types import GenerationRequest, MediaKind, MediaRef
from framegate.core.wiring import CoreServices


class LocalServer:
    """See `Server`."""

    def __init__(self, services: CoreServices) -> None:
        self._jobs = services.jobs
        self._characters = services.characters
        self._results = services.results

    async def submit(self, request: GenerationRequest[InputFile]) -> JobView:
        """See `Server`."""
        media = {name: _source(name, file) for name, file in request.media.items()}
        ready = cast(
            GenerationRequest[MediaSource],
            replace(request, model=request.model or FALLBACK_MODEL, **cast(Any, media)),
        )
        return view_of(await self._jobs.submit(Submission(dialect="cli", request=ready)))

    async def list_jobs(self, *, states: Collection[JobState], limit: int) -> Sequence[JobView]:
        """See `Server`."""
        return [view_of(job) for job in await self._jobs.list(states=states, limit=limit)]

    async def get_job(self, job_id: str) -> JobView:
        """See `Server`."""
        return await self._view(await self._jobs.get(job_id))

    async def watch_job(self, job_id: str) -> AsyncGenerator[JobView]:
        """See `Server`."""
        async with aclosing(self._jobs.watch(job_id)) as states:
            async for job in states:
                yield await self._view(job)

    async def cancel_job(self, job_id: str) -> JobView:
        """See `Server`."""
        return view_of(await self._jobs.cancel(job_id))

    async def retry_job(self, job_id: str) -> JobView:
        """See `Server`."""
        return view_of(await self._jobs.retry(job_id))

    async def delete_job(self, job_id: str) -> None:
        """See `Server`."""
        await self._jobs.delete(job_id)

    async def save_result(self, job: JobView, number: int, file: ResultFile) -> None:
        """See `Server`."""
        artifact = (await self._jobs.get(job.id)).artifacts[number]
        with (await self._results.path(artifact)).open("rb") as stored:
            shutil.copyfileobj(stored, file)

    async def list_characters(self) -> Sequence[CharacterView]:
        """See `Server`."""
        return [_character_view(character) for character in await self._characters.list()]

    async def get_character(self, username: str) -> CharacterView:
        """See `Server`."""
        return _character_view(await self._characters.get(username))

    async def delete_character(self, username: str) -> None:
        """See `Server`."""
        await self._characters.delete(username)

    async def _view(self, job: Job) -> JobView:
        """Return the view of a job with its place in the queue, and how long it will take."""
        [outlook] = await self._jobs.outlooks([job])
        return replace(view_of(job), position=outlook.position, eta_seconds=outlook.seconds_left)


def view_of(job: Job) -> JobView:
    """Return the view of a job; ``document`` has every field, defaults included, and the seed."""
    document = {name: getattr(job, name) for name in job.__struct_fields__}
    return JobView(
        id=job.id,
        state=job.state,
        progress=job.progress,
        message=job.message,
        model=job.model,
        served_by=job.served_by,
        task=job.request.task,
        owner=job.owner,
        dialect=job.dialect,
        request=_used_values(job),
        changes=tuple(ChangeView(c.field, c.requested, c.used, c.why) for c in job.changes),
        results=tuple(msgspec.convert(a, ResultView, from_attributes=True) for a in job.artifacts),
        error=job.error,
        share_id=job.share_id,
        attempt=job.attempt,
        created_at=_moment(job.created_at),
        started_at=_moment(job.started_at),
        finished_at=_moment(job.finished_at),
        metadata=job.labels,
        document={**document, "seed": job.seed},
    )


def _used_values(job: Job) -> dict[str, Any]:
    """Return the values that the job was made with, by the names of `GenerationRequest`."""
    request, shot = job.request, job.shots[0]
    video = request.task.output == MediaKind.VIDEO
    frames = sum(shot.frames_kept for shot in job.shots)
    values: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": shot.negative_prompt,
        "width": shot.width,
        "height": shot.height,
        **({"num_frames": frames, "duration": frames / shot.fps, "fps": shot.fps} if video else {}),
        "num_outputs": request.num_outputs,
        "num_inference_steps": shot.num_inference_steps,
        "guidance_scale": shot.guidance_scale,
        "strength": shot.strength,
        "style": shot.style,
        "seed": shot.seed,
        "num_fragments": request.num_fragments,
        "storyboard": [f"{shot.duration:g} s: {shot.prompt}" for shot in request.storyboard],
        "partial_images": request.num_partial_images,
        **{name: _input(ref) for name, ref in request.media.items()},
        "extend": request.extends_video,
        "priority": job.priority,
        "webhooks": [urlsplit(url).hostname for url in job.webhooks],
    }
    return {name: value for name, value in values.items() if value not in ("", None, [], False)}


def _input(ref: MediaRef) -> str:
    length = f", {ref.num_frames} frames at {ref.fps:g} fps" if ref.kind == MediaKind.VIDEO else ""
    size = f", {ref.size:,} bytes" if ref.size else ""
    return f"{ref.width}×{ref.height}{length}{size}"


def _character_view(character: Character) -> CharacterView:
    frame = character.reference
    return CharacterView(
        username=character.username,
        display_name=character.display_name,
        owner=character.owner,
        created_at=_moment(character.created_at),
        temporary=character.temporary,
        details=(("avatar", character.avatar), ("reference", f"{frame.key}, {frame.width}×{frame.height}")),
        document=character,
    )


def _source(name: str, file: InputFile) -> MediaSource:
    if not isinstance(file, Path):
        return file
    try:
        return BytesSource(file.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"--{name}: {file} can't be read: {error.strerror}.") from None


def _moment(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
