"""Discovery of plugins by the entry-point group ``framegate``."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar

import msgspec
import pluggy
from msgspec import Struct, field
from msgspec.structs import replace

from framegate.core import hookspecs
from framegate.core.backend import Backend
from framegate.core.command import CommandSpec
from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.dialect import CatalogueName, DialectSpec
from framegate.core.errors import ConfigError, PluginError
from framegate.core.models import ModelSpec

GROUP = "framegate"
OWN_DISTRIBUTIONS = frozenset(
    f"framegate-{name}"
    for name in ("comfyui", "diffusers", "ltx2", "preview", "server", "wan21", "wan22", "worker")
)
"""Framegate's own plugins, which keep their names when another one takes the same."""
hookimpl = pluggy.HookimplMarker(GROUP)
Spec = TypeVar("Spec")


class PluginStatus(Struct, frozen=True):
    """A discovered plugin, as ``framegate plugins`` shows it.

    Attributes:
        name: The name of its entry point.
        distribution: The distribution that it came with.
        version: That distribution's version.
        models: The ids of its models.
        dialects: The names of its dialects.
        error: Why it does not take part; empty if it does.
        health_findings: What is wrong with a part of what it offers.
        commands: The names of its commands.
        missing: What this host lacks to run its models; empty if nothing.
        disabled: Whether the config leaves it out.
    """

    name: str
    distribution: str
    version: str
    models: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    error: str = ""
    health_findings: tuple[str, ...] = field(default=(), name="problems")
    commands: tuple[str, ...] = ()
    missing: str = ""
    disabled: bool = False


class LoadedPlugin(Struct, frozen=True):
    """A plugin whose hooks can be called. Errors in them are for the caller to catch."""

    name: str
    title: str
    manager: pluggy.PluginManager
    config: Mapping[str, Any] = {}

    def models(self) -> list[ModelSpec]:
        """Return its models."""
        found = self.manager.hook.framegate_models(config=self.config)
        return _checked("models", [spec for specs in found for spec in specs], ModelSpec)

    def dialects(self) -> list[DialectSpec]:
        """Return its dialects."""
        found = self.manager.hook.framegate_dialects()
        return _checked("dialects", [spec for specs in found for spec in specs], DialectSpec)

    def commands(self) -> list[CommandSpec]:
        """Return its commands."""
        found = self.manager.hook.framegate_commands()
        return _checked("commands", [spec for specs in found for spec in specs], CommandSpec)

    def config_checks(self) -> list[str]:
        """Return the import strings of its checks of a config."""
        found = self.manager.hook.framegate_config_checks()
        return _texts("config_checks", found)

    def health_findings(self, *, check_network: bool) -> list[str]:
        """Return what currently keeps its models or dialects from working."""
        found = self.manager.hook.framegate_health(config=self.config, check_network=check_network)
        return _texts("health", found)


class Plugins(Struct, frozen=True):
    """Everything that the installed plugins offer, by name."""

    models: dict[str, ModelSpec]
    dialects: dict[str, DialectSpec]
    statuses: tuple[PluginStatus, ...]
    loaded: tuple[LoadedPlugin, ...] = ()

    @property
    def catalogues(self) -> dict[str, tuple[CatalogueName, ...]]:
        """The model names that the dialects' APIs document, by dialect, in the order to list them."""
        specs = sorted(self.dialects.values(), key=lambda spec: spec.catalogue_order)
        return {spec.name: spec.catalogue for spec in specs if spec.catalogue}

    @property
    def third_party_dialects(self) -> dict[str, str]:
        """The dialects of other people's plugins, with the plugin of each."""
        return {
            dialect: status.name
            for status in self.statuses
            for dialect in status.dialects
            if status.distribution not in OWN_DISTRIBUTIONS
        }

    @property
    def problems(self) -> tuple[str, ...]:
        """Which plugins take no part that should, a sentence for anybody each: errors may name files."""
        return tuple(
            f"The plugin {status.name} takes no part; `framegate plugins` says why."
            for status in self.statuses
            if status.error
        )

    def models_now(self) -> dict[str, ModelSpec]:
        """Ask the plugins again for their models; a plugin whose new ones clash has none until they don't.

        Raises:
            Exception: Whatever a plugin's hook raises.
        """
        names = _Names()
        for plugin in self.loaded:
            offer = _Offer(plugin, plugin.models())
            try:
                names.claim(offer)
            except PluginError as error:
                _log_clash(plugin.title, error.reason)
        return names.models

    def config_checks(self) -> list[str]:
        """Return the import strings of all checks of a config."""
        checks: list[str] = []
        for plugin in self.loaded:
            try:
                checks += plugin.config_checks()
            except (Exception, SystemExit):
                _log_broken(plugin.title)
        return checks

    def health_findings(self, *, check_network: bool) -> list[str]:
        """Return what currently keeps models or dialects from working, one sentence per finding."""
        findings: list[str] = []
        for plugin in self.loaded:
            try:
                findings += plugin.health_findings(check_network=check_network)
            except (Exception, SystemExit) as error:
                _log_broken(plugin.title)
                findings.append(f"{plugin.name}: {type(error).__name__}: {error}")
        return findings


