"""Discovery of plugins by the entry-point group ``framegate``."""

import importlib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, TypeVar

import pluggy
from msgspec import Struct, field

from framegate.core import hookspecs
from framegate.core.command import CommandSpec
from framegate.core.dialect import CatalogueName, DialectSpec
from framegate.core.errors import ConfigError, PluginError
from framegate.core.models import ModelSpec

GROUP = "framegate"
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
        return [check for checks in found for check in checks]

    def health_findings(self, *, check_network: bool) -> list[str]:
        """Return what currently keeps its models or dialects from working."""
        found = self.manager.hook.framegate_health(config=self.config, check_network=check_network)
        return [finding for findings in found for finding in findings]


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

    def models_now(self) -> dict[str, ModelSpec]:
        """Ask the plugins again for their models.

        Raises:
            PluginError: Two of them offer a model of the same name.
            Exception: Whatever a plugin's hook raises.
        """
        models: dict[str, tuple[ModelSpec, str]] = {}
        for plugin in self.loaded:
            for model in plugin.models():
                _claim("model", models, model.id, model, plugin.title)
        return {name: spec for name, (spec, _) in models.items()}

    def config_checks(self) -> list[str]:
        """Return the import strings of all checks of a config."""
        return [check for plugin in self.loaded for check in plugin.config_checks()]

    def health_findings(self, *, check_network: bool) -> list[str]:
        """Return what currently keeps models or dialects from working, one sentence per finding."""
        findings: list[str] = []
        for plugin in self.loaded:
            try:
                findings += plugin.health_findings(check_network=check_network)
            except Exception as error:
                _log_broken(plugin.title)
                findings.append(f"{plugin.name}: {type(error).__name__}: {error}")
        return findings


def discover(
    points: Iterable[EntryPoint] | None = None, configs: Mapping[str, Mapping[str, Any]] | None = None
) -> Plugins:
    """Load every installed plugin and give it its table of ``configs``.

    A broken plugin is logged with its traceback and listed with its error; the others load.

    Raises:
        PluginError: Two plugins offer a model or a dialect of the same name.
        ConfigError: A plugin's config is wrong, or there is one for a plugin that is not installed.
    """
    configs = configs or {}
    models: dict[str, tuple[ModelSpec, str]] = {}
    dialects: dict[str, tuple[DialectSpec, str]] = {}
    statuses: list[PluginStatus] = []
    loaded: list[LoadedPlugin] = []
    found = entry_points(group=GROUP) if points is None else points
    for point in sorted(found, key=lambda point: point.name):
        distribution = point.dist.name if point.dist else "(no distribution)"
        version = point.dist.version if point.dist else ""
        try:
            plugin = _load(point, f"{point.name} ({distribution})", configs.get(point.name, {}))
            own_models, own_dialects, commands = plugin.models(), plugin.dialects(), plugin.commands()
            findings = plugin.health_findings(check_network=False)
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:
            # SystemExit: some modules call sys.exit at import in an unsupported environment.
            _log_broken(point.name, distribution=distribution)
            reason = f"{type(error).__name__}: {error}"
            statuses.append(PluginStatus(point.name, distribution, version, error=reason))
            continue
        loaded.append(plugin)
        for model in own_models:
            _claim("model", models, model.id, model, plugin.title)
        for dialect in own_dialects:
            _claim("dialect", dialects, dialect.name, dialect, plugin.title)
        statuses.append(
            PluginStatus(
                point.name,
                distribution,
                version,
                models=tuple(model.id for model in own_models),
                dialects=tuple(dialect.name for dialect in own_dialects),
                health_findings=tuple(findings),
                commands=tuple(command.name for command in commands),
                missing="; ".join(dict.fromkeys(text for spec in own_models if (text := missing_for(spec)))),
            )
        )
    if unknown := configs.keys() - {status.name for status in statuses}:
        available = ", ".join(status.name for status in statuses) or "none"
        raise ConfigError(f"plugins.{min(unknown)}: unknown plugin {min(unknown)!r}; available: {available}.")
    return Plugins(
        {name: spec for name, (spec, _) in models.items()},
        {name: spec for name, (spec, _) in dialects.items()},
        tuple(statuses),
        tuple(loaded),
    )


def missing_for(spec: ModelSpec) -> str:
    """Return which modules a worker here lacks for a model, and what installs them; empty if none.

    Nothing is imported.
    """
    missing = sorted(module for module in spec.requires if find_spec(module) is None)
    if not missing:
        return ""
    hint = f"; install with: {spec.install}" if spec.install else ""
    return f"workers here lack {', '.join(missing)}{hint}"


def discover_commands() -> dict[str, tuple[CommandSpec, str]]:
    """Return the commands that plugins add, by name, each with its plugin's name.

    Broken plugins are left out: `discover` reports them.
    """
    commands: dict[str, tuple[CommandSpec, str]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found = _load(point, point.name, {}).commands()
        except (Exception, SystemExit):
            found = []
        commands.update({command.name: (command, point.name) for command in found})
    return commands


def _log_broken(plugin: str, **more: str) -> None:
    import structlog  # half of the time that `framegate --help` may take, so only where something is broken

    structlog.get_logger(__name__).exception("plugin_broken", plugin=plugin, **more)


def _load(point: EntryPoint, title: str, config: Mapping[str, Any]) -> LoadedPlugin:
    # A manager for each plugin, so that a hook that raises takes only its own plugin out.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    return LoadedPlugin(point.name, title, manager, config)


def _checked(kind: str, offered: list[Any], expected: type[Spec]) -> list[Spec]:
    if invalid := [spec for spec in offered if not isinstance(spec, expected)]:
        raise TypeError(f"framegate_{kind} returned {invalid[0]!r}, which is not a {expected.__name__}")
    names = [spec.id if isinstance(spec, ModelSpec) else spec.name for spec in offered]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"it offers the {kind.removesuffix('s')} {name} twice")
    return offered


def _claim(kind: str, taken: dict[str, tuple[Spec, str]], name: str, spec: Spec, plugin: str) -> None:
    if name in taken:
        raise PluginError(
            f"The plugins {taken[name][1]} and {plugin} both offer a {kind} named {name}; "
            "uninstall one of them."
        )
    taken[name] = (spec, plugin)


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
    except Exception as error:
        raise PluginError(f"{import_string} can't be imported: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise PluginError(f"{import_string}: the module {module_name} has no {name!r}.") from None
