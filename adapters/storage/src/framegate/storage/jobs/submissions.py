"""New jobs as the scripts take them: what limits, lanes and indexes need of them, as JSON."""

import hashlib
import json
import time

import msgspec
from msgspec import Struct

from framegate.core.jobs import CLIENT_ID_LABEL, LOOKUP_LABEL, Job, is_generated_id
from framegate.core.ports import IdempotencyKey, Limits
from framegate.storage.jobs.compact import is_compact


class IdempotencyRecord(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An `IdempotencyKey`, with the client's key as a digest of fixed length.

    Its ``age`` is in seconds, for this host and Valkey's need not have the same time.
    """

    digest: str
    fingerprint: str
    seconds: int
    repeat: bool
    age: float
    call: str
    retries: int | None = None


class AdmissionCheck(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What decides whether a job is admitted; ``id`` is empty while the job has none.

    ``input_bytes`` are those of its stored inputs, 0 while there are none. ``client_id`` is an id that no
    other job of the owner and the ``dialect`` may have.
    """

    id: str
    owner: str
    limits: Limits
    idempotency: IdempotencyRecord | None = None
    input_bytes: int = 0
    client_id: str = ""
    dialect: str = ""


class JobSubmission(AdmissionCheck, frozen=True, kw_only=True):
    """A job to be admitted, and where it will be found; what is empty is not indexed."""

    queue: str
    lane: str
    collection: str
    result_name: str
    share_id: str


def admission_check(
    job_id: str,
    owner: str,
    limits: Limits,
    idempotency: IdempotencyKey | None,
    *,
    client_id: str = "",
    dialect: str = "",
) -> AdmissionCheck:
    """Return the check for a job that ``owner`` may submit as ``job_id``."""
    return AdmissionCheck(
        id=job_id,
        owner=owner,
        limits=limits,
        idempotency=_idempotency_record(idempotency),
        client_id=_chosen(client_id),
        dialect=dialect,
    )


def job_submission(job: Job, limits: Limits, idempotency: IdempotencyKey | None) -> JobSubmission:
    """Return the submission of ``job``."""
    return JobSubmission(
        id=job.id,
        owner=job.owner,
        limits=limits,
        idempotency=_idempotency_record(idempotency),
        input_bytes=job.input_bytes,
        client_id=_chosen(job.labels.get(CLIENT_ID_LABEL, "")),
        dialect=job.dialect,
        queue=job.queue,
        lane=lane_of(job),
        collection=job.collection,
        result_name=job.labels.get(LOOKUP_LABEL, ""),
        share_id=job.share_id,
    )


def _chosen(client_id: str) -> str:
    """Return an id that a client has chosen if the server may have given it to another job."""
    return client_id if is_generated_id(client_id) else ""


def lane_of(job: Job) -> str:
    """Return the name of the lane in which the job waits.

    Its owner's group is always part of it, so that the owner's running jobs are counted without a limit too.
    Workers of 0.1, which know nothing of schemas, never open the lanes of compact jobs: they see no model.
    """
    groups = {f"key:{job.owner}": 0, **job.running_limits}
    model = ("", job.served_by) if is_compact(job) else (job.served_by,)
    lane = (job.queue, str(job.priority), job.owner, groups, *model)
    return msgspec.json.encode(lane, order="sorted").decode()


def model_of(lane: str) -> str:
    """Return the id of the model that serves the jobs of a lane.

    Raises:
        ValueError, LookupError, TypeError: This is not the name of a lane.
    """
    parts = json.loads(lane)
    return str(parts[4] or parts[5])


def _idempotency_record(idempotency: IdempotencyKey | None) -> IdempotencyRecord | None:
    if idempotency is None:
        return None
    digest = hashlib.sha256(idempotency.key.encode()).hexdigest()
    return IdempotencyRecord(
        digest=digest,
        fingerprint=idempotency.fingerprint,
        seconds=idempotency.seconds,
        repeat=idempotency.repeat,
        age=time.monotonic() - idempotency.since,
        call=idempotency.call,
        retries=idempotency.retries,
    )
