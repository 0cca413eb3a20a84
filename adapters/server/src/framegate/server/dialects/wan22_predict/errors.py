"""wan22-predict's error bodies: a sentence, and a list of the fields that are wrong."""

from typing import Any

from litestar import Response

from framegate.core.errors import InvalidRequest, JobCancelled
from framegate.server.dialects.wan22_predict.schemas import ErrorBody, ErrorItem
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest

_HEADINGS = {400: "Invalid payload", 401: "Unauthorized"}
"""What the document prints for these statuses; the message follows it."""


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return the response for an error below this dialect's paths."""
    message = error_info.message
    items = [
        ErrorItem(error.field, error.kind, error.message, error.input) for error in error_info.field_errors
    ]
    if not items and isinstance(error_info.error, InvalidRequest) and error_info.param:
        field = _field(request, error_info.param)
        items = [ErrorItem(field, "value_error", message)]
        message = f"{field}: {message}"
    # The API has no 409: a job that someone else has cancelled is a server error to this client.
    status = 500 if isinstance(error_info.error, JobCancelled) else error_info.status
    if status in _HEADINGS:
        message = f"{_HEADINGS[status]}. {message}"
    return Response(ErrorBody(message, items), status_code=status)


def _field(request: HTTPRequest, param: str) -> str:
    """Return the API's name of a field of the core."""
    if param != "image":
        return param
    body = request.scope["state"].get("body")
    return "image_base64" if (getattr(body, "image_base64", None) or "").strip() else "image_url"
