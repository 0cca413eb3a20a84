"""wan21-submit's error bodies: ``{"detail": …}``, a reason or a list of the fields that are wrong."""

from typing import Any

from litestar import Response

from framegate.server.dialects.wan21_submit.schemas import ErrorBody, Failure
from framegate.server.errors.detail import DetailItem
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return the response for an error below this dialect's paths."""
    del request
    if error_info.field_errors:
        return Response(
            ErrorBody([DetailItem.of(error) for error in error_info.field_errors]), status_code=422
        )
    return Response(ErrorBody(Failure(reason=error_info.message)), status_code=error_info.status)
