"""Call handlers of a plain signature without what Litestar does for every other one.

For each request Litestar copies the handler for its guards, runs dependencies in tasks of their own, converts
values that are right already, and builds a response object, together most of what a short answer costs. None
of it is needed by a handler that takes the request, texts of the path and dependencies: `plan_call` finds out
once, from Litestar's own description of the handler, and `DirectCall` does the rest. Whatever the plan isn't
sure of is left to Litestar, and so is every error: both ways answer the same.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias, get_origin

import msgspec
from litestar import Request, Response, Router
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.enums import MediaType
from litestar.exceptions import InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.params import KwargDefinition
from litestar.routes import HTTPRoute
from litestar.routes.base import BaseRoute
from litestar.serialization import get_serializer
from litestar.types import ControllerRouterHandler, Empty, HTTPScope, Receive, Send
from litestar.typing import FieldDefinition
from litestar.utils.scope.state import ScopeState
from msgspec import Struct

from framegate.server.auth.keys import KeyGuard
from framegate.server.requests.query import drop_empty_parameters

_REQUEST = "request"
_SCALARS = (bool, bytes, float, int, str)
_CONTAINERS = (dict, frozenset, list, set, tuple)
_CONSTRAINTS = (
    *("name", "const", "gt", "ge", "lt", "le", "multiple_of"),
    *("min_items", "max_items", "min_length", "max_length", "pattern"),
)

_Call: TypeAlias = Callable[[HTTPScope, Receive, Send], Coroutine[Any, Any, None]]


class DirectRouter(Router):
    """A base of apps whose routes are `DirectRoute` objects."""

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        """Register a router, a controller or a handler."""
        return [self._direct(route) for route in super().register(value)]

    def _direct(self, route: BaseRoute) -> BaseRoute:
        if not isinstance(route, HTTPRoute):
            return route
        direct = DirectRoute(path=route.path, route_handlers=route.route_handlers)
        self.routes[self.routes.index(route)] = direct
        return direct


class DirectRoute(HTTPRoute):
    """A route that calls those of its handlers directly that can be."""

    __slots__ = ("_calls",)

    def create_handler_map(self) -> None:
        """Let requests find the handlers by their method."""
        super().create_handler_map()
        self._calls: dict[str, _Call] = {}

    def handle(self, scope: HTTPScope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:  # type: ignore[override]  # of HTTP scopes, as Litestar's
        """Answer a request."""
        call = self._calls.get(scope["method"]) or self._plan(scope)
        return call(scope, receive, send)

    def _plan(self, scope: HTTPScope) -> _Call:
        handler, _ = self.route_handler_map[scope["method"]]
        planned = plan_call(self, handler)
        call: _Call = super().handle if planned is None else planned
        self._calls[scope["method"]] = call
        return call


class _Provided(Struct, frozen=True):
    """A dependency, the names of its own arguments, and the type that it has."""

    name: str
    make: Callable[..., Any]
    arguments: tuple[str, ...]
    kind: Any


class _JsonAnswer(Struct, frozen=True):
    """How a handler's values become JSON, with all headers but the length."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    encoder: msgspec.json.Encoder


class DirectCall:
    """The calls of one handler; see `plan_call`."""

    def __init__(
        self,
        handler: HTTPRouteHandler,
        arguments: Sequence[str],
        provided: Sequence[_Provided],
        answer: _JsonAnswer | None,
    ) -> None:
        self._handler = handler
        self._arguments = tuple(arguments)
        self._provided = tuple(provided)
        self._answer = answer
        self._fn = handler.fn
        self._is_sync = handler.has_sync_callable
        self._request_class = handler.resolve_request_class()
        self._guards: Sequence[Any] = tuple(handler.resolve_guards())

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Check the guards, call the handler and send its answer."""
        request: Request[Any, Any, Any] = self._request_class(scope=scope, receive=receive, send=send)
        handler = self._handler
        for guard in self._guards:
            # Others may change what they get, as Litestar lets them; ours doesn't.
            await guard(request, handler if type(guard) is KeyGuard else copy(handler))
        try:
            if scope["query_string"]:
                await drop_empty_parameters(request)
            values: dict[str, Any] = {_REQUEST: request, **scope["path_params"]}
            for provided in self._provided:
                value = provided.make(**{name: values[name] for name in provided.arguments})
                if not _is_a(value, provided.kind):
                    raise InternalServerException
                values[provided.name] = value
            data = self._fn(**{name: values[name] for name in self._arguments})
            if not self._is_sync:
                data = await data
            body = self._encode(data)
            if body is None:
                response = await handler.to_response(app=scope["litestar_app"], data=data, request=request)
                await response(scope, receive, send)
            else:
                await self._send(send, body)
        finally:
            if (form := ScopeState.from_scope(scope).form) is not Empty:
                await FormMultiDict.from_form_data(form).close()

    def _encode(self, data: Any) -> bytes | None:
        """Return a value as JSON; None if Litestar has to make the response, or tell why it can't."""
        if self._answer is None or not isinstance(data, (Struct, dict, list)):
            return None
        try:
            return self._answer.encoder.encode(data)
        except (AttributeError, TypeError, ValueError, msgspec.EncodeError):
            return None

    async def _send(self, send: Send, body: bytes) -> None:
        answer = self._answer
        assert answer is not None
        length = (b"content-length", b"%d" % len(body))
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length]}
        )
        await send({"type": "http.response.body", "body": body, "more_body": False})


