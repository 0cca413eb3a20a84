"""Submit jobs: read the body, find its inputs, and queue the job."""

from collections.abc import Mapping
from typing import Any

import msgspec

from framegate.core.concurrency import FILE_THREADS
from framegate.core.errors import ArtifactGone, InvalidMedia, InvalidRequest, NotFound, PermissionDenied
from framegate.core.jobs import Job
from framegate.core.ports import BytesSource, MediaSource, StoredSource
from framegate.core.registry import ServedModel
from framegate.core.remixing import result_as_input
from framegate.core.types import MEDIA_KINDS, GenerationRequest, MediaKind, StoryboardShot, Task
from framegate.server.auth.keys import is_operator
from framegate.server.dialect import DialectContext
from framegate.server.dialects.framegate.answers import CORE_NAMES
from framegate.server.dialects.framegate.rules import SubmissionRules
from framegate.server.dialects.framegate.schemas import NewJob, ResultReference
from framegate.server.dialects.framegate.sizes import Size, parse_aspect, parse_resolution, size_for
from framegate.server.dialects.openai.extras import METADATA, metadata_labels, split_form
from framegate.server.dialects.openai.fields import find_mentions
from framegate.server.errors.field_errors import FieldError
from framegate.server.requests.bodies import (
    FORMS,
    HTTPRequest,
    convert_fields,
    read_form_values,
    read_json,
    upload_bytes,
)
from framegate.server.requests.idempotency import header_idempotency_key, request_fingerprint
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.media import media_source

FILES: Mapping[str, bool] = dict.fromkeys((*MEDIA_KINDS, "audio"), False)
"""The files that a form may have."""
_OBJECTS = (*FILES, METADATA, "postprocess")
"""The fields of a form that may be JSON objects as text."""


class JobSubmitter:
    """Submit the jobs of this API. ``model`` is the default model."""

    def __init__(self, context: DialectContext, *, model: str) -> None:
        self._services = context.services
        self._max_input = context.max_input
        self._model = model
        jobs = context.services.jobs
        self._rules = SubmissionRules(jobs.registry, jobs.styles, model=model)

    async def submit(self, request: HTTPRequest, jobs: ClientJobs) -> Job:
        """Read the request and submit its job, or return the one that it has submitted before."""
        fields, uploads = await self._read(request)
        if fields.priority > 0 and not is_operator(request.scope):
            raise PermissionDenied(
                f"The priority {fields.priority} is above 0, which needs a key with the scope admin.",
                param="priority",
            )
        digest = await request_fingerprint(request, "framegate", fields, uploads)
        media = {
            name: await self._source(jobs, name, fields, uploads) for name in _media_names(fields, uploads)
        }
        served = self._services.jobs.registry.resolve(fields.model or self._model)
        generation_request = _generation(fields, served, media)
        from_video = bool(fields.remix_of) or "video" in media
        try:
            return await jobs.submit(
                generation_request,
                prompt_optional=True,
                labels=metadata_labels(fields.metadata),
                remix_of=fields.remix_of or "",
                remixes_video="video" in media and fields.task != Task.VIDEO_TO_VIDEO,
                inherit_source_settings=from_video,
                characters=find_mentions(generation_request.prompt),
                idempotency=header_idempotency_key(request.headers, digest),
                webhook_url=fields.webhook_url or "",
                priority=fields.priority,
            )
        except (InvalidRequest, NotFound) as error:
            error.param = _own_name(error.param, fields)
            raise

    async def _read(self, request: HTTPRequest) -> tuple[NewJob, dict[str, bytes]]:
        """Return the body's fields, and its files by name.

        Raises:
            InvalidFields: Fields or files are wrong; all of them are named.
            InvalidRequest: The names of a form's fields contradict each other, or a file is too large.
            UnsupportedContentType: The body is neither JSON nor a form.
        """
        if request.content_type[0] not in FORMS:
            return await read_json(request, NewJob, self._rules.for_uploads(())), {}
        form = await read_form_values(request, NewJob, FILES)
        values, uploads, found = split_form(request, form.multi_items(), FILES)
        found += [
            FieldError((name,), "value_error", "This is given as a file and as a text; give only one of them")
            for name in uploads.keys() & values.keys()
        ]
        rules = self._rules.for_uploads(uploads)
        fields = convert_fields(request, _parse_objects(values), NewJob, rules, found=found)
        return fields, {
            name: await upload_bytes(upload, name, self._max_input) for name, upload in uploads.items()
        }

    async def _source(
        self, jobs: ClientJobs, name: str, fields: NewJob, uploads: Mapping[str, bytes]
    ) -> MediaSource:
        """Return the source of the input ``name``.

        Raises:
            InvalidRequest, JobNotFound: It names nothing that could be used.
        """
        if name in uploads:
            return BytesSource(uploads[name])
        given = getattr(fields, name)
        if not isinstance(given, ResultReference):
            return media_source(given, name)
        try:
            job = await self._services.jobs.get(given.job, jobs.client.name)
        except NotFound as error:
            error.param = name
            raise
        if given.result >= len(job.artifacts):
            raise InvalidMedia(
                f"The job {job.id} is {job.state} and has no result {given.result}; it has "
                f"{len(job.artifacts)}, counted from 0.",
                param=name,
            )
        made = job.artifacts[given.result]
        if made.kind != MEDIA_KINDS[name]:
            raise InvalidMedia(
                f"The result {given.result} of the job {job.id} is of the kind {made.kind}; this field takes "
                f"the kind {MEDIA_KINDS[name]}.",
                param=name,
            )
        if name != "mask":
            return StoredSource(result_as_input(made))
        try:  # a mask is fitted to its image, which its source decides
            path = await self._services.results.path(made)
            return BytesSource(await FILE_THREADS.run(path.read_bytes))
        except (ArtifactGone, FileNotFoundError):
            raise ArtifactGone("The mask was removed: its retention time is over.", param=name) from None


