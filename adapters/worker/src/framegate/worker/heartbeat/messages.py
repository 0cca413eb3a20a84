"""What a worker and its heartbeat process tell each other, a line of JSON each.

The heartbeat process also writes an empty line when it keeps the lease from there on, and one for each
regular heartbeat, whatever Valkey does: by those the worker knows that it is not standing still.
"""

from collections.abc import Sequence

from msgspec import Struct

from framegate.core.jobs import JobError
from framegate.core.ports import ModelRequest, WorkerInfo
from framegate.storage.jobs.worker_store import LeaseStatus

HEARTBEAT_SECONDS = 1.0
"""How often a worker sends a heartbeat, and how often a lease is renewed."""


class HeartbeatStart(Struct, frozen=True):
    """The first line that a heartbeat process receives.

    ``grace`` is how many seconds a running job may continue after a stop signal to the worker, which
    ``signal_socket``, a file descriptor, reports. ``load_timeout`` and ``job_timeout`` are how many seconds a
    model may take to load, and a job to run; 0 for any number. ``cancel_grace`` is how many seconds the
    backend has to leave a job that has ended without it. ``parent`` is a descriptor of the process with which
    the worker is to end, -1 for none.
    """

    queue_url: str
    prefix: str
    worker: WorkerInfo
    grace: float
    signal_socket: int
    load_timeout: float = 0.0
    job_timeout: float = 0.0
    cancel_grace: float = 10.0
    parent: int = -1


class Heartbeat(Struct, frozen=True, omit_defaults=True):
    """A worker's sign of life, every `HEARTBEAT_SECONDS` and whenever something changes.

    It says which attempt at which job runs, and its progress (0.0–1.0); with ``loading`` its model is still
    being loaded, or one that an operator has requested if there is no job. ``since`` is when it began to load
    or to run, by `time.monotonic`, which processes of one host share. ``timeout`` is the job's own limit in
    seconds of running time, and ``timeout_setting`` what raises it; 0 if it has none. ``worker`` describes
    the worker itself if that has changed: models and health findings come and go. ``regular`` tells those
    that are sent every second from the others.
    """

    job: str = ""
    attempt: int = 0
    since: float = 0.0
    loading: bool = False
    timeout: float = 0.0
    timeout_setting: str = ""
    progress: float | None = None
    message: str = ""
    worker: WorkerInfo | None = None
    regular: bool = False


class HeartbeatReply(Struct, frozen=True):
    """The status of an attempt's lease after it was renewed; ``error`` is why the attempt has failed.

    ``model_requests`` are all that there are, the oldest first, whenever there may be new ones; such a reply
    is about no attempt.
    """

    job: str
    attempt: int
    status: LeaseStatus
    error: JobError | None = None
    model_requests: Sequence[ModelRequest] | None = None
