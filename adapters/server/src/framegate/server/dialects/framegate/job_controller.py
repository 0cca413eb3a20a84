"""Jobs: submit, list, follow, cancel, retry and delete them, and fetch their files."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from litestar import Controller, Response, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import ASGIApp

from framegate.core.errors import GenerationFailed, InvalidMedia, InvalidRequest, NotFound, PermissionDenied
from framegate.core.jobs import Job, JobState
from framegate.core.ports import JobFilter
from framegate.core.types import Artifact, Variant
from framegate.core.wiring import CoreServices
from framegate.server.auth.keys import client_of, is_operator
from framegate.server.dialects.framegate.answers import JobObjects
from framegate.server.dialects.framegate.events import HEARTBEAT_SECONDS, JobEvents
from framegate.server.dialects.framegate.schemas import JobList, JobObject, NewJob
from framegate.server.dialects.framegate.submission import FILES, JobSubmitter
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents
from framegate.server.requests.idempotency import fingerprint, header_idempotency_key
from framegate.server.requests.jobs import ClientJobs
from framegate.server.responses.files import send_artifact, send_file, sends_files
from framegate.server.responses.sse import STREAMS, EventStream
from framegate.server.responses.waiting import while_connected

EVERYBODY = "*"
_CURSOR = re.compile(r"[0-9a-f]{1,14}")
_NUMBER = re.compile(r"[0-9]{1,6}")
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4"}
_EXAMPLES: Mapping[str, Any] = {
    "Text to video": {"prompt": "A white cat on a surfboard", "aspect": "16:9", "duration": 2, "seed": 7},
    "Image to video": {"prompt": "The cat looks around", "image": "https://example.com/cat.png"},
    "Continue a video": {
        "prompt": "The cat jumps off",
        "video": {"job": "5f0c9a7be1d24c0f8a3b6d5e4c3b2a19", "result": 0},
        "extend": True,
        "duration": 2,
    },
    "Four images": {
        "prompt": "A white cat",
        "task": "text-to-image",
        "num_outputs": 4,
        "metadata": {"for": "me"},
    },
}


class JobController(Controller):
    """Jobs."""

    path = "/jobs"

    @post(
        "/",
        status_code=202,
        summary="Submit a job",
        opt=documents(NewJob, _EXAMPLES, content_type=MULTIPART, files=FILES, or_json=True),
    )
    async def submit_job(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        submitter: NamedDependency[JobSubmitter],
        objects: NamedDependency[JobObjects],
    ) -> Response[JobObject]:
        """Submit a job; a repeated `Idempotency-Key` is answered with the job that it made."""
        job = await submitter.submit(request, client_jobs)
        return Response(await objects.show(request, job), status_code=202)

    @get("/", summary="The caller's jobs, newest first")
    async def list_jobs(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        objects: NamedDependency[JobObjects],
        states: Annotated[list[JobState] | None, QueryParameter(name="state")] = None,
        model: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
        after: FromQuery[str] = "",
        owner: FromQuery[str] = "",
    ) -> JobList:
        """Return a part of the list. It may be shorter than `limit`: only a null `next` is the end.

        Jobs that others submit meanwhile neither shift it nor repeat anything. `owner`, a key's name or `*`
        for everybody, is for operators.
        """
        if after and not _CURSOR.fullmatch(after):
            raise InvalidRequest(
                f"{after[:100]!r} is not the `next` of an earlier part of this list.", param="after"
            )
        found = await services.jobs.scan(
            JobFilter(_listed_owner(request, owner), frozenset(states or ()), model),
            before=int(after, 16) if after else None,
            limit=limit,
        )
        items = await objects.show_all(request, found.jobs)
        return JobList(items, None if found.next is None else f"{found.next:x}")

    @get("/{job_id:str}", summary="A job")
    async def get_job(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        objects: NamedDependency[JobObjects],
        job_id: FromPath[str],
    ) -> JobObject:
        """Return a job as it is now."""
        return await objects.show(request, await _find(request, services, job_id))

    @delete("/{job_id:str}", summary="Remove a job with its files; it is cancelled first if it has not ended")
    async def delete_job(
        self, request: HTTPRequest, services: NamedDependency[CoreServices], job_id: FromPath[str]
    ) -> None:
        """Remove a job with its files."""
        job = await _find(request, services, job_id)
        await services.jobs.delete(job.id, job.owner)

    @get(
        "/{job_id:str}/events",
        summary="Follow a job: an event `job` at once and at each change, until it has ended",
        opt=STREAMS,
    )
    async def follow_job(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        events: NamedDependency[JobEvents],
        job_id: FromPath[str],
    ) -> Response[None]:
        """Send the job's states as server-sent events."""
        job = await _find(request, services, job_id)
        return EventStream(events.follow(request, job, job.owner), seconds=HEARTBEAT_SECONDS)

    @post("/{job_id:str}/cancel", status_code=200, summary="Cancel a job; one that has ended stays as it is")
    async def cancel_job(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        objects: NamedDependency[JobObjects],
        job_id: FromPath[str],
    ) -> JobObject:
        """Cancel a waiting job at once, or ask the worker of a running one to stop."""
        job = await _find(request, services, job_id)
        return await objects.show(request, await services.jobs.cancel(job.id, job.owner))

    @post("/{job_id:str}/retry", status_code=202, summary="Submit the request of a job that has ended again")
    async def retry_job(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        objects: NamedDependency[JobObjects],
        job_id: FromPath[str],
    ) -> Response[JobObject]:
        """Submit the same request as a new job, with copies of its inputs."""
        job = await _find(request, services, job_id)
        digest = fingerprint("framegate retry", job.id, {})
        again = await services.jobs.retry(
            job.id,
            job.owner,
            client=client_jobs.client if job.owner == client_jobs.client.name else None,
            request_id=request_id_of(request.scope),
            idempotency=header_idempotency_key(request.headers, digest),
        )
        return Response(await objects.show(request, again), status_code=202)


