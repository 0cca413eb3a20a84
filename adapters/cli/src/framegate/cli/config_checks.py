"""The checks of a config beyond the form of its values, for ``config check``, ``serve`` and ``worker``.

None of them changes anything, reaches another host or needs a running server.
"""

import os
from pathlib import Path

from msgspec import Struct

from framegate.cli.app_context import AppContext, create_context
from framegate.cli.config_file import Config
from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.default_checks import check_defaults
from framegate.core.errors import ConfigError, ConfigKey, PluginError
from framegate.core.plugins import OWN_DISTRIBUTIONS, load_object
from framegate.core.settings import FILE_STORAGE, Settings
from framegate.core.tables import convert_table
from framegate.storage import embedded


def check_config(config: Config, *, as_server: bool) -> tuple[AppContext, ErrorCollector]:
    """Return what the config leads to, and everything that is wrong in it, each with its place.

    Without ``as_server``, only what concerns workers is checked.
    """
    found = ErrorCollector()
    context = create_context(config.settings, config.origins, found=found)
    settings = config.settings
    check_defaults(context.registry, settings.models, settings.aliases, found)
    _check_options(context, found)
    _check_limits(settings, found)
    _check_names(context, found)
    _check_storage(context, found)
    if as_server:
        _check_keys(context, found)
        _check_data_folder(settings, found)
        if context.embedded:
            with found.catching():
                embedded.find_server()
        for check in context.plugins.config_checks():
            _run(check, context, found)
    return context, _located(config, found)


def _located(config: Config, found: ErrorCollector) -> ErrorCollector:
    """Return all that was found with its place, without what follows from a value that has a wrong form."""
    located = ErrorCollector()
    located.errors += config.errors
    malformed = {_entry(error.key) for error in config.errors}
    for error in found.errors:
        error = config.origins.locate(error)
        if _entry(error.key) not in malformed and not _misses_keys(error.key, malformed):
            located.errors.append(error)
    located.errors = sorted({error.message: error for error in located.errors}.values(), key=_line)
    located.warnings = [config.origins.locate(warning) for warning in found.warnings]
    return located


def _line(error: ConfigError) -> tuple[str, int]:
    source, _, line = error.where.rpartition(":")
    return (source, int(line)) if line.isdecimal() else (error.where, 0)


def _entry(key: ConfigKey) -> ConfigKey:
    """Return the entry of the config that ``key`` is in: a setting, a named table or an entry of a list."""
    return key[: 3 if key[:2] == ("auth", "keys") else 2]


def _misses_keys(key: ConfigKey, malformed: set[ConfigKey]) -> bool:
    return key == ("server", "host") and any(entry[:1] == ("auth",) for entry in malformed)


def _check_options(context: AppContext, found: ErrorCollector) -> None:
    """Check the options of every model with what its backend says about them."""
    for name, spec in context.registry.specs.items():
        key = ("models", name, "options")
        if not spec.options_type:
            continue
        try:
            kind = load_object(spec.options_type)
        except PluginError as error:
            found.warn(f"these can't be checked here: {error.reason}", *key)
            continue
        if not (isinstance(kind, type) and issubclass(kind, Struct)):
            found.warn(f"these can't be checked here: {spec.options_type} is not a Struct.", *key)
            continue
        _, errors = convert_table(spec.options, kind)
        for wrong in errors:
            found.add(wrong.reason, *key, *wrong.key)


def _check_limits(settings: Settings, found: ErrorCollector) -> None:
    """Find limits and times that have no effect, as another one is lower."""
    for name, alias in settings.aliases.items():
        model = settings.models.get(alias.model)
        if model and model.max_running and (alias.max_running or 0) > model.max_running:
            found.add(
                f"{alias.max_running} can't run at once: models.{alias.model}.max_running is "
                f"{model.max_running}.",
                *("aliases", name, "max_running"),
            )
    if settings.storage.retention > settings.storage.record_retention:
        found.warn(
            f"results can't be found once their records are removed, after "
            f"{settings.storage.record_retention:g} s; set storage.record_retention to as much or more.",
            *("storage", "retention"),
        )
    limits = settings.limits
    for rate, burst in (
        ("requests_per_minute", "request_burst"),
        ("address_requests_per_minute", "address_request_burst"),
    ):
        _check_order(getattr(limits, burst), getattr(limits, rate), ("limits", burst), rate, found)