def discover(
    points: Iterable[EntryPoint] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    disabled: Sequence[str] = (),
    found: ErrorCollector | None = None,
) -> Plugins:
    """Load every installed plugin that isn't ``disabled``, and give it its table of ``configs``.

    A broken plugin is logged with its traceback and listed with its error, and so is one that offers a name
    that another one has; the others load. Framegate's own plugins keep their names, otherwise the first by
    name does. What is wrong in the config is added to ``found``.

    Raises:
        ConfigError: A plugin's config is wrong, or there is one for a plugin that is not installed, and there
            is no ``found`` to add that to.
    """
    configs, collected = configs or {}, found or ErrorCollector()
    names = _Names()
    statuses: list[PluginStatus] = []
    loaded: list[LoadedPlugin] = []
    for point in _in_order(entry_points(group=GROUP) if points is None else points):
        status = PluginStatus(point.name, _distribution(point), point.dist.version if point.dist else "")
        if point.name in disabled:
            statuses.append(replace(status, disabled=True))
            continue
        try:
            plugin = _load(point, f"{point.name} ({status.distribution})", configs.get(point.name, {}))
            offer = _Offer(plugin, plugin.models(), plugin.dialects(), plugin.commands())
            findings = plugin.health_findings(check_network=False)
            names.claim(offer)
        except PluginError as error:
            _log_clash(point.name, error.reason)
            statuses.append(replace(status, error=error.reason))
        except ConfigError as error:
            collected.errors += error.errors
            statuses.append(replace(status, error=error.message))
        except (Exception, SystemExit) as error:
            # SystemExit: some modules call sys.exit at import in an unsupported environment.
            _log_broken(point.name, distribution=status.distribution)
            statuses.append(replace(status, error=f"{type(error).__name__}: {error}"))
        else:
            loaded.append(plugin)
            statuses.append(
                replace(
                    status,
                    models=tuple(model.id for model in offer.models),
                    dialects=tuple(dialect.name for dialect in offer.dialects),
                    health_findings=tuple(findings),
                    commands=tuple(command.name for command in offer.commands),
                    missing="; ".join(
                        dict.fromkeys(text for spec in offer.models if (text := missing_for(spec)))
                    ),
                )
            )
    statuses.sort(key=lambda status: (status.name, status.distribution))
    installed = [status.name for status in statuses]
    for index, name in enumerate(disabled):
        if name not in installed:
            collected.add(f"unknown plugin {name!r}{suggest(name, installed)}", "plugins", "disabled", index)
    for name in sorted(configs.keys() - set(installed)):
        collected.add(f"unknown plugin {name!r}{suggest(name, installed)}", "plugins", name)
    if found is None:
        collected.raise_errors()
    return Plugins(names.models, names.dialects, tuple(statuses), tuple(loaded))


