"""Build the Litestar app from dialects, keys, errors, docs and health."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeAlias

from litestar import Litestar, Router
from litestar.middleware import AbstractMiddleware
from litestar.plugins import PluginProtocol
from litestar.plugins.attrs import AttrsSchemaPlugin
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send
from litestar.types.asgi_types import LifeSpanReceive, LifeSpanScope, LifeSpanSend
from msgspec import Struct

from framegate.core.config_errors import ErrorCollector
from framegate.core.dialect import DialectSpec
from framegate.core.ports import Rate
from framegate.core.settings import DocsAccess, LimitSettings, Settings
from framegate.core.wiring import CoreServices
from framegate.server.admin.router import admin_router
from framegate.server.auth.cors import Cors, only_for_pages
from framegate.server.auth.key_checks import check_keys
from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.keys import ADMIN_OPT, KEY_OPT, KeyGuard
from framegate.server.auth.loopback_guard import LoopbackOnly
from framegate.server.auth.origins import OriginRules
from framegate.server.dialect import provide_instance
from framegate.server.direct_calls import DirectRouter
from framegate.server.docs_pages import ApiDocs, DocsController
from framegate.server.errors.renderer import ErrorRenderer
from framegate.server.health import HealthController, Probes, ReadinessController, StatusController
from framegate.server.limits.limiter import RateLimiter
from framegate.server.limits.logins import LoginThrottle
from framegate.server.limits.requests import AddressLimit
from framegate.server.mounting import Mounted, OwnRouter, add_head_handlers, drop_options_handlers, mount
from framegate.server.openapi import openapi_config
from framegate.server.process_state import ProcessState
from framegate.server.receiving.budget import BodyBudget
from framegate.server.receiving.deadlines import BodyDeadlines
from framegate.server.receiving.requests_with_body import RequestsWithBody
from framegate.server.receiving.spooled_bodies import SpooledBodies
from framegate.server.request_log import RequestLog
from framegate.server.requests.content_encoding import DecodedBodies
from framegate.server.requests.forms import close_uploads
from framegate.server.requests.forwarded import ForwardedHeaders, TrustedProxies
from framegate.server.requests.query import drop_empty_parameters
from framegate.server.responses.link_signing import LinkSigner, make_signer

Lifespan: TypeAlias = Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]]


_STATUS_OPT: Mapping[DocsAccess, dict[str, Any]] = {
    "open": {},
    "keys": {KEY_OPT: True},
    "off": {ADMIN_OPT: True},  # what nobody may read, the operator still may
}


class FramegateApp(Litestar, DirectRouter):
    """A Litestar app that answers HEAD wherever it answers GET, and calls simple handlers directly.

    Its outermost middleware also sees requests that no route matches.
    """

    _layers: Any

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        # Litestar would import pydantic if it is installed, which takes 0.1 s and 10 MB. What no dialect has
        # imported, none uses in its handlers.
        if "pydantic" in sys.modules:
            return Litestar._get_default_plugins(plugins)
        return [*plugins, MsgspecDIPlugin(), AttrsSchemaPlugin()]

    def register(self, value: ControllerRouterHandler) -> None:  # type: ignore[override]  # Litestar returns nothing, Router does
        """Register a router."""
        if isinstance(value, Router):
            add_head_handlers(value)
        super().register(value)

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Pass a connection through the middleware."""
        await self._layers(scope, receive, send)

    def wrap(self, *layers: Callable[[Any], Any]) -> None:
        """Wrap the app in ASGI middleware, the innermost first."""
        if isinstance(self.asgi_handler, AbstractMiddleware):  # as with a CORS config
            self.asgi_handler = only_for_pages(self.asgi_handler)
        app: Any = super().__call__
        for layer in layers:
            app = layer(app)
        self._layers = app


class AppPlan(Struct, frozen=True):
    """What an app is built of, after all that the settings say about it has been found right."""

    keys: KeyRing
    proxies: TrustedProxies
    mounting: Mounted
    own_routes: Sequence[ControllerRouterHandler]
    admin: Router


