"""Mount several dialects in one app."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from litestar import Router
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler, Method
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.dialect import DialectSpec
from framegate.core.errors import ConfigError
from framegate.core.options import parse_table
from framegate.core.plugins import load_object
from framegate.core.settings import Settings
from framegate.core.wiring import CoreServices
from framegate.media.network.addresses import DialPolicy
from framegate.media.network.fetch import shown_url
from framegate.media.network.sessions import default_user_agent
from framegate.media.network.urls import InvalidUrl, parse_url
from framegate.server.auth.keys import DIALECT_OPT, SHARED_OPT
from framegate.server.dialect import Dialect, DialectContext, EnabledDialect, provide_instance
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.unknown_fields import UNKNOWN_FIELDS_OPT, UnknownFields
from framegate.server.responses.link_signing import LinkSigner

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_PARAMETER = re.compile(r"\{[^}]*\}")


class CommonOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys that every ``[dialects.NAME]`` has.

    ``prefix`` is the dialect's own unless given. ``auth`` false lets clients in without a key even though
    keys are configured. ``unknown_fields`` overrides the dialect's own way with fields that it doesn't know.
    """

    prefix: str | None = None
    auth: bool = True
    unknown_fields: UnknownFields | None = None


class MountedDialect(Struct, frozen=True):
    """A dialect with the routers that hold its handlers at their final paths."""

    spec: DialectSpec
    context: DialectContext
    dialect: Dialect
    auth: bool
    unknown_fields: UnknownFields
    routers: tuple[Router, ...] = ()

    @property
    def path_prefixes(self) -> tuple[str, ...]:
        """The dialect's own path prefixes, below the prefix where it is mounted."""
        return tuple(self.context.prefix + path for path in self.dialect.path_prefixes)


def paths_below(entry: MountedDialect, mounted: Iterable[MountedDialect]) -> tuple[str, ...]:
    """Return the paths below which unknown ones are answered with ``entry``'s error body.

    Its whole prefix is among them, unless another of ``mounted`` has paths there too.
    """
    prefix = entry.context.prefix
    taken = (
        path
        for other in mounted
        if other is not entry
        for path in (
            *other.path_prefixes,
            *(route.path for router in other.routers for route in router.routes),
        )
    )
    shared = not prefix or any((path + "/").startswith(prefix + "/") for path in taken)
    return entry.path_prefixes if shared else (*entry.path_prefixes, prefix)


def mount(
    specs: Mapping[str, DialectSpec], settings: Settings, services: CoreServices, links: LinkSigner
) -> list[MountedDialect]:
    """Create every enabled dialect and put its handlers below its prefix; ``links`` signs those to results.

    Raises:
        ConfigError: A dialect is unknown, an option is wrong, or two dialects claim one path and method.
        PluginError: A dialect can't be imported.
    """
    tables = settings.dialects.options
    enabled = tuple(specs) if settings.dialects.enabled is None else settings.dialects.enabled
    for name in (*enabled, *tables):
        if name not in specs:
            raise ConfigError(f"dialects: unknown dialect {name!r}; available: {', '.join(sorted(specs))}.")
    chosen = [
        (specs[name], _common_options(specs[name], tables.get(name, {}))) for name in dict.fromkeys(enabled)
    ]
    listed = [EnabledDialect(spec.name, spec.summary, common.prefix or "") for spec, common in chosen]
    mounted = _with_shared_routes(
        [
            _create(spec, common, tables.get(spec.name, {}), settings, services, links, listed)
            for spec, common in chosen
        ]
    )
    refuse_clashes((entry.spec.name, entry.routers) for entry in mounted)
    return mounted


def _common_options(spec: DialectSpec, table: Mapping[str, Any]) -> CommonOptions:
    """Return the common options of a dialect, with the prefix where it is mounted."""
    where, keys = f"dialects.{spec.name}", CommonOptions.__struct_fields__
    common = parse_table(where, {key: table[key] for key in keys if key in table}, CommonOptions)
    given = spec.prefix if common.prefix is None else common.prefix
    prefix = given.rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f'{where}.prefix: {given!r} is not a path; write one such as "/v4/app".')
    return replace(common, prefix=prefix)


def _create(
    spec: DialectSpec,
    common: CommonOptions,
    table: Mapping[str, Any],
    settings: Settings,
    services: CoreServices,
    links: LinkSigner,
    listed: Sequence[EnabledDialect],
) -> MountedDialect:
    prefix = common.prefix or ""
    context = DialectContext(
        name=spec.name,
        services=services,
        prefix=prefix,
        options={key: value for key, value in table.items() if key not in CommonOptions.__struct_fields__},
        public_url=_public_url(settings.server.public_url),
        data_path=settings.server.data_path,
        max_input=settings.fetch.max_bytes,
        retention=settings.storage.retention,
        dial_policy=DialPolicy(settings.fetch.allow),
        user_agent=settings.fetch.user_agent or default_user_agent(settings.server.public_url),
        links=links,
        enabled=listed,
        has_docs=settings.server.docs != "off",
    )
    dialect: Dialect = load_object(spec.factory)(context)
    unknown_fields = common.unknown_fields or dialect.unknown_fields
    routers = [_router(prefix, dialect.handlers, context, dialect.dependencies, unknown_fields)]
    if dialect.root_handlers:
        routers.append(_router("", dialect.root_handlers, context, dialect.dependencies, unknown_fields))
    return MountedDialect(spec, context, dialect, common.auth, unknown_fields, tuple(routers))


