"""Submit and find the jobs of the client behind a request, and read their results."""

from collections.abc import Collection, Mapping
from typing import TypedDict, Unpack

import structlog

from framegate.core.errors import GenerationFailed, JobCancelled, JobNotFound
from framegate.core.jobs import CLIENT_ID_LABEL, Job, JobState, is_generated_id, job_id_for
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
    """A job's details besides its generation request; see `framegate.core.submission.Submission`.

    A ``job_id`` is one that the dialect draws at random; `ClientJobs.submit` takes those that clients choose.
    """

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
    priority: int


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
        client_id: str = "",
        **details: Unpack[SubmissionDetails],
    ) -> Job:
        """Submit a job for this client and put its id on the request's log line.

        ``client_id`` is the client's own id for the job, where the dialect allows one: it is unique among the
        client's jobs, and `find_by_client_id` finds the job by it.

        Fetching and decoding its inputs takes a while. If the client disconnects meanwhile, it could never
        learn of the job: the work ends, and there is no job. The request's body must have been read.

        Raises:
            ClientDisconnected, ServerStopping: There is no job.
            FramegateError: The errors of `JobService.submit`.
        """
        if client_id:
            details["job_id"] = job_id_for(self.client.name, client_id)
            if details["job_id"] != client_id:
                details["labels"] = {**details.get("labels", {}), CLIENT_ID_LABEL: client_id}
        submission = Submission(
            dialect=self._dialect,
            request=request,
            client=self.client,
            request_id=request_id_of(self._request.scope),
            **details,
        )
        preparation = self._service.prepare(submission)
        if submission.has_inputs:
            preparation = while_connected(self._request.receive, preparation)
        prepared = await preparation
        job = await self._service.enqueue(prepared)
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

    async def find_by_client_id(self, client_id: str, *, noun: str = "job") -> Job:
        """Return the job of this client and dialect that the client knows by this id; see `find_own_job`.

        That is an id of the client's own choice, or the job's own id if the client has chosen none.
        """
        # Jobs of earlier versions, and those without a chosen id, are stored by the id that is shown.
        stored_as = [job_id_for(self.client.name, client_id), job_id_for("", client_id)]
        if is_generated_id(client_id):
            stored_as.reverse()  # rarely a client's choice
        job = await self._service.find_first(
            list(dict.fromkeys(stored_as)), lambda job: self.owns(job) and job.client_id == client_id
        )
        if job is None:
            raise JobNotFound(f"There is no {noun} {client_id[:100]!r}.")
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
