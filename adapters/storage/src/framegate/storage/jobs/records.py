"""Jobs as Valkey hashes, and the names of the keys that are read without a script."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from framegate.core.jobs import Job, JobError, JobState
from framegate.core.types import Artifact

PREFIX = "fg:"
DRAMATIQ_NAMESPACE = f"{PREFIX}dq"
CHANGED_CHANNEL = f"{PREFIX}changed"
CANCEL_CHANNEL = f"{PREFIX}cancel"

_artifacts = msgspec.json.Decoder(tuple[Artifact, ...])
_job = msgspec.json.Decoder(Job)
_error = msgspec.json.Decoder(JobError)


def encode_job(job: Job) -> bytes:
    return msgspec.json.encode(job)


def is_shown(fields: Mapping[str, str]) -> bool:
    """Is this the record of a job that has not been deleted?"""
    return bool(fields) and "deleted" not in fields


def decode_job(fields: Mapping[str, str]) -> Job:
    """The job as its hash says it is now."""
    started, finished = fields.get("started_at"), fields.get("finished_at")
    artifacts, error = fields.get("artifacts"), fields.get("error")
    return replace(
        _job.decode(fields["job"]),
        state=JobState(fields["state"]),
        attempt=int(fields["attempt"]),
        worker=fields["worker"],
        cancel_requested=bool(fields.get("cancel")),
        progress=float(fields["progress"]),
        message=fields["message"],
        started_at=float(started) if started else None,
        finished_at=float(finished) if finished else None,
        artifacts=_artifacts.decode(artifacts) if artifacts else (),
        error=_error.decode(error) if error else None,
    )
