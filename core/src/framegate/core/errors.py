"""Everything that can go wrong, as a tree. HTTP status codes appear only at the edge.

FramegateError
├── InvalidRequest           the request can't be served as it is
│   ├── InvalidMedia         an input image, video or audio can't be fetched or read
│   └── UnsupportedParameter the model has no such parameter
├── NotFound
│   ├── ModelNotFound
│   ├── JobNotFound
│   ├── KeyNotFound          no API key has this name
│   ├── WorkerNotFound       no live worker has this name
│   └── ArtifactGone         the result existed and was removed
├── JobExists                the caller's own job id is taken
├── IdempotencyMismatch      the caller's idempotency key was used for another request
├── JobUnfinished            the job has to end first
├── KeyConflict              an API key's name is taken, or the config's
├── ModelNotLoadable         no live worker could load the model now
├── Unauthorized             no key, or a wrong one
├── PermissionDenied         the key may not do this
│   ├── PlanRequired         the model needs a plan that the key does not have
│   └── ModelNotAllowed      the key may only use other models
├── Busy                     try again later
│   ├── QueueFull
│   ├── RateLimited          too many requests within a minute
│   ├── KeyLimitReached      the key has as many jobs as it may have
│   │   └── QuotaReached     the key keeps or uses as much as it may
│   └── Unavailable          the queue or the storage can't be reached
│       ├── NoWorker         no live worker serves the model
│       └── StorageFull      the storage has no room left
├── GenerationError          a job ended without a result
│   ├── GenerationFailed
│   ├── OutOfMemory
│   └── WorkerLost
├── UnreadableRecord         a stored record is damaged
├── JobCancelled             raised inside a worker to leave a cancelled job
└── ConfigError              the operator's files or plugins are wrong
    ├── ConfigErrors         several settings are
    └── PluginError

Every class has a stable ``code`` that dialects and clients may rely on. Messages are written for
the person who reads them: what was wrong, with which value, and what would be right. They never hold
server paths, keys or tracebacks.
"""

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

ConfigKey: TypeAlias = tuple[str | int, ...]
"""What leads to a setting: ("auth", "keys", 1, "plan"). An entry's ``name`` may stand for its index."""


class FramegateError(Exception):
    """The root of the tree.

    ``message`` is a sentence for the caller; ``param`` names the request field at fault in Framegate's
    own vocabulary (dialects translate it to theirs).
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(FramegateError):
    """The request can't be served as it is."""

    code = "invalid_request"


class InvalidMedia(InvalidRequest):
    """An input image, video or audio can't be fetched or read."""

    code = "invalid_media"


class UnsupportedParameter(InvalidRequest):
    """The model has no such parameter."""

    code = "unsupported_parameter"


class NotFound(FramegateError):
    """There is nothing by this name, or not for this caller."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No served model, catalogue or alias has this name."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """No job has this id, or it belongs to another key."""

    code = "job_not_found"


class KeyNotFound(NotFound):
    """No API key has this name."""

    code = "key_not_found"


class WorkerNotFound(NotFound):
    """No live worker has this name."""

    code = "worker_not_found"


class ArtifactGone(NotFound):
    """The result existed and was removed."""

    code = "artifact_gone"


class JobExists(FramegateError):
    """The caller's own job id is taken."""

    code = "job_exists"


class IdempotencyMismatch(FramegateError):
    """The caller's idempotency key was used for another request."""

    code = "idempotency_mismatch"


class JobUnfinished(FramegateError):
    """The job still waits or runs, and has to end first."""

    code = "job_unfinished"


class KeyConflict(FramegateError):
    """An API key's name is taken, or the key is the config's and can only be changed there."""

    code = "key_conflict"


class ModelNotLoadable(FramegateError):
    """A model is to be loaded that no live worker serves."""

    code = "model_not_loadable"


class Unauthorized(FramegateError):
    """The request has no key, or a wrong one."""

    code = "unauthorized"


class PermissionDenied(FramegateError):
    """The key may not do this."""

    code = "permission_denied"


class PlanRequired(PermissionDenied):
    """The model needs a plan that the key does not have; ``plan`` is its name."""

    code = "plan_required"

    def __init__(self, message: str, *, plan: str) -> None:
        super().__init__(message, param="model")
        self.plan = plan


class ModelNotAllowed(PermissionDenied):
    """The key may only use other models."""

    code = "model_not_allowed"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class Busy(FramegateError):
    """The server can't do it now; ``retry_after`` is how many seconds to wait before trying again."""

    code = "busy"

    def __init__(self, message: str, *, retry_after: int = 5, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after = retry_after


class QueueFull(Busy):
    """No more jobs may wait; ``limit`` is how many the queue takes."""

    code = "queue_full"

    def __init__(self, message: str, *, limit: int, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)
        self.limit = limit


class RateLimited(Busy):
    """A key or an address has sent as many requests within a minute as it may."""

    code = "rate_limited"


class KeyLimitReached(Busy):
    """The key has as many jobs as it may have."""

    code = "key_limit_reached"


class QuotaReached(KeyLimitReached):
    """The key keeps as much as it may, or its jobs have run for as long as they may today."""

    code = "quota_reached"

    def __init__(self, message: str, *, retry_after: int = 60) -> None:
        super().__init__(message, retry_after=retry_after)


class Unavailable(Busy):
    """The queue or the storage can't be reached."""

    code = "unavailable"


class NoWorker(Unavailable):
    """No live worker serves the model."""

    code = "no_worker"


class StorageFull(Unavailable):
    """The storage has no room left."""

    code = "storage_full"


class GenerationError(FramegateError):
    """A job ended without a result."""

    code = "generation_error"


class GenerationFailed(GenerationError):
    """The model or its backend failed."""

    code = "generation_failed"


class OutOfMemory(GenerationError):
    """The job does not fit into the device's memory."""

    code = "out_of_memory"


class WorkerLost(GenerationError):
    """The job's worker died too many times."""

    code = "worker_lost"


class UnreadableRecord(FramegateError):
    """A stored record can't be read, because it is damaged; reading it again gives the same error."""

    code = "incompatible_record"


class JobCancelled(FramegateError):
    """Raised inside a worker to leave a cancelled job."""

    code = "cancelled"

    def __init__(self, message: str = "The job was cancelled.") -> None:
        super().__init__(message)


class ConfigError(FramegateError):
    """The operator's files or plugins are wrong.

    ``key`` leads to the setting at fault (empty where no single one is), ``where`` says what set it: a line
    of the file, an environment variable or the command line. ``reason`` is the sentence without both, which
    ``message`` begins with.
    """

    code = "config_error"

    def __init__(self, reason: str, *, key: ConfigKey = (), where: str = "") -> None:
        super().__init__(": ".join(part for part in (where, dotted(key), reason) if part))
        self.reason = reason
        self.key = key
        self.where = where

    @property
    def errors(self) -> "Sequence[ConfigError]":
        """The errors that this one stands for: itself, unless it is a `ConfigErrors`."""
        return (self,)


class ConfigErrors(ConfigError):
    """Several settings are wrong; the message has a line for each."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(error.message for error in errors))
        self._errors = errors

    @property
    def errors(self) -> Sequence[ConfigError]:
        """The errors, one for each setting that is wrong."""
        return self._errors


class PluginError(ConfigError):
    """Two plugins clash, or one can't be imported."""

    code = "plugin_error"


def dotted(key: ConfigKey) -> str:
    """Return a setting's path as people write it: ``auth.keys[1].plan``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).removeprefix(".")
