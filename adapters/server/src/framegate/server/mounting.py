"""Mount several dialects in one app."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Self

import structlog
from litestar import Litestar, Router
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler, Method
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.dialect import DialectSpec
from framegate.core.errors import ConfigError
from framegate.core.options import parse_table
from framegate.core.plugins import load_object
from framegate.core.settings import Settings
from framegate.core.wiring import CoreServices
from framegate.media.network.addresses import DialPolicy
from framegate.media.network.client import default_user_agent
from framegate.media.network.urls import InvalidUrl, parse_url, shown_url
from framegate.server.auth.keys import DIALECT_OPT, SHARED_OPT
from framegate.server.dialect import Dialect, DialectContext, EnabledDialect, provide_instance
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.unknown_fields import UNKNOWN_FIELDS_OPT, UnknownFields
from framegate.server.responses.link_signing import LinkSigner

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_PARAMETER = re.compile(r"\{[^}]*\}")
_SERVER = "framegate"
"""Whose routes those of the server itself are, for messages."""
log = structlog.get_logger(__name__)


class OwnRouter(Router):
    """A router that is registered in one app, and nowhere else.

    Litestar copies each router that it registers, as it could be registered again, with all of its handlers
    and what they hold; that is a third of the time in which an app is built.
    """

    def __deepcopy__(self, memo: object) -> Self:
        return self


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
    specs: Mapping[str, DialectSpec],
    settings: Settings,
    services: CoreServices,
    links: LinkSigner,
    *,
    reserved: Sequence[Router] = (),
    third_party: Mapping[str, str] | None = None,
    found: ErrorCollector,
) -> "Mounted":
    """Create every enabled dialect and put its handlers below its prefix.

    ``links`` signs links to results. ``reserved`` hold the server's own routes. ``third_party`` are the
    dialects of other people's plugins, with the plugin of each. A plugin whose dialect can't be created, or
    answers what another one does, is disabled with all of its dialects.

    What is wrong in the config is added to ``found``: a dialect is unknown, an option is wrong, or two of
    Framegate's own dialects claim one path and method.
    """
    tables, plugins = settings.dialects.options, third_party or {}
    enabled = tuple(specs) if settings.dialects.enabled is None else settings.dialects.enabled
    named = [(name, ("dialects", "enabled", index)) for index, name in enumerate(enabled)]
    for name, key in (*named, *((name, ("dialects", name)) for name in tables)):
        if name not in specs:
            found.add(f"unknown dialect {name!r}{suggest(name, sorted(specs))}", *key)
    problems: dict[str, str] = {}
    entries: list[MountedDialect] = []
    chosen = [
        (specs[name], _common_options(specs[name], tables.get(name, {}), found))
        for name in dict.fromkeys(enabled)
        if name in specs
    ]
    listed = [EnabledDialect(spec.name, spec.summary, common.prefix or "") for spec, common in chosen]
    base = _base_context(settings, services, links, listed, found)
    for spec, common in chosen:
        try:
            factory = load_object(spec.factory)
            with found.catching():
                entry = _create(spec, factory, common, tables.get(spec.name, {}), base)
                if spec.name in plugins:
                    _try(entry)
                entries.append(entry)
        except (Exception, SystemExit) as error:
            log.exception("dialect_broken", dialect=spec.name, plugin=plugins.get(spec.name, ""))
            problems[spec.name] = _shown_reason(error)
    # Framegate's own first: in a clash the later one is disabled.
    entries.sort(key=lambda entry: plugins.get(entry.spec.name, ""))
    mounted: list[MountedDialect] = []
    clashes: dict[str, ConfigError] = {}
    while clashes or not mounted:
        problems.update({name: error.reason for name, error in clashes.items()})
        broken = {plugins[name] for name in problems if name in plugins}
        entries = [
            entry
            for entry in entries
            if entry.spec.name not in problems and plugins.get(entry.spec.name) not in broken
        ]
        mounted = _with_shared_routes(entries)
        every = _clashes([(_SERVER, reserved), *((entry.spec.name, entry.routers) for entry in mounted)])
        clashes = {name: error for name, error in every.items() if name in plugins}
        for name, clash in clashes.items():
            log.error("dialect_disabled", dialect=name, plugin=plugins[name], reason=clash.reason)
        if not clashes:
            found.errors += every.values()
            break
    return Mounted(mounted, tuple(_disabled(name, plugins, problems[name]) for name in problems))


class Mounted(Struct, frozen=True):
    """The dialects that take part, and one sentence on each that should but can't."""

    dialects: list[MountedDialect]
    problems: tuple[str, ...] = ()


def _shown_reason(error: Exception | SystemExit) -> str:
    """Return why a dialect is broken, for anybody: other people's errors may name files."""
    foreign = error.__cause__ if isinstance(error, ConfigError) else error
    if isinstance(error, ConfigError) and (foreign is None or isinstance(foreign, ModuleNotFoundError)):
        return error.message
    return f"{type(foreign).__name__}; the log says more."


