"""Jobs as Valkey hashes, and the names of the keys that are read without a script."""

from collections.abc import Mapping, Sequence

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import CLIENT_ID_LABEL, Job, JobError, JobState
from framegate.core.ports import ModelRequest
from framegate.core.types import Artifact
from framegate.storage.jobs.compact import encode_compact, expand, is_compact
from framegate.storage.schema import (
    COMPACT,
    Layout,
    Stamp,
    damage_as_unreadable,
    own_stamp,
    read_stamp,
    unchanged,
)

log = structlog.get_logger(__name__)

PREFIX = "fg:"
"""What the names of all keys and channels begin with, unless `queue.prefix` says otherwise."""
TICKETS = "tickets"
"""The lists of tickets, each with the name of its queue, and their queue in Dramatiq."""
CHANGED_CHANNEL = "changed"
PAUSED, DRAINED, MODEL_REQUESTS = "paused", "drained", "model_requests"
"""The hashes of what operators hold back and ask for; ``operations.lua`` describes them."""
MODELS_CALL = ":model_requests"
"""What a worker's channel says, where ids of jobs arrive otherwise, once a model is to be loaded or not."""

SUBMITTED_FIELDS = ("job", "schema", "written_by")
"""What `decode_job` needs of a job that it doesn't know; they never change."""

FIELDS = (
    *SUBMITTED_FIELDS,
    "seq",
    "submitted_at",
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

FILE_FIELDS = (
    "files",
    "result_files",
    "job",
    "schema",
    "written_by",
    "artifacts",
    "result_schema",
    "result_written_by",
)
"""What `files_of` needs."""

MAX_RECORD = 2 * 2**20
"""Bytes of a job's JSON. Requests with the longest texts that dialects accept stay below it."""

UNREADABLE = JobError(
    UnreadableRecord.code, "The server can't read its record of this job, which is damaged; submit it again."
)
"""Why a job fails whose record is damaged, for its owner."""

_LATEST = 1e11
"""A time in seconds since the epoch that is further away than this is damaged."""

_job = Layout(Job, unchanged)
_artifacts = Layout(tuple[Artifact, ...], unchanged)
_error = Layout(JobError, unchanged)
_keys = msgspec.json.Decoder(tuple[str, ...])


def encode_job(job: Job) -> tuple[bytes, Stamp]:
    """Return the part of a job's record that never changes, as JSON, and the stamp of its layout."""
    if is_compact(job):
        return encode_compact(job), own_stamp(COMPACT)
    return msgspec.json.encode(job), own_stamp()


def readable_fields(job: Job) -> dict[str, str | bytes]:
    """Return the fields that repeat what has to be known of the job where its JSON is not or can't be read.

    ``files`` and ``webhooks`` are JSON lists. Each field costs more memory than such short values, so only
    ``files`` is there even if it is empty: it also tells that this version wrote the record.
    """
    fields: dict[str, str | bytes] = {
        "files": msgspec.json.encode(job.submitted_files),
        "dialect": job.dialect,
    }
    if job.webhooks:
        fields["webhooks"] = msgspec.json.encode(job.webhooks)
    if known_as := job.labels.get(CLIENT_ID_LABEL):
        fields["known_as"] = known_as
    return fields


def is_shown(fields: Mapping[str, str]) -> bool:
    """Return whether this is the record of a job that has not been deleted."""
    return bool(fields) and "deleted" not in fields


def decode_job(fields: Mapping[str, str], known: Job | None = None) -> Job:
    """Return the job as its hash says it is now. It is ``known`` where there are no `SUBMITTED_FIELDS`.

    Raises:
        NewerRecord: A later version submitted or finished it, in a layout of its own.
        UnreadableRecord: It is damaged.
    """
    with damage_as_unreadable("The record of this job"):
        job = known if known is not None and "job" not in fields else _submitted_job(fields)
        if not job.shots or fields.get("id", job.id) != job.id:
            raise ValueError("it has no shots, or another job's id")
        return replace(
            job,
            # Records of earlier versions have the time by the clock of the host that submitted them.
            created_at=read_time(fields, "submitted_at") or job.created_at,
            seq=int(fields["seq"]),
            state=JobState(fields["state"]),
            attempt=int(fields["attempt"]),
            worker=fields["worker"],
            cancel_requested=bool(fields.get("cancel")),
            progress=_number(fields["progress"], 1.0),
            message=fields["message"],
            started_at=read_time(fields, "started_at"),
            finished_at=read_time(fields, "finished_at"),
            artifacts=read_artifacts(fields),
            error=read_error(fields),
        )


def files_of(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of all files that may be stored for a job, from the `FILE_FIELDS` of its hash.

    They stand in fields of their own, so that they are known even if the job can't be read. Processes of
    earlier versions write none of these: there the job and its results are read.

    Raises:
        NewerRecord: A later version submitted or finished it, in a layout of its own.
        UnreadableRecord: It is damaged.
    """
    with damage_as_unreadable("The list of this job's files"):
        submitted, results = fields.get("files"), fields.get("result_files")
        return (
            *(
                (key for made in read_artifacts(fields) for key in made.files)
                if results is None
                else _keys.decode(results)
            ),
            *(_submitted_job(fields).submitted_files if submitted is None else _keys.decode(submitted)),
        )


def _submitted_job(fields: Mapping[str, str]) -> Job:
    stamp = read_stamp(fields)
    if stamp.schema == COMPACT:
        return msgspec.convert(expand(msgspec.json.decode(fields["job"])), Job)
    return _job.decode(fields["job"], stamp)


def read_artifacts(fields: Mapping[str, str]) -> tuple[Artifact, ...]:
    """Return the job's results."""
    text = fields.get("artifacts")
    return _artifacts.decode(text, read_stamp(fields, "result_")) if text else ()


def read_error(fields: Mapping[str, str]) -> JobError | None:
    """Return why the job failed."""
    text = fields.get("error")
    return _error.decode(text, read_stamp(fields, "result_")) if text else None


def read_time(fields: Mapping[str, str], name: str) -> float | None:
    """Return a time of the job in seconds since the epoch."""
    text = fields.get(name)
    return _number(text, _LATEST) if text else None


def _number(text: str, largest: float) -> float:
    number = float(text)
    if not 0 <= number <= largest:  # nor is "nan"
        raise ValueError(f"{text!r} is not within 0 … {largest:g}")
    return number


class _RecordedRequest(Struct, frozen=True):
    """A request as the scripts write it."""

    number: int
    load: bool
    at: float
    problem: str = ""


def decode_model_requests(found: Mapping[str, str]) -> Sequence[ModelRequest]:
    """Return the requests that a hash holds, in the order in which they were made, without damaged ones."""
    requests: list[ModelRequest] = []
    for model, text in found.items():
        try:
            recorded = msgspec.json.decode(text, type=_RecordedRequest)
        except msgspec.DecodeError as error:
            log.error("model_request_unreadable", model=model, reason=str(error))
            continue
        requests.append(ModelRequest(model, recorded.number, recorded.load, recorded.at, recorded.problem))
    return sorted(requests, key=lambda request: request.number)