def _in_order(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    """Return the plugins in the order in which they may claim names."""

    def order(point: EntryPoint) -> tuple[bool, str, str]:
        distribution = _distribution(point)
        return distribution not in OWN_DISTRIBUTIONS, point.name, distribution

    return sorted(points, key=order)


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "no distribution"


def missing_for(spec: ModelSpec) -> str:
    """Return which modules a worker here lacks for a model, and what installs them; empty if none.

    Nothing is imported.
    """
    missing = sorted(module for module in spec.requires if find_spec(module) is None)
    if not missing:
        return ""
    hint = f"; install with: {spec.install}" if spec.install else ""
    return f"workers here lack {', '.join(missing)}{hint}"


def create_backend(spec: ModelSpec) -> Backend:
    """Return the backend of a model, not loaded.

    Raises:
        PluginError: Its class can't be imported.
    """
    backend: Backend = load_object(spec.backend)(spec.source, spec.options)
    backend.planned_size, backend.largest_size = spec.planned_size, spec.largest_size
    return backend


def missing_files(spec: ModelSpec) -> list[str]:
    """Return what this host lacks of a model's files, one sentence each, as its backend says.

    Nothing is loaded. A backend that can't be used at all has nothing to say about files.
    """
    try:
        return list(create_backend(spec).check_files())
    except ConfigError:
        return []
    except (Exception, SystemExit) as error:
        return [f"its files can't be checked: {type(error).__name__}: {error}"]


def discover_commands() -> dict[str, tuple[CommandSpec, str]]:
    """Return the commands that plugins add, by name, each with its plugin's name.

    Broken plugins are left out: `discover` reports them.
    """
    commands: dict[str, tuple[CommandSpec, str]] = {}
    for point in _in_order(entry_points(group=GROUP)):
        try:
            found = _load(point, point.name, {}).commands()
        except (Exception, SystemExit):
            found = []
        for command in found:
            commands.setdefault(command.name, (command, point.name))
    return commands


def _log_broken(plugin: str, **more: str) -> None:
    import structlog  # half of the time that `framegate --help` may take, so only where something is broken

    structlog.get_logger(__name__).exception("plugin_broken", plugin=plugin, **more)


@cache  # a plugin is asked for its models again and again
def _log_clash(plugin: str, reason: str) -> None:
    import structlog

    structlog.get_logger(__name__).error("plugin_disabled", plugin=plugin, reason=reason)


def _load(point: EntryPoint, title: str, config: Mapping[str, Any]) -> LoadedPlugin:
    # A manager for each plugin, so that a hook that raises takes only its own plugin out.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    return LoadedPlugin(point.name, title, manager, config)


def _texts(kind: str, found: Iterable[Any]) -> list[str]:
    texts: list[str] = []
    for entries in found:
        if isinstance(entries, str) or not all(isinstance(entry, str) for entry in entries):
            raise TypeError(f"framegate_{kind} returned {entries!r}, which is not a list of texts")
        texts += entries
    return texts


def _checked(kind: str, offered: list[Any], expected: type[Spec]) -> list[Spec]:
    if invalid := [spec for spec in offered if not isinstance(spec, expected)]:
        raise TypeError(f"framegate_{kind} returned {invalid[0]!r}, which is not a {expected.__name__}")
    for spec in offered:
        try:  # which type checkers do, if the plugin's author has one
            msgspec.convert({name: getattr(spec, name) for name in spec.__struct_fields__}, expected)
        except msgspec.ValidationError as error:
            raise TypeError(
                f"framegate_{kind} returned a {expected.__name__} that is wrong: {error}"
            ) from None
    names = [spec.id if isinstance(spec, ModelSpec) else spec.name for spec in offered]
    for name in names:
        if not name or not name.isprintable():
            raise ValueError(f"{name!r} is not a name for one of its {kind}")
        if names.count(name) > 1:
            raise ValueError(f"it offers the {kind.removesuffix('s')} {name} twice")
    return offered


class _Offer(NamedTuple):
    """What a plugin offers."""

    plugin: LoadedPlugin
    models: Sequence[ModelSpec]
    dialects: Sequence[DialectSpec] = ()
    commands: Sequence[CommandSpec] = ()


class _Names:
    """The names that plugins have claimed so far."""

    def __init__(self) -> None:
        self.models: dict[str, ModelSpec] = {}
        self.dialects: dict[str, DialectSpec] = {}
        self._owners: dict[tuple[str, str], str] = {}

    def claim(self, offer: _Offer) -> None:
        """Give a plugin the names of what it offers.

        Raises:
            PluginError: Another plugin has one of them; this one gets none.
        """
        names = [
            *(("model", model.id) for model in offer.models),
            *(("dialect", dialect.name) for dialect in offer.dialects),
            *(("command", command.name) for command in offer.commands),
        ]
        for kind, name in names:
            if owner := self._owners.get((kind, name)):
                raise PluginError(
                    f"The plugins {owner} and {offer.plugin.title} both offer a {kind} named {name}, so the "
                    "latter is disabled; uninstall one of them, or name one in [plugins] disabled."
                )
        self._owners.update(dict.fromkeys(names, offer.plugin.title))
        self.models.update({model.id: model for model in offer.models})
        self.dialects.update({dialect.name: dialect for dialect in offer.dialects})


def load_object(import_string: str) -> Any:
    """Import the object ``module:name``.

    Raises:
        PluginError: The module can't be imported, or has no such name; the message names a missing package.
    """
    module_name, _, name = import_string.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise PluginError(
            f"{import_string} needs the module {error.name}, which is not installed."
        ) from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{import_string} can't be imported: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise PluginError(f"{import_string}: the module {module_name} has no {name!r}.") from None