def _public_url(text: str) -> str:
    """Return what links begin with, as its operator wrote it, without a slash at the end."""
    if not text:
        return ""
    try:
        parse_url(text)
        if text != text.strip() or "?" in text or "#" in text:
            raise InvalidUrl("is more than scheme, host and path")
    except InvalidUrl as error:
        raise ConfigError(
            f'server.public_url: {shown_url(text)!r} {error}; write one such as "https://video.example.com/films".'
        ) from None
    return text.rstrip("/")


def _router(
    prefix: str,
    handlers: Sequence[ControllerRouterHandler],
    context: DialectContext,
    dependencies: Mapping[str, Provide],
    unknown_fields: UnknownFields,
    shared_by: frozenset[str] = frozenset(),
) -> Router:
    def provide_client_jobs(request: HTTPRequest) -> ClientJobs:
        return context.client_jobs(request)

    router = Router(
        prefix or "/",
        route_handlers=handlers,
        dependencies={
            "services": provide_instance(context.services),
            "client_jobs": Provide(provide_client_jobs, sync_to_thread=False),
            **dependencies,
        },
        opt={DIALECT_OPT: context.name, UNKNOWN_FIELDS_OPT: unknown_fields, SHARED_OPT: shared_by},
        tags=[context.name],
    )
    drop_options_handlers(router)
    return router


def drop_options_handlers(router: Router) -> None:
    """Remove what Litestar has added to ``router`` to answer OPTIONS.

    The app adds it again for each path, and would refuse two routers that both bring it for the same path.
    """
    for route in router.routes:
        if isinstance(route, HTTPRoute):
            route.route_handlers = [
                handler for handler in route.route_handlers if handler.fn.__module__ != HTTPRoute.__module__
            ]


def add_head_handlers(router: Router) -> None:
    """Let HEAD be answered as GET is, wherever ``router`` has a handler for GET alone.

    The HTTP server leaves the body out. In the API docs GET stands for both.
    """
    head_only: set[Method] = {"HEAD"}
    for route in router.routes:
        if isinstance(route, HTTPRoute):
            methods = {method for handler in route.route_handlers for method in handler.http_methods}
            for handler in list(route.route_handlers) if "HEAD" not in methods else ():
                if "GET" in handler.http_methods:
                    head = copy(handler)
                    head.http_methods = head_only
                    head.include_in_schema = False
                    route.route_handlers.append(head)


def _with_shared_routes(mounted: Sequence[MountedDialect]) -> list[MountedDialect]:
    """Compose each group of shared routes and give them to one of its dialects.

    It is the first that requires a key, or else the first: its key rule and its section in the docs apply.
    """
    groups: dict[tuple[str, Any], list[tuple[MountedDialect, Any]]] = {}
    for entry in mounted:
        for shared in entry.dialect.shared_routes:
            groups.setdefault((entry.context.prefix, shared.compose), []).append((entry, shared.part))
    composed: dict[str, list[Router]] = {entry.spec.name: [] for entry in mounted}
    for (prefix, compose), members in groups.items():
        owner = next((entry for entry, _ in members if entry.auth), members[0][0])
        handlers = compose([part for _, part in members])
        names = frozenset(entry.spec.name for entry, _ in members)
        composed[owner.spec.name].append(
            _router(prefix, handlers, owner.context, {}, owner.unknown_fields, names)
        )
    return [replace(entry, routers=(*entry.routers, *composed[entry.spec.name])) for entry in mounted]


def refuse_clashes(routers: Iterable[tuple[str, Sequence[Router]]]) -> None:
    """Refuse handlers of different owners that answer the same method of the same path.

    Raises:
        ConfigError: There are such handlers; the message names both owners.
    """
    taken: dict[tuple[str, str], str] = {}
    for name, own in routers:
        for path, method in _endpoints(own):
            key = (method, _PARAMETER.sub("{}", path))
            if taken.setdefault(key, name) != name:
                raise ConfigError(
                    f"The dialects {taken[key]} and {name} both answer {method} {path}; mount one "
                    f'elsewhere ([dialects.{name}] prefix = "/{name}") or enable only one.'
                )


def _endpoints(routers: Sequence[Router]) -> Iterable[tuple[str, str]]:
    for router in routers:
        for route in router.routes:
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    for method in handler.http_methods:
                        yield route.path, method
