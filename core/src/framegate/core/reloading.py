"""What changes when the config is read again while a process runs, and what waits for its next start."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from framegate.core.settings import (
    DecodingSettings,
    DialectsSettings,
    PluginsSettings,
    Settings,
    WorkerSettings,
)

_FIXED = {
    "server": ("data_dir", "shutdown_grace"),
    "queue": ("url", "prefix"),
    "storage": ("url", "endpoint", "region", "access_key_id", "secret_access_key", "cache_bytes"),
    "worker": WorkerSettings.__struct_fields__,
}
_FIXED_LISTENER = (
    "host",
    "port",
    "api_processes",
    "keep_alive",
    "header_timeout",
    "write_timeout",
    "shutdown_delay",
    "max_connections",
    "max_connections_per_address",
    "trusted_proxies",
)


def _named(tables: Mapping[str, Sequence[str]]) -> frozenset[str]:
    return frozenset(f"{table}.{name}" for table, names in tables.items() for name in names)


FIXED_IN_WORKER = _named(_FIXED)
"""The settings that a worker takes from its start."""
FIXED_IN_SERVER = FIXED_IN_WORKER | _named(
    {"server": _FIXED_LISTENER, "decoding": DecodingSettings.__struct_fields__}
)
"""Those that ``serve`` takes from its start: its workers, listener, connections and decoders have them."""


class Reload(Struct, frozen=True):
    """A config that was read again.

    ``settings`` are the new ones, but for those that the process can't change; ``changed`` are the names of
    those that are different now, ``needs_restart`` of those that would be.
    """

    settings: Settings
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def plan_reload(old: Settings, new: Settings, *, fixed: Collection[str]) -> Reload:
    """Return what becomes of ``new`` in a process that runs with ``old`` and can't change ``fixed``."""
    names = set(_changed(old, new))
    settings = new
    for name in sorted(names.intersection(fixed)):
        table, _, field = name.partition(".")
        kept = replace(getattr(settings, table), **{field: getattr(getattr(old, table), field)})
        settings = replace(settings, **{table: kept})
    return Reload(settings, tuple(sorted(names.difference(fixed))), tuple(sorted(names.intersection(fixed))))


def _changed(old: Settings, new: Settings) -> Iterator[str]:
    """Yield the names of the settings that differ, of free-form tables those of their entries."""
    for table in Settings.__struct_fields__:
        before, after = _entries(getattr(old, table)), _entries(getattr(new, table))
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name):
                yield f"{table}.{name}"


def _entries(table: Any) -> dict[str, Any]:
    if isinstance(table, DialectsSettings):
        return {"enabled": table.enabled, **table.options}
    if isinstance(table, PluginsSettings):
        return {"disabled": table.disabled, **table.tables}
    return asdict(table) if isinstance(table, Struct) else dict(table)
