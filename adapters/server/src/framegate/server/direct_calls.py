"""Call handlers of a plain signature without what Litestar does for every other one.

For each request Litestar copies the handler for its guards, runs dependencies in tasks of their own, converts
values that are right already, and builds a response object, together most of what a short answer costs. None
of it is needed by a handler that takes the request, texts of the path and dependencies: `plan_call` finds out
once, from Litestar's own description of the handler, and `DirectCall` does the rest. Whatever the plan isn't
sure of is left to Litestar, and so is every error: both ways answer the same.
"""

from collections.abc import Callable, Coroutine, Sequence
from copy import copy
from typing import Any, TypeAlias, get_origin

from litestar import Router
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.exceptions import InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.params import KwargDefinition, SkipValidationMarker
from litestar.routes import HTTPRoute
from litestar.routes.base import BaseRoute
from litestar.types import ControllerRouterHandler, Empty, HTTPScope, Receive, Send
from litestar.typing import FieldDefinition
from litestar.utils.scope.state import ScopeState
from msgspec import Struct
from msgspec.inspect import CustomType, type_info

from framegate.server.auth.keys import KeyGuard
from framegate.server.direct_answers import json_answers
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.query import drop_empty_parameters

_REQUEST = "request"
_SCALARS = (bool, bytes, float, int, str)
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
        # At once: when it describes a handler for the API docs, Litestar adds parameters to its signature.
        self._calls: dict[str, _Call] = {
            method: plan_call(self, handler) or super(DirectRoute, self).handle
            for method, (handler, _) in self.route_handler_map.items()
        }

    def handle(self, scope: HTTPScope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:  # type: ignore[override]  # of HTTP scopes, as Litestar's
        """Answer a request."""
        return self._calls[scope["method"]](scope, receive, send)

    @property
    def direct_methods(self) -> frozenset[str]:
        """The methods whose handlers are called directly."""
        return frozenset(method for method, call in self._calls.items() if isinstance(call, DirectCall))


class _Provided(Struct, frozen=True):
    """A dependency, the names of its own arguments, and the type that it has."""

    name: str
    make: Callable[..., Any]
    arguments: tuple[str, ...]
    kind: Any


class DirectCall:
    """The calls of one handler; see `plan_call`."""

    def __init__(
        self,
        handler: HTTPRouteHandler,
        arguments: Sequence[str],
        provided: Sequence[_Provided],
    ) -> None:
        self._handler = handler
        self._arguments = tuple(arguments)
        self._provided = tuple(provided)
        self._answers = json_answers(handler)
        self._drops_empty = handler.resolve_before_request() is drop_empty_parameters
        self._fn = handler.fn
        self._is_sync = handler.has_sync_callable
        self._request_class: type[HTTPRequest] = handler.resolve_request_class()
        self._guards: Sequence[Any] = handler.resolve_guards()

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Check the guards, call the handler and send its answer."""
        request = self._request_class(scope=scope, receive=receive, send=send)
        handler = self._handler
        for guard in self._guards:
            # Others may change what they get, as Litestar lets them; ours doesn't.
            await guard(request, handler if type(guard) is KeyGuard else copy(handler))
        try:
            if self._drops_empty:
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
            answer = self._answers and self._answers.encode(data)
            if answer:
                await answer.send(send)
            else:
                response = await handler.to_response(app=scope["litestar_app"], data=data, request=request)
                await response(scope, receive, send)
        finally:
            if (form := ScopeState.from_scope(scope).form) is not Empty:
                await FormMultiDict.from_form_data(form).close()


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
    if not _plan_arguments(route, handler, handler, planned):
        return None
    return DirectCall(handler, tuple(handler.parsed_fn_signature.parameters), tuple(planned.values()))


def _plan_arguments(
    route: HTTPRoute,
    handler: HTTPRouteHandler,
    taker: HTTPRouteHandler | Provide,
    planned: dict[str, _Provided],
) -> bool:
    """Add the dependencies that ``taker`` needs to ``planned``; return whether all can be made directly.

    Each comes after those that it needs itself.
    """
    dependencies = handler.resolve_dependencies()
    for name, field in taker.parsed_fn_signature.parameters.items():
        if name in planned:
            fits = planned[name].kind is _kind_of(field) and not _is_constrained(field)
        elif name in dependencies:
            provide, kind = dependencies[name], _kind_of(field)
            fits = (
                _is_plain(provide)
                and _is_checkable(kind)
                and not _is_constrained(field)
                and _plan_arguments(route, handler, provide, planned)
            )
            arguments = tuple(provide.parsed_fn_signature.parameters)
            planned[name] = _Provided(name, provide.dependency, arguments, kind)
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
        and (definition is None or isinstance(definition, KwargDefinition))
        and not _is_constrained(field)
    )


def _is_constrained(field: FieldDefinition) -> bool:
    """Return whether an argument has a name of its own, or Litestar checks more of it than its type."""
    definition = field.kwarg_definition
    return any(getattr(definition, name, None) is not None for name in _CONSTRAINTS)


def _kind_of(field: FieldDefinition) -> Any:
    """Return the type that Litestar wants a dependency to have."""
    skips = field.has_metadata(SkipValidationMarker) or getattr(
        field.kwarg_definition, "skip_validation", False
    )
    return Any if skips else field.annotation


def _is_checkable(kind: Any) -> bool:
    """Return whether Litestar passes on the values of a type as they are; it converts those of others."""
    if kind is Any or kind in _SCALARS:
        return True
    return isinstance(kind, type) and (issubclass(kind, Struct) or isinstance(type_info(kind), CustomType))


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether Litestar would take a value for one of ``kind``, which is checkable.

    To msgspec, whose types it uses, that is one of the very type where the type is msgspec's own.
    """
    if type(value) is kind or kind is Any:
        return True
    return kind not in _SCALARS and not issubclass(kind, Struct) and isinstance(value, kind)
