"""Putting several dialects into one app."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.dialect import DialectSpec
from framegate.core.errors import ConfigError
from framegate.core.options import parse_table
from framegate.core.plugins import load_object
from framegate.core.settings import Settings
from framegate.core.wiring import CoreServices
from framegate.server.auth.keys import DIALECT_OPT
from framegate.server.dialect import Dialect, DialectContext

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_PARAMETER = re.compile(r"\{[^}]*\}")


class CommonOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of every ``[dialects.NAME]``. ``auth`` false lets anyone in although keys are configured."""

    prefix: str = ""
    auth: bool = True


class Mounted(Struct, frozen=True):
    """A dialect in its place."""

    spec: DialectSpec
    dialect: Dialect
    prefix: str
    auth: bool

    @property
    def path_prefixes(self) -> tuple[str, ...]:
        """What it says itself, below its prefix."""
        return tuple(self.prefix + path for path in self.dialect.path_prefixes)


def paths_below(entry: Mounted, mounted: Iterable[Mounted]) -> tuple[str, ...]:
    """The paths below which unknown ones answer as ``entry`` does: all of its prefix, unless another of
    ``mounted`` is there too."""
    below = entry.prefix + "/"
    taken = (
        path
        for other in mounted
        if other is not entry
        for path in (
            *other.path_prefixes,
            *(path for handler in other.dialect.handlers for path in handler.paths),
        )
    )
    shared = not entry.prefix or any((path + "/").startswith(below) for path in taken)
    return entry.path_prefixes if shared else (*entry.path_prefixes, entry.prefix)


def mount(specs: Mapping[str, DialectSpec], settings: Settings, services: CoreServices) -> list[Mounted]:
    """Make every enabled dialect and put its handlers under its prefix.

    Raises:
        ConfigError: an unknown dialect is named, an option is wrong, or two claim one path and method.
        PluginError: a dialect can't be imported.
    """
    tables = settings.dialects.options
    enabled = tuple(specs) if settings.dialects.enabled is None else settings.dialects.enabled
    for name in (*enabled, *tables):
        if name not in specs:
            raise ConfigError(
                f"dialects: there is no dialect {name!r}; there are {', '.join(sorted(specs))}."
            )
    mounted = _with_shared_routes(
        [_make(specs[name], tables.get(name, {}), settings, services) for name in dict.fromkeys(enabled)]
    )
    refuse_clashes((entry.spec.name, entry.dialect.handlers) for entry in mounted)
    return mounted


def _make(spec: DialectSpec, table: Mapping[str, Any], settings: Settings, services: CoreServices) -> Mounted:
    where = f"dialects.{spec.name}"
    common_keys = CommonOptions.__struct_fields__
    common = parse_table(where, {key: table[key] for key in common_keys if key in table}, CommonOptions)
    prefix = common.prefix.rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f'{where}.prefix: {common.prefix!r} is no path such as "/v4/app".')
    context = DialectContext(
        name=spec.name,
        services=services,
        prefix=prefix,
        options={key: value for key, value in table.items() if key not in common_keys},
        public_url=settings.server.public_url.rstrip("/"),
        data_path=settings.server.data_path,
        max_input=settings.fetch.max_bytes,
        retention=settings.storage.retention,
    )
    dialect: Dialect = load_object(spec.factory)(context)
    mounted = Mounted(spec, dialect, prefix, common.auth)
    _place(dialect.handlers, mounted)
    return mounted


def _place(handlers: Iterable[HTTPRouteHandler], owner: Mounted) -> None:
    for handler in handlers:
        prefix = "" if handler.opt.get("at_root") else owner.prefix
        handler.paths = {(prefix + path).rstrip("/") or "/" for path in handler.paths}
        handler.opt[DIALECT_OPT] = owner.spec.name
        handler.tags = [owner.spec.name]


def _with_shared_routes(mounted: Sequence[Mounted]) -> list[Mounted]:
    """Compose each group of shared routes and give it to one of its dialects: to one that requires a key, if
    any does."""
    groups: dict[tuple[str, Any], list[tuple[Mounted, Any]]] = {}
    for entry in mounted:
        for shared_routes in entry.dialect.shared_routes:
            groups.setdefault((entry.prefix, shared_routes.compose), []).append((entry, shared_routes.part))
    composed: dict[str, list[HTTPRouteHandler]] = {entry.spec.name: [] for entry in mounted}
    for (_, compose), members in groups.items():
        owner = next((entry for entry, _ in members if entry.auth), members[0][0])
        handlers = compose([part for _, part in members])
        _place(handlers, owner)
        composed[owner.spec.name].extend(handlers)
    return [
        replace(
            entry,
            dialect=replace(
                entry.dialect,
                handlers=[*entry.dialect.handlers, *composed[entry.spec.name]],
                shared_routes=(),
            ),
        )
        for entry in mounted
    ]


def refuse_clashes(handlers: Iterable[tuple[str, Iterable[HTTPRouteHandler]]]) -> None:
    """Raises:
    ConfigError: two of them answer the same method of the same path; names both.
    """
    taken: dict[tuple[str, str], str] = {}
    for name, own in handlers:
        for handler in own:
            for path in handler.paths:
                for method in handler.http_methods:
                    key = (method, _PARAMETER.sub("{}", path))
                    if key in taken and taken[key] != name:
                        raise ConfigError(
                            f"The dialects {taken[key]} and {name} both answer {method} {path}; mount one "
                            f'elsewhere ([dialects.{name}] prefix = "/{name}") or enable only one.'
                        )
                    taken[key] = name
