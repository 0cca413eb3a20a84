"""Discovery of plugins through the entry-point group ``framegate``."""

import importlib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, TypeVar

import pluggy
import structlog
from msgspec import Struct

from framegate.core import hookspecs
from framegate.core.dialect import DialectSpec
from framegate.core.errors import PluginError
from framegate.core.models import ModelSpec

GROUP = "framegate"
hookimpl = pluggy.HookimplMarker(GROUP)
Spec = TypeVar("Spec")
log = structlog.get_logger(__name__)


class PluginStatus(Struct, frozen=True):
    """One discovered plugin; ``error`` says why it does not take part, or is empty. ``missing`` says what
    this host needs before a worker here can run its models, or is empty."""

    name: str
    distribution: str
    version: str
    models: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    error: str = ""
    missing: str = ""


class Plugins(Struct, frozen=True):
    """Everything that the installed plugins offer, by name."""

    models: dict[str, ModelSpec]
    dialects: dict[str, DialectSpec]
    statuses: tuple[PluginStatus, ...]


def discover(points: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load every installed plugin. A broken one is logged with its traceback and listed with its error;
    the others load.

    Raises:
        PluginError: two plugins offer a model or a dialect of the same name.
    """
    models: dict[str, tuple[ModelSpec, str]] = {}
    dialects: dict[str, tuple[DialectSpec, str]] = {}
    statuses: list[PluginStatus] = []
    found = entry_points(group=GROUP) if points is None else points
    for point in sorted(found, key=lambda point: point.name):
        distribution = point.dist.name if point.dist else "(no distribution)"
        version = point.dist.version if point.dist else ""
        try:
            own_models, own_dialects = _offers(point)
        except (Exception, SystemExit) as error:  # some modules exit when they don't like their surroundings
            log.exception("plugin_broken", plugin=point.name, distribution=distribution)
            reason = f"{type(error).__name__}: {error}"
            statuses.append(PluginStatus(point.name, distribution, version, error=reason))
            continue
        for model in own_models:
            _claim("model", models, model.id, model, f"{point.name} ({distribution})")
        for dialect in own_dialects:
            _claim("dialect", dialects, dialect.name, dialect, f"{point.name} ({distribution})")
        statuses.append(
            PluginStatus(
                point.name,
                distribution,
                version,
                models=tuple(model.id for model in own_models),
                dialects=tuple(dialect.name for dialect in own_dialects),
                missing="; ".join(dict.fromkeys(lack for spec in own_models if (lack := missing_for(spec)))),
            )
        )
    return Plugins(
        {name: spec for name, (spec, _) in models.items()},
        {name: spec for name, (spec, _) in dialects.items()},
        tuple(statuses),
    )


def missing_for(spec: ModelSpec) -> str:
    """Which modules a worker here lacks for a model, and what brings them; empty if none. Nothing is
    imported."""
    lacking = sorted(module for module in spec.requires if find_spec(module) is None)
    if not lacking:
        return ""
    brings = f"; install with: {spec.install}" if spec.install else ""
    return f"workers here lack {', '.join(lacking)}{brings}"


def _offers(point: EntryPoint) -> tuple[list[ModelSpec], list[DialectSpec]]:
    # A manager for each plugin, so that a hook that raises takes only its own plugin out.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    models = [spec for specs in manager.hook.framegate_models() for spec in specs]
    dialects = [spec for specs in manager.hook.framegate_dialects() for spec in specs]
    for kind, offered, expected in (("models", models, ModelSpec), ("dialects", dialects, DialectSpec)):
        if strangers := [spec for spec in offered if not isinstance(spec, expected)]:
            raise TypeError(f"framegate_{kind} gave {strangers[0]!r}, which is no {expected.__name__}")
    names = [*(("model", model.id) for model in models), *(("dialect", dialect.name) for dialect in dialects)]
    for kind, name in names:
        if names.count((kind, name)) > 1:
            raise ValueError(f"it offers the {kind} {name} twice")
    return models, dialects


def _claim(kind: str, taken: dict[str, tuple[Spec, str]], name: str, spec: Spec, plugin: str) -> None:
    if name in taken:
        raise PluginError(
            f"The plugins {taken[name][1]} and {plugin} both offer a {kind} named {name}; "
            "uninstall one of them."
        )
    taken[name] = (spec, plugin)


def load_object(import_string: str) -> Any:
    """The object behind ``module:name``.

    Raises:
        PluginError: the module can't be imported, or has no such name; says which package is missing if
            one is.
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
