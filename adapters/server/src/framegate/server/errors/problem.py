"""Error bodies as RFC 9457 specifies them, for the server's own APIs."""

from http import HTTPStatus
from typing import Any

from litestar import Response
from msgspec import Struct

from framegate.server.errors.error_info import ErrorInfo

PROBLEM_JSON = "application/problem+json"


class FieldProblem(Struct, frozen=True):
    """What is wrong with one field."""

    field: str
    message: str
    value: Any = None


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every error; ``type`` is stable, and names no page."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldProblem, ...] = ()
    request_id: str


def problem_response(error_info: ErrorInfo, request_id: str, value: Any = None) -> Response[Problem]:
    """Return the response for an error; fields with wrong values make it a 422.

    ``value`` is that of the field that ``error_info.param`` names.
    """
    problem = problem_of(error_info, request_id, value)
    return Response(problem, status_code=problem.status, media_type=PROBLEM_JSON)


def problem_of(error_info: ErrorInfo, request_id: str, value: Any = None) -> Problem:
    """Return the body for an error; see `problem_response`."""
    fields = tuple(
        FieldProblem(error.field, error.message, error.input)
        for error in error_info.field_errors
        if error.field
    )
    if not fields and error_info.status in (400, 404) and error_info.param:
        fields = (FieldProblem(error_info.param, error_info.message, value),)
    status = 422 if fields else error_info.status
    return Problem(
        type=f"urn:framegate:error:{error_info.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error_info.message,
        errors=fields,
        request_id=request_id,
    )
