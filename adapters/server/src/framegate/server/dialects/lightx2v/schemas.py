"""The bodies of lightx2v's answers."""

from typing import Literal

from msgspec import Struct

from framegate.server.errors.detail import DetailItem
from framegate.server.responses.changes import FieldChange


class Submitted(Struct, kw_only=True):
    """The answer to a submission.

    ``status`` and ``message`` are the document's, ``task_status`` and ``save_result_path`` the real server's.
    """

    task_id: str
    status: str
    task_status: str
    message: str
    save_result_path: str
    file_path: str | None = None


class TaskState(Struct, kw_only=True):
    """The state of a task, with the keys of both vocabularies.

    ``progress`` is 0.0–1.0, times are ISO 8601 in UTC without a zone; ``file_path`` is set once there is a
    file, ``error`` once the task has failed or was cancelled. ``changes`` says which of the request's values
    the model could not take.
    """

    task_id: str
    status: str
    task_status: str
    progress: float
    message: str
    file_path: str | None
    save_result_path: str
    start_time: str
    end_time: str | None
    error: str | None
    error_type: str
    changes: list[FieldChange] = []


class Uploaded(Struct, kw_only=True):
    """The answer to an image that was uploaded to the client's presigned URL."""

    task_id: str
    presigned_url: str
    task_status: Literal["completed"] = "completed"
    uploaded_to_presigned_url: bool = True


class Stopped(Struct):
    """The answer to stopping tasks."""

    stop_status: Literal["success", "do_nothing", "error"]
    reason: str


class QueueState(Struct, kw_only=True):
    """The state of the queue: task ids are the caller's own, counts the whole server's."""

    is_processing: bool
    current_task: str | None
    pending_count: int
    active_count: int
    queue_size: int
    queue_available: int


class ServiceState(Struct, kw_only=True):
    """The state of the service: task ids are the caller's own, counts the whole server's."""

    service_status: Literal["idle", "busy"]
    current_task: str | None
    active_tasks: list[str]
    pending_tasks: int
    queue_size: int
    total_tasks: int
    completed_tasks: int
    failed_tasks: int


class Metadata(Struct):
    """The served model, and the number of its workers."""

    nproc_per_node: int
    model_cls: str
    model_path: str


class ErrorBody(Struct):
    """The body of every error: a message, or the fields that are wrong."""

    detail: str | list[DetailItem]
