"""lightx2v's error bodies: ``{"detail": …}``, with a list of fields for what is wrong in a request."""

from typing import Any

from litestar import Response
from msgspec import UnsetType

from framegate.core import errors
from framegate.server.dialects.lightx2v.changes import FIELDS
from framegate.server.dialects.lightx2v.schemas import ErrorBody
from framegate.server.errors.detail import DetailItem
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.errors.field_errors import shortened
from framegate.server.requests.bodies import FORMS, HTTPRequest


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
    field = FIELDS.get(error_info.param, error_info.param)
    value = getattr(body, field, None)
    if not value and request.content_type[0] in FORMS:
        field = {"image_path": "image_file", "last_frame_path": "last_frame_file"}.get(field, field)
    shown = None if isinstance(value, UnsetType) else shortened(value)
    return DetailItem("value_error", ["body", field], error_info.message, shown)


def _body(request: HTTPRequest) -> object:
    return request.scope["state"].get("body")
