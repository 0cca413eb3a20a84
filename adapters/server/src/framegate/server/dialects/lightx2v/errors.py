"""lightx2v's error bodies: ``{"detail": …}``, with a list of fields for what is wrong in a request."""

from collections.abc import Mapping
from typing import Any

from litestar import Response
from msgspec import UnsetType

from framegate.core import errors
from framegate.server.dialects.lightx2v.schemas import ErrorBody
from framegate.server.errors.detail import DetailItem
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.errors.field_errors import shortened
from framegate.server.requests.bodies import HTTPRequest

# The API's names of the core's request fields, where they differ.
_FIELDS: Mapping[str, str] = {
    "image": "image_path",
    "last_image": "last_frame_path",
    "video": "video_path",
    "num_inference_steps": "infer_steps",
    "duration": "video_duration",
    "num_frames": "target_video_length",
    "fps": "target_fps",
    "strength": "i2i_denoise_strength",
    "job_id": "task_id",
}


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return the response for an error below this dialect's paths."""
    status, detail = error_info.status, _detail(request, error_info)
    if isinstance(detail, list):
        status = 422
    return Response(ErrorBody(detail), status_code=status)


def _detail(request: HTTPRequest, error_info: ErrorInfo) -> str | list[DetailItem]:
    error = error_info.error
    if error_info.field_errors:
        return [DetailItem.of(error) for error in error_info.field_errors]
    match error:
        case errors.JobNotFound():
            return "Task not found"
        case errors.JobCancelled():
            return "Task cancelled by user"
        case errors.ArtifactGone():
            return "Task result file does not exist"
        case errors.QueueFull():
            return f"Task queue is full (max {error.limit} tasks)"
        case errors.JobExists():
            return f"Task ID {getattr(_body(request), 'task_id', '')} already exists"
        case errors.InvalidRequest() if error_info.status == 400:
            return [_of_core(request, error_info)]
        case _:
            return error_info.message


def _of_core(request: HTTPRequest, error_info: ErrorInfo) -> DetailItem:
    body = _body(request)
    if error_info.param is None:
        return DetailItem("value_error", ["body"], error_info.message)
    field = _FIELDS.get(error_info.param, error_info.param)
    if not hasattr(body, field) and hasattr(body, "seed"):
        # Forms have their media as files.
        field = {"image_path": "image_file", "last_frame_path": "last_frame_file"}.get(field, field)
    value = getattr(body, field, None)
    shown = None if isinstance(value, UnsetType) else shortened(value)
    return DetailItem("value_error", ["body", field], error_info.message, shown)


def _body(request: HTTPRequest) -> object:
    return request.scope["state"].get("body")
