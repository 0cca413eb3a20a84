"""OpenAI's error bodies."""

from collections.abc import Mapping
from typing import Any

from litestar import Response
from msgspec.structs import replace

from framegate.core import errors
from framegate.server.dialects.openai.chat.schemas import ErrorBody, ErrorItem
from framegate.server.errors.error_info import Problem
from framegate.server.errors.field_errors import FieldError
from framegate.server.requests.bodies import HTTPRequest

_TYPES: Mapping[int, str] = {401: "authentication_error", 429: "rate_limit_error"}
# The codes that OpenAI's own API has; anything else is null there, too.
_CODES: Mapping[int, str] = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def error_response(request: HTTPRequest, problem: Problem) -> Response[Any]:
    del request
    problem = in_openai_terms(problem)
    return Response(error_body(problem), status_code=problem.status)


def in_openai_terms(problem: Problem) -> Problem:
    if isinstance(problem.error, errors.JobCancelled):
        # OpenAI's API has no such thing: to this client something went wrong on the server.
        return replace(problem, status=500)
    if problem.status == 401:
        return replace(problem, message="Invalid API key")
    return problem


def error_body(problem: Problem) -> ErrorBody:
    kind = _TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error")
    code = _CODES.get(problem.status)
    if isinstance(problem.error, errors.ModelNotFound):
        code = problem.error.code
    if isinstance(problem.error, errors.PlanRequired):
        kind = "server_error"
    message, param = problem.message, problem.param
    if problem.field_errors:
        message = "; ".join(_sentence(error) for error in problem.field_errors)
        param = problem.field_errors[0].field or None
    return ErrorBody(ErrorItem(message, kind, param, code))


def _sentence(error: FieldError) -> str:
    if error.kind == "missing" and error.location:
        return f"{error.field} is required"
    return error.sentence.removesuffix(".")
