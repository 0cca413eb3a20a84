"""What can go wrong, as a tree. HTTP status codes appear only at the edge.

FramegateError
├── InvalidRequest           the caller's request can't be served as it is
│   ├── InvalidMedia         an input picture, video or sound can't be had or read
│   └── UnsupportedParameter the model has no such parameter
├── NotFound
│   ├── ModelNotFound
│   ├── JobNotFound
│   └── ArtifactGone         the result existed and was removed
├── JobExists                the caller's own job id is taken
├── IdempotencyMismatch      the caller's idempotency key was used for another request
├── Unauthorized             no key, or a wrong one
├── PermissionDenied         the key may not do this
│   └── PlanRequired         the model needs a plan that the key does not have
├── Busy                     try again later
│   ├── QueueFull
│   ├── KeyLimitReached
│   └── Unavailable          the queue or the storage can't be reached
│       ├── NoWorker         no living worker serves the model
│       └── StorageFull      the storage has no room left
├── GenerationError          a job ended without a result
│   ├── GenerationFailed
│   ├── OutOfMemory
│   └── WorkerLost
├── JobCancelled             raised inside a worker to leave a cancelled job
└── ConfigError              the operator's files or plugins are wrong
    └── PluginError

Every class has a stable ``code`` that dialects and clients may rely on. Messages are written for
the person who reads them: what was wrong, with which value, and what would be right. They never hold
server paths, keys or tracebacks.
"""

from typing import ClassVar


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
    code = "invalid_request"


class InvalidMedia(InvalidRequest):
    code = "invalid_media"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"


class NotFound(FramegateError):
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class JobNotFound(NotFound):
    code = "job_not_found"


class ArtifactGone(NotFound):
    code = "artifact_gone"


class JobExists(FramegateError):
    code = "job_exists"


class IdempotencyMismatch(FramegateError):
    code = "idempotency_mismatch"


class Unauthorized(FramegateError):
    code = "unauthorized"


class PermissionDenied(FramegateError):
    code = "permission_denied"


class PlanRequired(PermissionDenied):
    """``plan``: the one that is needed."""

    code = "plan_required"

    def __init__(self, message: str, *, plan: str) -> None:
        super().__init__(message, param="model")
        self.plan = plan


class Busy(FramegateError):
    """``retry_after``: seconds after which another try makes sense."""

    code = "busy"

    def __init__(self, message: str, *, retry_after: int = 5, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after = retry_after


class QueueFull(Busy):
    """``limit``: how many jobs the queue takes."""

    code = "queue_full"

    def __init__(self, message: str, *, limit: int, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)
        self.limit = limit


class KeyLimitReached(Busy):
    code = "key_limit_reached"


class Unavailable(Busy):
    code = "unavailable"


class NoWorker(Unavailable):
    code = "no_worker"


class StorageFull(Unavailable):
    code = "storage_full"


class GenerationError(FramegateError):
    code = "generation_error"


class GenerationFailed(GenerationError):
    code = "generation_failed"


class OutOfMemory(GenerationError):
    code = "out_of_memory"


class WorkerLost(GenerationError):
    code = "worker_lost"


class JobCancelled(FramegateError):
    code = "cancelled"

    def __init__(self, message: str = "The job was cancelled.") -> None:
        super().__init__(message)


class ConfigError(FramegateError):
    code = "config_error"


class PluginError(ConfigError):
    code = "plugin_error"
