"""The Litestar app: dialects, keys, errors, docs, health."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from litestar import Litestar
from litestar.types import Receive, Scope, Send
from litestar.types.asgi_types import LifeSpanReceive, LifeSpanScope, LifeSpanSend

from framegate.cli.app_context import AppContext, open_services
from framegate.core.dialect import DialectSpec
from framegate.core.settings import Settings
from framegate.core.wiring import CoreServices
from framegate.server.auth.keys import KeyGuard, KeyRing
from framegate.server.auth.loopback_guard import LoopbackOnly, cors_config
from framegate.server.errors.renderer import ErrorRenderer
from framegate.server.health import health_routes
from framegate.server.mounting import mount, refuse_clashes
from framegate.server.openapi import docs_routes, openapi_config
from framegate.server.request_log import RequestLog
from framegate.server.webhooks.delivery_worker import open_delivery_worker

Lifespan: TypeAlias = Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]]


class FramegateApp(Litestar):
    """A Litestar app whose outermost layers also see what no route matches."""

    _layers: Any

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        await self._layers(scope, receive, send)

    def wrap(self, *layers: Callable[[Any], Any]) -> None:
        """Put ASGI middleware around the app, the innermost first."""
        app: Any = super().__call__
        for layer in layers:
            app = layer(app)
        self._layers = app


def create_app(
    *,
    services: CoreServices,
    settings: Settings,
    dialects: Mapping[str, DialectSpec],
    lifespan: Lifespan = (),
) -> Litestar:
    """The HTTP side of ``services``.

    Raises:
        ConfigError: the settings name an unknown dialect or option, two dialects clash, or a key is missing.
    """
    keys = KeyRing(settings.auth.keys)
    mounted = mount(dialects, settings, services)
    errors = ErrorRenderer(mounted)
    own = [*health_routes(services.jobs), *docs_routes(mounted, has_keys=bool(keys))]
    refuse_clashes([("framegate", own), *((entry.spec.name, entry.dialect.handlers) for entry in mounted)])
    app = FramegateApp(
        route_handlers=[*own, *(handler for entry in mounted for handler in entry.dialect.handlers)],
        guards=[KeyGuard(keys, frozenset(entry.spec.name for entry in mounted if not entry.auth))],
        exception_handlers={Exception: errors},
        cors_config=cors_config(any_origin=bool(keys)),
        openapi_config=openapi_config(mounted, has_keys=bool(keys)),
        request_max_body_size=settings.server.max_body,
        lifespan=list(lifespan),
        logging_config=None,
    )
    if keys:
        app.wrap(RequestLog)
    else:
        app.wrap(lambda inner: LoopbackOnly(inner, errors.refuse), RequestLog)
    return app


def check_config(context: AppContext) -> None:
    """Build the app as ``framegate serve`` would, up to the point where it would listen.

    Raises:
        ConfigError: the settings are wrong; see `create_app`.
    """

    async def build() -> None:
        async with open_services(context) as services, open_delivery_worker(context):
            create_app(services=services, settings=context.settings, dialects=context.plugins.dialects)

    asyncio.run(build())