class JobFileController(Controller):
    """The files of jobs. Results, and the partial images of a job, are counted from 0."""

    path = "/jobs/{job_id:str}"

    @route(
        "/results/{number:str}",
        http_method=["GET", "HEAD"],
        opt=sends_files("video/mp4", "image/png"),
        summary="A result's file; `download=1` lets browsers save it",
    )
    async def get_result(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        job_id: FromPath[str],
        number: FromPath[str],
        download: FromQuery[bool] = False,
    ) -> ASGIApp:
        """Send a result, or the parts of it that the header Range names."""
        job = await _find(request, services, job_id)
        made = _result(job, _number(number))
        suffix = _SUFFIXES.get(made.content_type, "bin")
        name = f"{job.id}-{number}.{suffix}"
        return await send_artifact(request, services.results, made, name=name, inline=not download)

    @get(
        "/partial/{number:str}",
        opt=sends_files("image/webp"),
        summary="A partial image, while the job runs; `partial_images` requests some",
    )
    async def get_partial_image(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        job_id: FromPath[str],
        number: FromPath[str],
    ) -> Response[bytes]:
        """Send a partial image of the job's present attempt."""
        job = await _find(request, services, job_id)
        work = services.results.partial_image(job, _number(number), Variant.WEBP, quality=85)
        data = await while_connected(request.receive, work)
        if data is None:
            raise NotFound(
                f"The job {job.id} has no partial image {number[:100]!r} now: it is {job.state}, and "
                f"{job.request.num_partial_images} were requested."
            )
        return Response(data, media_type="image/webp", headers={"Cache-Control": "no-store"})

    @route(
        "/thumbnail",
        http_method=["GET", "HEAD"],
        opt=sends_files("image/webp"),
        summary="A small image of a result",
    )
    async def get_thumbnail(
        self,
        request: HTTPRequest,
        services: NamedDependency[CoreServices],
        job_id: FromPath[str],
        result: Annotated[int, QueryParameter(ge=0)] = 0,
    ) -> ASGIApp:
        """Send an image of a result with no side above 1024 pixels."""
        job = await _find(request, services, job_id)
        made = _result(job, result)
        work = services.results.variant_path(job, made, Variant.THUMBNAIL)
        try:
            path = await while_connected(request.receive, work)
        except InvalidMedia as error:  # nothing that the caller could fix
            raise GenerationFailed(f"The thumbnail can't be made: {error.message}") from error
        name = f"{job.id}-{result}-{Variant.THUMBNAIL}"
        return await send_file(request, path, "image/webp", name=name, inline=True)


async def _find(request: HTTPRequest, services: CoreServices, job_id: str) -> Job:
    """Return a job of the client, of whichever dialect; operators find everybody's.

    Raises:
        JobNotFound: No job has this id, or it belongs to another client.
    """
    owner = None if is_operator(request.scope) else client_of(request.scope).name
    job = await services.jobs.get(job_id, owner)
    structlog.contextvars.bind_contextvars(job_id=job.id)
    return job


def _listed_owner(request: HTTPRequest, requested: str) -> str | None:
    """Return whose jobs to list; None for everybody's.

    Raises:
        PermissionDenied: The client may only list its own.
    """
    own = client_of(request.scope).name
    if not requested or requested == own:
        return own
    if not is_operator(request.scope):
        raise PermissionDenied(
            "Jobs of other keys are listed for keys with the scope admin alone.", param="owner"
        )
    return None if requested == EVERYBODY else requested


def _result(job: Job, number: int) -> Artifact:
    """Return a result of a job.

    Raises:
        NotFound: It has none of this number.
    """
    if number >= len(job.artifacts):
        raise NotFound(
            f"The job {job.id} is {job.state} and has no result {number}; it has {len(job.artifacts)}, "
            "counted from 0."
        )
    return job.artifacts[number]


def _number(text: str) -> int:
    """Return the number of a file in a path, whose key is checked before it is read.

    Raises:
        NotFound: It is not a number.
    """
    if not _NUMBER.fullmatch(text):
        raise NotFound(f"There is no file {text[:100]!r}: files are counted from 0.")
    return int(text)