def _disabled(dialect: str, plugins: Mapping[str, str], reason: str) -> str:
    owner = f"The plugin {plugins[dialect]} is disabled" if dialect in plugins else "It is disabled"
    return f"The dialect {dialect} can't be served. {owner}: {reason}"


def _base_context(
    settings: Settings,
    services: CoreServices,
    links: LinkSigner,
    listed: Sequence[EnabledDialect],
    found: ErrorCollector,
) -> DialectContext:
    """Return what the contexts of all dialects have in common."""
    public_url, dial_policy = "", DialPolicy()
    with found.catching():
        public_url = _public_url(settings.server.public_url)
    with found.catching():
        dial_policy = DialPolicy(settings.fetch.allow)
    return DialectContext(
        name="",
        services=services,
        public_url=public_url,
        data_path=settings.server.data_path,
        max_input=settings.fetch.max_bytes,
        retention=settings.storage.retention,
        dial_policy=dial_policy,
        user_agent=settings.fetch.user_agent or default_user_agent(settings.server.public_url),
        links=links,
        enabled=listed,
        has_docs=settings.server.docs != "off",
    )


def _common_options(spec: DialectSpec, table: Mapping[str, Any], found: ErrorCollector) -> CommonOptions:
    """Return the common options of a dialect, with the prefix where it is mounted."""
    key, keys = ("dialects", spec.name), CommonOptions.__struct_fields__
    common = CommonOptions()
    with found.catching():
        common = parse_table(key, {name: table[name] for name in keys if name in table}, CommonOptions)
    given = spec.prefix if common.prefix is None else common.prefix
    prefix = given.rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        found.add(f'{given!r} is not a path; write one such as "/v4/app".', *key, "prefix")
        prefix = ""
    return replace(common, prefix=prefix)


def _create(
    spec: DialectSpec,
    factory: Callable[[DialectContext], object],
    common: CommonOptions,
    table: Mapping[str, Any],
    base: DialectContext,
) -> MountedDialect:
    """Create a dialect.

    Raises:
        ConfigError: Its options are wrong.
        Exception: Whatever is wrong with the dialect itself.
    """
    common_keys = CommonOptions.__struct_fields__
    context = replace(
        base,
        name=spec.name,
        prefix=common.prefix or "",
        options={name: value for name, value in table.items() if name not in common_keys},
    )
    dialect = factory(context)
    if not isinstance(dialect, Dialect):
        raise TypeError(f"{spec.factory} returned {type(dialect).__name__}, not a Dialect")
    unknown_fields = common.unknown_fields or dialect.unknown_fields
    entry = MountedDialect(spec, context, dialect, common.auth, unknown_fields)
    return replace(entry, routers=_routers(entry))


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
            f'{shown_url(text)!r} {error}; write one such as "https://video.example.com/films".',
            key=("server", "public_url"),
        ) from None
    return text.rstrip("/")


def _routers(entry: MountedDialect) -> tuple[Router, ...]:
    """Return new routers with the dialect's own handlers."""
    dialect, context = entry.dialect, entry.context
    below = [
        (context.prefix, dialect.handlers),
        *([("", dialect.root_handlers)] if dialect.root_handlers else []),
    ]
    return tuple(
        _router(prefix, handlers, context, dialect.dependencies, entry.unknown_fields)
        for prefix, handlers in below
    )


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

    router = OwnRouter(
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


def _clashes(routers: Iterable[tuple[str, Sequence[Router]]]) -> dict[str, ConfigError]:
    """Return an error for each whose handlers answer a method of a path that an earlier one's do."""
    taken: dict[tuple[str, str], str] = {}
    clashes: dict[str, ConfigError] = {}
    for name, own in routers:
        for path, method in _endpoints(own):
            other = taken.setdefault((method, _PARAMETER.sub("{}", path)), name)
            if other != name and name not in clashes:
                clashes[name] = ConfigError(
                    f"The dialects {other} and {name} both answer {method} {path}; mount one elsewhere "
                    f'([dialects.{name}] prefix = "/{name}") or enable only one.',
                    key=("dialects", name, "prefix"),
                )
    return clashes


def _try(entry: MountedDialect) -> None:
    """Build an app of a dialect alone, which finds handlers that no app can have.

    Raises:
        Exception: Whatever Litestar finds wrong.
    """
    Litestar(_routers(entry), openapi_config=None, logging_config=None)


def _endpoints(routers: Sequence[Router]) -> Iterable[tuple[str, str]]:
    for router in routers:
        for route in router.routes:
            if isinstance(route, HTTPRoute):
                for handler in route.route_handlers:
                    for method in handler.http_methods:
                        yield route.path, method