def _media_names(fields: NewJob, uploads: Mapping[str, bytes]) -> list[str]:
    return [name for name in MEDIA_KINDS if name in uploads or getattr(fields, name) is not None]


def _parse_objects(values: dict[str, Any]) -> dict[str, Any]:
    """Return a form's values, with those parsed that may be JSON objects, and are."""
    for name in _OBJECTS:
        text = values.get(name)
        if isinstance(text, str) and text.lstrip()[:1] == "{":
            try:
                values[name] = msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError):
                continue  # then it is refused as a text
    return values


def _generation(
    fields: NewJob, served: ServedModel, media: Mapping[str, MediaSource]
) -> GenerationRequest[MediaSource]:
    size = Size(fields.width, fields.height)
    if fields.aspect or fields.resolution:
        ratio = parse_aspect(fields.aspect) if fields.aspect else None
        short = parse_resolution(fields.resolution) if fields.resolution else None
        size = size_for(served.spec, ratio, short)
    storyboard = tuple(
        StoryboardShot("\n".join(filter(None, (fields.prompt.strip(), shot.prompt))), shot.duration)
        for shot in fields.storyboard or ()
    )
    return GenerationRequest[MediaSource](
        model=served.name,
        task=_task(fields, served, media),
        prompt=fields.prompt if fields.prompt.strip() else "\n".join(shot.prompt for shot in storyboard),
        negative_prompt=fields.negative_prompt,
        width=size.width,
        height=size.height,
        max_pixels=size.max_pixels,
        num_frames=fields.num_frames,
        duration=fields.duration,
        fps=fields.fps,
        num_inference_steps=fields.num_inference_steps,
        guidance_scale=fields.guidance_scale,
        strength=fields.strength,
        seed=fields.seed,
        style=fields.style or None,
        num_outputs=fields.num_outputs or 1,
        storyboard=storyboard,
        num_partial_images=fields.partial_images,
        extends_video=fields.extend,
        image=media.get("image"),
        last_image=media.get("last_image"),
        mask=media.get("mask"),
        video=media.get("video"),
    )


def _task(fields: NewJob, served: ServedModel, media: Mapping[str, MediaSource]) -> Task:
    """Return the task as it is named, or as the inputs and the model tell.

    A model that makes both makes a video, unless the request has what only images have.
    """
    if fields.task is not None:
        return fields.task
    for_images = (fields.num_outputs or 1) > 1 or fields.partial_images > 0 or "mask" in media
    if not served.makes(MediaKind.VIDEO) or (for_images and served.makes(MediaKind.IMAGE)):
        return Task.IMAGE_TO_IMAGE if "image" in media else Task.TEXT_TO_IMAGE
    # What starts from a video is decided by the service, which knows what the model makes of it.
    return Task.IMAGE_TO_VIDEO if {"image", "last_image"} & media.keys() else Task.TEXT_TO_VIDEO


def _own_name(param: str | None, fields: NewJob) -> str | None:
    """Return this API's name of a field of the core."""
    if fields.storyboard and param in ("prompt", "duration"):
        return "storyboard"
    return CORE_NAMES.get(param or "", param)