def plan_app(
    *,
    services: CoreServices,
    settings: Settings,
    dialects: Mapping[str, DialectSpec],
    clock: Callable[[], float] = time.time,
    keys: KeyRing | None = None,
    third_party: Mapping[str, str] | None = None,
) -> AppPlan:
    """Return what `create_app` builds, and takes the same arguments for.

    Raises:
        ConfigError: As for `create_app`.
    """
    found, docs = ErrorCollector(), settings.server.docs
    check_keys(settings, found)
    if keys is None:
        keys = KeyRing(())
        with found.catching():
            keys = KeyRing(settings.auth.keys, defaults=settings.key_defaults)
    links, proxies = LinkSigner(), TrustedProxies(())
    with found.catching():
        links = make_signer(settings.links, services.secrets, clock=clock)
    with found.catching():
        proxies = TrustedProxies(settings.server.trusted_proxies)
    own_routes: list[ControllerRouterHandler] = [
        HealthController,
        ReadinessController,
        Router("/", route_handlers=[StatusController], opt=_STATUS_OPT[docs]),
    ]
    if docs != "off":
        own_routes.append(Router("/", route_handlers=[DocsController], opt={KEY_OPT: docs == "keys"}))
    admin = admin_router({"services": provide_instance(services)})
    mounting = mount(
        dialects,
        settings,
        services,
        links,
        reserved=[Router("/", route_handlers=own_routes), admin],
        third_party=third_party,
        found=found,
    )
    found.raise_errors()
    return AppPlan(keys, proxies, mounting, own_routes, admin)


def create_app(
    *,
    services: CoreServices,
    settings: Settings,
    dialects: Mapping[str, DialectSpec],
    process: ProcessState,
    lifespan: Lifespan = (),
    clock: Callable[[], float] = time.time,
    keys: KeyRing | None = None,
    third_party: Mapping[str, str] | None = None,
    plugin_problems: Sequence[str] = (),
) -> Litestar:
    """Return the app that serves ``services`` over HTTP; by ``clock`` links to results expire.

    ``process`` is what this process keeps when its config changes.

    ``keys`` are the valid ones, by default those of the settings. ``third_party`` is what `mount` takes, and
    ``plugin_problems`` say which plugins take no part although they should.

    Raises:
        ConfigError: The settings name an unknown dialect or option, two dialects clash, or a key is missing
            or unsafe; `ConfigErrors` if several of these are so.
    """
    server = settings.server
    plan = plan_app(
        services=services,
        settings=settings,
        dialects=dialects,
        clock=clock,
        keys=keys,
        third_party=third_party,
    )
    keys, mounted, admin = plan.keys, plan.mounting.dialects, plan.admin
    origins = partial(OriginRules, server.cors_origins, server.public_url)
    limits, limiter = settings.limits, process.limiter
    errors = ErrorRenderer(mounted)
    own = OwnRouter(
        "/",
        route_handlers=plan.own_routes,
        dependencies={
            "api_docs": provide_instance(ApiDocs(mounted, keys)),
            "probes": provide_instance(
                Probes(services, keys, process, (*plugin_problems, *plan.mounting.problems))
            ),
            "shows_details": provide_instance(server.docs == "open"),
        },
        tags=["server"],
    )
    drop_options_handlers(own)
    drop_options_handlers(admin)
    app = FramegateApp(
        route_handlers=[own, admin, *(router for entry in mounted for router in entry.routers)],
        guards=[
            KeyGuard(
                keys,
                frozenset(entry.spec.name for entry in mounted if not entry.auth),
                origins(remedy="let the dialect require a key (auth = true)"),
                logins=LoginThrottle(
                    limiter, limits.address_failed_logins_per_minute, known=process.known_logins
                ),
                limiter=limiter,
            )
        ],
        exception_handlers={Exception: errors},
        cors_config=Cors(keys, server.cors_origins),
        openapi_config=None
        if server.docs == "off"
        else openapi_config(mounted, needs_key=server.docs == "keys"),
        before_request=drop_empty_parameters,
        request_max_body_size=server.max_body,
        lifespan=list(lifespan),
        logging_config=None,
    )
    app.wrap(
        partial(
            RequestsWithBody,
            layers=(
                close_uploads,
                partial(
                    SpooledBodies,
                    budget=BodyBudget(process.part_of(server.max_body_memory)),
                    default_limit=limits.max_bytes_in_flight,
                    part_of=process.part_of,
                    max_bytes=server.max_body,
                    data_path=server.data_path,
                ),
                partial(DecodedBodies, max_bytes=server.max_body),
                partial(BodyDeadlines, timeout=server.body_timeout, min_rate=server.min_body_rate),
            ),
        ),
        partial(
            LoopbackOnly, keys=keys, refuse=errors.refuse, origins=origins(remedy="configure [[auth.keys]]")
        ),
        *_address_limit(limits, limiter, errors),
        RequestLog,
        partial(ForwardedHeaders, trusted=plan.proxies),
    )
    return app


def _address_limit(
    limits: LimitSettings, limiter: RateLimiter, errors: ErrorRenderer
) -> Sequence[Callable[[ASGIApp], ASGIApp]]:
    if not limits.address_requests_per_minute:
        return ()
    rate = Rate(limits.address_requests_per_minute, limits.address_request_burst)
    return (partial(AddressLimit, limiter=limiter, rate=rate, refuse=errors.refuse),)
