"""Submit and find the jobs of the client behind a request, and read their results."""

from collections.abc import Collection, Mapping
from typing import TypedDict, Unpack

import structlog

from framegate.core.errors import GenerationFailed, JobCancelled, JobNotFound
from framegate.core.jobs import Job, JobState
from framegate.core.ports import IdempotencyKey, MediaSource
from framegate.core.service import JobService
from framegate.core.submission import Submission
from framegate.core.types import Artifact, GenerationRequest
from framegate.server.auth.keys import client_of
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.waiting import while_connected

MAX_LISTED = 1000


class SubmissionDetails(TypedDict, total=False):
    """A job's details besides its generation request; see `framegate.core.submission.Submission`."""

    job_id: str
    prompt_optional: bool
    mask_ignores_alpha: bool
    labels: Mapping[str, str]
    remix_of: str
    remixes_video: bool
    inherit_source_settings: bool
    characters: tuple[str, ...]
    idempotency: IdempotencyKey | None
    collection: str
    webhook_url: str


class ClientJobs:
    """The jobs that the client behind a request has within one dialect.

    Handlers get it as the dependency ``client_jobs``. Jobs of other clients or dialects can't be found.
    """

    def __init__(self, request: HTTPRequest, service: JobService, dialect: str) -> None:
        self.client = client_of(request.scope)
        self._request = request
        self._service = service
        self._dialect = dialect

    async def submit(
        self,
        request: GenerationRequest[MediaSource],
        *,
        cancel_on_disconnect: bool = False,
        **details: Unpack[SubmissionDetails],
    ) -> Job:
        """Submit a job for this client and put its id on the request's log line.

        With ``cancel_on_disconnect`` the submission is abandoned if the client disconnects before its
        inputs have been fetched. The errors are those of `JobService.submit`.
        """
        submission = self._service.submit(
            Submission(
                dialect=self._dialect,
                request=request,
                client=self.client,
                request_id=request_id_of(self._request.scope),
                **details,
            )
        )
        if cancel_on_disconnect:
            submission = while_connected(self._request.receive, submission)
        job = await submission
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return job

    async def find_own_job(
        self,
        job_id: str,
        *,
        collection: str = "",
        noun: str = "job",
        requested: str | None = None,
        param: str | None = None,
    ) -> Job:
        """Return a job of this client and dialect, and put its id on the request's log line.

        With ``collection`` it must be in that collection. ``noun`` is what the dialect calls a job,
        ``requested`` the id as the client gave it, if that differs, and ``param`` the field that holds it.

        Raises:
            JobNotFound: No job has this id, or it belongs to another client or dialect.
        """
        shown = job_id if requested is None else requested
        missing = JobNotFound(f"There is no {noun} {shown[:100]!r}.", param=param)
        try:
            job = await self._service.get(job_id, self.client.name)
        except JobNotFound:
            raise missing from None
        if not self.owns(job) or (collection and job.collection != collection):
            raise missing
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return job

    def owns(self, job: Job) -> bool:
        """Return whether ``job`` belongs to this client and dialect."""
        return job.owner == self.client.name and job.dialect == self._dialect

    async def list(self, *, states: Collection[JobState] = ()) -> list[Job]:
        """Return the client's newest jobs in this dialect, newest first; all states if none are given."""
        jobs = await self._service.list(owner=self.client.name, states=states, limit=MAX_LISTED)
        return [job for job in jobs if self.owns(job)]


def require_result(job: Job) -> Artifact:
    """Return the first artifact of a finished job.

    Raises:
        JobCancelled: The job was cancelled.
        GenerationFailed: The job failed; the message says why.
    """
    if job.state == JobState.CANCELLED:
        raise JobCancelled
    if not job.artifacts:
        raise GenerationFailed(failure_message(job))
    return job.artifacts[0]


def failure_message(job: Job) -> str:
    """Return why a failed job failed."""
    return job.error.message if job.error else "The generation failed."
