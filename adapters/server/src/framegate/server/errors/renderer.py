"""Render every error in the body format of the dialect below whose path it happened."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from litestar import Request, Response
from litestar.params import ParameterKwarg
from litestar.types import Receive, Scope, Send
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import FramegateError
from framegate.server.auth.keys import ADMIN_OPT, DIALECT_OPT
from framegate.server.errors.error_info import ErrorInfo, HandlerParameter, error_info_of
from framegate.server.errors.problem import problem_response
from framegate.server.mounting import MountedDialect, paths_below
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest

log = structlog.get_logger(__name__)


class NeutralError(Struct, frozen=True):
    """The error body outside of all dialects."""

    detail: str
    code: str


class ErrorRenderer:
    """Litestar's exception handler for the whole app."""

    def __init__(self, mounted: Sequence[MountedDialect]) -> None:
        self._by_name = {entry.spec.name: entry for entry in mounted}
        self._owned = sorted(
            ((path, entry) for entry in mounted for path in paths_below(entry, mounted)),
            key=lambda pair: -len(pair[0]),
        )

    def __call__(self, request: Request[Any, Any, Any], exc: Exception) -> Response[Any]:
        """Return the response for an exception, and log it if it is a server error."""
        error_info = error_info_of(exc, _parameters(request.scope))
        if error_info.status == 500 and error_info.error is None:
            log.error("request_failed", exc_info=exc)
            error_info = replace(
                error_info, message=f"Internal error. (request {request_id_of(request.scope)})"
            )
        return self._render(request, error_info)

    async def refuse(self, scope: Scope, receive: Receive, send: Send, error: FramegateError) -> None:
        """Send ``error`` in place of a middleware that refuses a request."""
        request: HTTPRequest = Request(scope, receive, send)
        response: Any = self._render(request, error_info_of(error))
        await response.to_asgi_response(app=None, request=request)(scope, receive, send)

    def _render(self, request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
        entry = self._dialect_of(request.scope)
        if entry is None and _is_admin(request.scope):
            response: Response[Any] = problem_response(error_info, request_id_of(request.scope))
        elif entry is None:
            body = NeutralError(error_info.message, error_info.code)
            response = Response(body, status_code=error_info.status)
        else:
            response = entry.dialect.error_response(request, error_info)
        for name, value in error_info.headers.items():
            response.headers.setdefault(name, value)
        return response

    def _dialect_of(self, scope: Scope) -> MountedDialect | None:
        if "route_handler" in scope and (name := scope["route_handler"].opt.get(DIALECT_OPT)):
            return self._by_name[name]
        path = scope["path"].rstrip("/") + "/"
        return next((entry for owned, entry in self._owned if path.startswith(owned.rstrip("/") + "/")), None)


def _is_admin(scope: Scope) -> bool:
    if "route_handler" in scope:
        return bool(scope["route_handler"].opt.get(ADMIN_OPT))
    return (scope["path"] + "/").startswith("/admin/")


def _parameters(scope: Scope) -> Mapping[str, HandlerParameter]:
    if "route_handler" not in scope:
        return {}
    parameters = scope["route_handler"].parsed_fn_signature.parameters
    return {
        name: HandlerParameter(
            definition.kwarg_definition.name or name
            if isinstance(definition.kwarg_definition, ParameterKwarg)
            else name,
            definition.annotation,
        )
        for name, definition in parameters.items()
    }
