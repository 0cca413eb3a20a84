"""New jobs as the scripts take them: what the limits and the keys must know of them, as JSON."""

import hashlib

import msgspec
from msgspec import Struct

from framegate.core.jobs import Job
from framegate.core.ports import IdempotencyKey, Limits


class IdempotencyRecord(Struct, frozen=True):
    """How a submission is known again: `Once`, with the client's key as a digest of fixed length."""

    digest: str
    fingerprint: str
    seconds: int
    repeat: bool
    age: float


class AdmissionCheck(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is asked about before a job is let in; an empty ``id`` is nobody's."""

    id: str
    owner: str
    limits: Limits
    idempotency: IdempotencyRecord | None = None


class JobSubmission(AdmissionCheck, frozen=True, kw_only=True):
    """A job to be let in. Nothing but ``queue`` and ``lane`` must be there."""

    queue: str
    lane: str
    collection: str
    result_name: str
    share_id: str


def admission_check(
    job_id: str, owner: str, limits: Limits, idempotency: IdempotencyKey | None
) -> AdmissionCheck:
    return AdmissionCheck(id=job_id, owner=owner, limits=limits, idempotency=_idempotency_record(idempotency))


def entry(job: Job, limits: Limits, idempotency: IdempotencyKey | None) -> JobSubmission:
    return JobSubmission(
        id=job.id,
        owner=job.owner,
        limits=limits,
        idempotency=_idempotency_record(idempotency),
        queue=job.queue,
        lane=lane_of(job),
        collection=job.collection,
        result_name=job.labels.get("result_name", ""),
        share_id=job.share_id,
    )


def lane_of(job: Job) -> str:
    """The name of the lane that the job waits in. It counts as its key's even where no limit asks for it."""
    groups = {f"key:{job.owner}": 0, **job.running_limits}
    lane = (job.queue, str(job.priority), job.owner, groups, job.served_by)
    return msgspec.json.encode(lane, order="sorted").decode()


def _idempotency_record(idempotency: IdempotencyKey | None) -> IdempotencyRecord | None:
    if idempotency is None:
        return None
    digest = hashlib.sha256(idempotency.key.encode()).hexdigest()
    return IdempotencyRecord(
        digest, idempotency.fingerprint, idempotency.seconds, idempotency.repeat, idempotency.age
    )