def plan_call(route: HTTPRoute, handler: HTTPRouteHandler) -> DirectCall | None:
    """Return how to call a handler directly, None if Litestar has to do more than that.

    The handler's parameters, and those of its dependencies, have to be the request, texts of the path, and
    dependencies that are plain functions. It has to have no hooks but the app's own.
    """
    before = handler.resolve_before_request()
    if (
        (before is not None and before is not drop_empty_parameters)
        or handler.resolve_after_response()
        or handler.cache
        or handler.resolve_return_dto()
        or handler.resolve_layered_parameters()
    ):
        return None
    planned: dict[str, _Provided] = {}
    parameters = handler.parsed_fn_signature.parameters
    if not _plan_arguments(route, handler, parameters, planned):
        return None
    return DirectCall(handler, tuple(parameters), tuple(planned.values()), _json_answer(handler))


def _plan_arguments(
    route: HTTPRoute,
    handler: HTTPRouteHandler,
    parameters: Mapping[str, FieldDefinition],
    planned: dict[str, _Provided],
) -> bool:
    """Add the dependencies that ``parameters`` need to ``planned``; return whether all can be made directly.

    Each comes after those that it needs itself.
    """
    dependencies = handler.resolve_dependencies()
    for name, field in parameters.items():
        if name in planned:
            fits = planned[name].kind is field.annotation
        elif name in dependencies:
            provide = dependencies[name]
            fits = (
                _is_plain(provide)
                and _is_checkable(field.annotation)
                and _plan_arguments(route, handler, provide.parsed_fn_signature.parameters, planned)
            )
            arguments = tuple(provide.parsed_fn_signature.parameters)
            planned[name] = _Provided(name, provide.dependency, arguments, field.annotation)
        elif name == _REQUEST:
            kind = get_origin(field.annotation) or field.annotation
            fits = isinstance(kind, type) and issubclass(handler.resolve_request_class(), kind)
        else:
            in_path = route.path_parameters.get(name)
            fits = in_path is not None and in_path.type is str and _is_any_text(field)
        if not fits:
            return False
    return True


def _is_plain(provide: Provide) -> bool:
    return (
        provide.has_sync_callable
        and not provide.use_cache
        and not provide.has_sync_generator_dependency
        and not provide.has_async_generator_dependency
    )


def _is_any_text(field: FieldDefinition) -> bool:
    definition = field.kwarg_definition
    return (
        field.annotation is str
        and not field.has_default
        and (
            definition is None
            or (
                isinstance(definition, KwargDefinition)
                and all(getattr(definition, name, None) is None for name in _CONSTRAINTS)
            )
        )
    )


def _is_checkable(kind: Any) -> bool:
    """Return whether Litestar passes on the values of a type unchanged, which it converts to others."""
    return kind is Any or (isinstance(kind, type) and (kind in _SCALARS or not issubclass(kind, _CONVERTED)))


_CONVERTED = (*_SCALARS, *_CONTAINERS)


def _is_a(value: Any, kind: Any) -> bool:
    return type(value) is kind or kind is Any or (kind not in _SCALARS and isinstance(value, kind))


def _json_answer(handler: HTTPRouteHandler) -> _JsonAnswer | None:
    """Return how a handler's values are sent; None if only Litestar knows."""
    if (
        handler.media_type != MediaType.JSON
        or handler.status_code < 200
        or handler.status_code in (204, 304)
        or handler.background
        or handler.resolve_response_class() is not Response
        or handler.resolve_response_cookies()
        or any(layer.after_request for layer in handler.ownership_layers)
    ):
        return None
    headers = [
        (header.name.lower().encode("latin-1"), str(header.value).encode("latin-1"))
        for header in handler.resolve_response_headers()
        if not header.documentation_only
    ]
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", MediaType.JSON.value.encode()))
    if any(name == b"content-length" for name, _ in headers):
        return None
    encoder = msgspec.json.Encoder(enc_hook=get_serializer(handler.resolve_type_encoders()))
    return _JsonAnswer(handler.status_code, tuple(headers), encoder)
