"""OpenAI's error bodies, and whether its SDKs should try again."""

from typing import Any

from litestar import Response

from framegate.core.errors import GenerationError, JobCancelled
from framegate.server.dialects.openai.errors import error_response as openai_error
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    response = openai_error(request, error_info)
    if error_info.status == 409 or isinstance(error_info.error, GenerationError | JobCancelled):
        # The SDKs take 409 for a lock that is held for a moment; here it stays. A job that failed has had its
        # tries.
        response.headers["x-should-retry"] = "false"
    return response
