"""Jobs as Valkey hashes, and the names of the keys that are read without a script."""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from framegate.core.jobs import Job, JobError, JobState
from framegate.core.types import Artifact
from framegate.storage.schema import Layout, read_stamp, unchanged

PREFIX = "fg:"
"""What the names of all keys and channels begin with, unless `queue.prefix` says otherwise."""
DRAMATIQ_NAMESPACE = "dq"
CHANGED_CHANNEL = "changed"
CANCEL_CHANNEL = "cancel"

FIELDS = (
    "job",
    "schema",
    "written_by",
    "state",
    "attempt",
    "worker",
    "cancel",
    "progress",
    "message",
    "started_at",
    "finished_at",
    "artifacts",
    "error",
    "result_schema",
    "result_written_by",
    "deleted",
)
"""What `decode_job` and `is_shown` need; the others are indexes of the scripts."""

_job = Layout(Job, unchanged)
_artifacts = Layout(tuple[Artifact, ...], unchanged)
_error = Layout(JobError, unchanged)


def encode_job(job: Job) -> bytes:
    """Return the part of a job's record that never changes, as JSON."""
    return msgspec.json.encode(job)


def is_shown(fields: Mapping[str, str]) -> bool:
    """Return whether this is the record of a job that has not been deleted."""
    return bool(fields) and "deleted" not in fields


def decode_job(fields: Mapping[str, str]) -> Job:
    """Return the job as its hash says it is now.

    Raises:
        NewerRecord: A later version submitted or finished it, in a layout of its own.
    """
    stamp, result_stamp = read_stamp(fields), read_stamp(fields, "result_")
    started, finished = fields.get("started_at"), fields.get("finished_at")
    artifacts, error = fields.get("artifacts"), fields.get("error")
    return replace(
        _job.decode(fields["job"], stamp),
        state=JobState(fields["state"]),
        attempt=int(fields["attempt"]),
        worker=fields["worker"],
        cancel_requested=bool(fields.get("cancel")),
        progress=float(fields["progress"]),
        message=fields["message"],
        started_at=float(started) if started else None,
        finished_at=float(finished) if finished else None,
        artifacts=_artifacts.decode(artifacts, result_stamp) if artifacts else (),
        error=_error.decode(error, result_stamp) if error else None,
    )