def _check_order(
    low: int | None, high: int | None, key: ConfigKey, other: str, found: ErrorCollector
) -> None:
    """Find a limit that is above another one which includes it; 0 and None are no limits."""
    if low and high and low > high:
        found.add(f"{low} is more than {other}, which is {high}, and can never be reached.", *key)


def _check_names(context: AppContext, found: ErrorCollector) -> None:
    """Find models of other people's plugins that take a name which an API documents for something else."""
    documented = {
        entry.name: dialect for dialect, entries in context.plugins.catalogues.items() for entry in entries
    }
    for status in context.plugins.statuses:
        for name in status.models if status.distribution not in OWN_DISTRIBUTIONS else ():
            if name in documented and name not in context.settings.models:
                found.warn(
                    f"the model {name!r} of the plugin {status.name} takes a name that {documented[name]} "
                    "documents, so it serves that name instead of the model that [presets] says."
                )


def _check_storage(context: AppContext, found: ErrorCollector) -> None:
    storage = context.settings.storage
    if storage.url == FILE_STORAGE:
        for setting in ("endpoint", "region", "access_key_id", "secret_access_key"):
            if getattr(storage, setting):
                found.warn('this is for a bucket, and storage.url is "file".', "storage", setting)
        return
    pair = ("access_key_id", "secret_access_key")
    for setting, other in (pair, pair[::-1]):
        if getattr(storage, setting) and not getattr(storage, other):
            found.add(f'this needs {other} = {{ env = "VARIABLE" }} too.', "storage", setting)
            return
    with found.catching():
        context.open_artifacts()


def _check_keys(context: AppContext, found: ErrorCollector) -> None:
    """Check what the keys say about each other, names and limits."""
    settings = context.settings
    names: dict[str, int] = {}
    for index, config in enumerate(settings.auth.keys):
        key = ("auth", "keys", index)
        if (first := names.setdefault(config.name, index)) != index:
            found.add(
                f"auth.keys[{first}] has the name {config.name!r} too; give a key several secrets as a list: "
                'key = [{ env = "OLD" }, { env = "NEW" }].',
                *(*key, "name"),
            )
        for number, name in enumerate(config.dialects):
            if name not in context.plugins.dialects:
                known = suggest(name, sorted(context.plugins.dialects))
                found.add(f"unknown dialect {name!r}{known}", *key, "dialects", number)
        for number, name in enumerate(config.models):
            if name not in context.registry.names:  # a plugin may offer it later
                known = suggest(name, context.registry.names)
                found.warn(f"unknown model {name!r}{known}", *key, "models", number)
        _check_order(config.max_running, config.max_active, (*key, "max_running"), "max_active", found)
        _check_order(
            config.request_burst,
            config.requests_per_minute
            if config.requests_per_minute is not None
            else settings.limits.requests_per_minute,
            (*key, "request_burst"),
            "requests_per_minute",
            found,
        )
        if config.max_queued and 0 < settings.queue.max_queued < config.max_queued:
            found.warn(
                f"{config.max_queued} is more than queue.max_queued, which is {settings.queue.max_queued}.",
                *(*key, "max_queued"),
            )


def _check_data_folder(settings: Settings, found: ErrorCollector) -> None:
    """Check that the data folder and the audit log can be written, or made."""
    places: list[tuple[Path, ConfigKey]] = []
    with found.catching():
        places.append((settings.server.data_path, ("server", "data_dir")))
    with found.catching():
        if (log := settings.audit.path) is None:
            pass
        elif not log.parent.is_dir():
            found.add(f"there is no folder {log.parent}.", "audit", "file")
        elif log.is_dir():
            found.add(f"{log} is a folder; name a file in it.", "audit", "file")
        else:
            places.append((log, ("audit", "file")))
    for path, key in places:
        existing = next(place for place in (path, *path.parents) if place.exists())
        if existing != path and not existing.is_dir():
            found.add(f"{path} can't be made, as {existing} is a file.", *key)
        elif not os.access(existing, os.W_OK):
            found.add(f"{path} can't be written: {existing} belongs to another user.", *key)
        elif key == ("server", "data_dir") and not existing.is_dir():
            found.add(f"{path} is a file; name a folder.", *key)


def _run(check: str, context: AppContext, found: ErrorCollector) -> None:
    """Run a plugin's own check."""
    try:
        load_object(check)(context)
    except PluginError as error:
        found.warn(f"the check {check} is broken: {error.reason}")
    except ConfigError as error:
        found.errors += error.errors
    except (Exception, SystemExit) as error:  # a plugin's fault, which keeps nothing from starting
        found.warn(f"the check {check} is broken: {type(error).__name__}: {error}")
