"""Turn any exception into an `ErrorInfo`, from which dialects build their error responses.

This is the only place where the core's errors are given HTTP status codes.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Receive, Scope, Send
from msgspec import Struct
from msgspec.structs import replace

from framegate.core import errors
from framegate.server.errors.field_errors import FieldError, InvalidFields, parameter_error

ACCEPTED_ENCODINGS = "gzip, deflate, zstd"
"""The codings of request bodies that are decoded."""

Refuse: TypeAlias = Callable[[Scope, Receive, Send, errors.FramegateError], Awaitable[None]]
"""How a middleware refuses a request: with an error in the form of the dialect that it is for."""


class ErrorInfo(Struct, frozen=True, kw_only=True):
    """An error, ready to be rendered in a dialect's own body.

    ``code`` is stable (`framegate.core.errors`), ``param`` is the core's name of a request field,
    ``retry_after`` is in seconds. ``headers`` are sent whatever the body's format. ``error``
    is the exception itself, if it is one of the core's.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    field_errors: tuple[FieldError, ...] = ()
    retry_after: int | None = None
    headers: Mapping[str, str] = {}
    error: errors.FramegateError | None = None


class UnsupportedContentType(errors.InvalidRequest):
    """The endpoint does not accept bodies of this content type."""

    code = "unsupported_content_type"


class UnsupportedContentEncoding(UnsupportedContentType):
    """The body is compressed in a way that is not decoded."""

    code = "unsupported_content_encoding"


class BodyTooLarge(errors.InvalidRequest):
    """The body exceeds a limit, as it came or once it is decoded."""

    code = "body_too_large"


class BodyTimedOut(errors.FramegateError):
    """The client was too slow to send the body."""

    code = "request_timeout"


class TooManyBytesInFlight(errors.KeyLimitReached):
    """The client's unfinished requests hold as many bytes as they may."""

    code = "too_many_bytes_in_flight"


class ForeignOrigin(errors.PermissionDenied):
    """The request comes from another site's web page, or by a name that was rebound to this host."""

    code = "foreign_origin"


class LinkRefused(errors.PermissionDenied):
    """A link to a result has no signature, or a wrong one."""

    code = "link_refused"


class LinkExpired(errors.FramegateError):
    """A link to a result was valid once."""

    code = "link_expired"


class TimedOut(errors.FramegateError):
    """A waiting call has reached its time limit; its job was cancelled."""

    code = "timed_out"


class UploadFailed(errors.FramegateError):
    """A result could not be uploaded to the URL that its request named."""

    code = "upload_failed"


class ClientDisconnected(errors.FramegateError):
    """The client of a waiting call has disconnected; its job was cancelled, and nobody reads the response."""

    code = "client_disconnected"


class ServerStopping(errors.Unavailable):
    """The server shuts down while a waiting call is still open."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down; try again shortly.")


# The first class of an error's ancestry that is listed decides.
_STATUS: Mapping[type[errors.FramegateError], int] = {
    UnsupportedContentType: 415,
    BodyTooLarge: 413,
    errors.InvalidRequest: 400,
    errors.NotFound: 404,
    errors.JobExists: 409,
    errors.IdempotencyMismatch: 409,
    errors.JobUnfinished: 409,
    errors.KeyConflict: 409,
    errors.ModelNotLoadable: 409,
    errors.Unauthorized: 401,
    errors.PermissionDenied: 403,
    errors.RateLimited: 429,
    errors.KeyLimitReached: 429,
    errors.Busy: 503,
    errors.JobCancelled: 409,
    LinkExpired: 410,
    UploadFailed: 502,
    BodyTimedOut: 408,
    TimedOut: 504,
    ClientDisconnected: 499,
}
_HTTP_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


class HandlerParameter(Struct, frozen=True):
    """A parameter of a handler: its ``name`` as clients know it, and its type."""

    name: str
    annotation: Any


def error_info_of(exc: Exception, parameters: Mapping[str, HandlerParameter] | None = None) -> ErrorInfo:
    """Return the `ErrorInfo` of ``exc``; unknown exceptions are internal errors without details.

    ``parameters`` are those of the handler, by its own names for them.
    """
    match exc:
        case errors.ConfigError() | errors.FramegateError(code="internal_error"):
            return _INTERNAL
        case errors.FramegateError():
            return _from_core(exc)
        case HTTPException() if exc.status_code < 500:
            return _from_litestar(exc, parameters or {})
        case _:
            return _INTERNAL


_INTERNAL = ErrorInfo(status=500, code="internal_error", message="Internal error.")


def _from_core(error: errors.FramegateError) -> ErrorInfo:
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
    error_info = ErrorInfo(
        status=status, code=error.code, message=error.message, param=error.param, error=error
    )
    match error:
        case InvalidFields():
            return replace(error_info, field_errors=error.errors)
        case errors.Busy():
            headers = {"Retry-After": str(error.retry_after)}
            return replace(error_info, retry_after=error.retry_after, headers=headers)
        case UnsupportedContentEncoding():
            return replace(error_info, headers={"Accept-Encoding": ACCEPTED_ENCODINGS})
        case BodyTimedOut():
            return replace(error_info, headers={"Connection": "close"})
        case errors.Unauthorized():
            return replace(error_info, headers={"WWW-Authenticate": "Bearer"})
        case _:
            return error_info


_MISSING = re.compile(r"Missing required (\w+) parameter '(\w+)' for ")


def _from_litestar(exc: HTTPException, parameters: Mapping[str, HandlerParameter]) -> ErrorInfo:
    status = exc.status_code
    phrase = HTTPStatus(status).phrase
    message = {
        404: "Not Found",
        405: "Method Not Allowed",
        413: "The request body is too large.",
    }.get(status, exc.detail or phrase)
    headers = {"Allow": allow} if (allow := (exc.headers or {}).get("allow")) else {}
    found: tuple[FieldError, ...] = ()
    if isinstance(exc, ValidationException) and isinstance(exc.extra, list):
        items: list[Mapping[str, str]] = exc.extra
        found = tuple(
            parameter_error(
                parameter.name, item.get("source", "query"), item["message"], parameter.annotation
            )
            for item in items
            if "key" in item
            for parameter in [parameters.get(item["key"], HandlerParameter(item["key"], Any))]
        )
        message = " ".join(error.sentence for error in found) or message
    elif missing := _MISSING.match(message):
        # Litestar's own text goes on with the whole URL.
        source, name = missing.groups()
        found = (FieldError((name,), "missing", "This field is required", source=source),)
        message = found[0].sentence
    return ErrorInfo(
        status=status,
        code=_HTTP_CODES.get(status, "invalid_request"),
        message=message,
        field_errors=found,
        headers=headers,
    )
