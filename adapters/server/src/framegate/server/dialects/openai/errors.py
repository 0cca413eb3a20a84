"""OpenAI's error bodies."""

from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Response
from msgspec import Struct
from msgspec.structs import replace

from framegate.core import errors
from framegate.server.errors.error_info import ErrorInfo, error_info_of
from framegate.server.errors.field_errors import FieldError
from framegate.server.requests.bodies import HTTPRequest

log = structlog.get_logger(__name__)

_TYPES: Mapping[int, str] = {401: "authentication_error", 429: "rate_limit_error"}
# The codes that OpenAI's own API uses; elsewhere its code is null.
_CODES: Mapping[int, str] = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
_QUOTA = "insufficient_quota"


class ErrorItem(Struct):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Struct):
    """The body of every error."""

    error: ErrorItem


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return OpenAI's response for an error."""
    del request
    error_info = in_openai_terms(error_info)
    return Response(error_body(error_info), status_code=error_info.status)


def in_openai_terms(error_info: ErrorInfo) -> ErrorInfo:
    """Return the error with OpenAI's status and message."""
    if isinstance(error_info.error, errors.JobCancelled):
        # OpenAI's API has no such error: to this client it is a server error.
        return replace(error_info, status=500)
    if error_info.status == 401:
        return replace(error_info, message="Invalid API key")
    return error_info


def stream_error_body(error: Exception) -> ErrorBody:
    """Return the body of an error that ends a stream, and log it if nobody foresaw it."""
    error_info = in_openai_terms(error_info_of(error))
    if error_info.status == 500 and error_info.error is None:
        log.error("stream_failed", exc_info=error)
    return error_body(error_info)


def model_not_found(name: str) -> errors.ModelNotFound:
    """Return the error for a model that is not served, in OpenAI's words."""
    return errors.ModelNotFound(f"The model {name[:100]!r} does not exist.", param="model")


def error_body(error_info: ErrorInfo) -> ErrorBody:
    """Return the body of an error that is in OpenAI's terms."""
    kind = _TYPES.get(
        error_info.status, "invalid_request_error" if error_info.status < 500 else "server_error"
    )
    code = _CODES.get(error_info.status)
    if isinstance(error_info.error, errors.ModelNotFound):
        code = error_info.error.code
    if isinstance(error_info.error, errors.PlanRequired):
        kind = "server_error"
    if isinstance(error_info.error, errors.QuotaReached):
        kind = code = _QUOTA
    message, param = error_info.message, error_info.param
    if error_info.field_errors:
        message = "; ".join(_sentence(error) for error in error_info.field_errors)
        param = error_info.field_errors[0].field or None
    return ErrorBody(ErrorItem(message, kind, param, code))


def _sentence(error: FieldError) -> str:
    if error.kind == "missing" and error.location:
        return f"{error.field} is required"
    return error.sentence.removesuffix(".")
