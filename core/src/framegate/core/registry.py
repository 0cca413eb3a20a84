"""Model names: the served models, the names of the dialects' catalogues, and the aliases onto them."""

import difflib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import structlog
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.dialect import CatalogueName
from framegate.core.errors import ConfigError, ModelNotFound
from framegate.core.models import Defaults, ModelSpec
from framegate.core.options import Duration
from framegate.core.types import MediaKind

REFRESH_SECONDS = 1.0
"""How long the models that the plugins offer are cached."""
FALLBACK_MODEL = "preview"
"""The model that serves the names of a catalogue unless the config names another."""
log = structlog.get_logger(__name__)

_WHERE_NAMES_ARE = "`framegate models` lists the names."
_MaxRunning: TypeAlias = Annotated[int, Meta(ge=0)]
_Catalogues: TypeAlias = Mapping[str, Sequence[CatalogueName]]


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[models.NAME]``: serve a plugin's model as NAME.

    Attributes:
        backend: The plugin's own id of the model; NAME if left out.
        source: A folder or hub id, instead of the model's own.
        preset: One of the model's presets.
        options: Added to the preset's and the model's own.
        defaults: Over the preset's and the model's own.
        max_running: How many of its jobs run at once, whichever name they use for it; 0 for any number.
        timeout: How many seconds one of its jobs may run; 0 for a default from how long they usually run.
        unload_after: After how many seconds without a job a worker unloads it, 0 for never; the worker's own
            if left out.
    """

    backend: str | None = None
    source: str | None = None
    preset: str = ""
    options: dict[str, Any] = {}
    defaults: Defaults = field(default_factory=Defaults)
    max_running: _MaxRunning = 0
    timeout: Duration = Duration(0)
    unload_after: Duration | None = None


class AliasConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[aliases.NAME]``: NAME means ``model`` with ``defaults``.

    ``plan`` is what a key needs to use it. ``max_running`` is how many jobs of this name run at once, within
    what ``model`` allows; 0 for any number.
    """

    model: str
    defaults: Defaults = field(default_factory=Defaults)
    plan: str = ""
    max_running: _MaxRunning | None = None


class CatalogueConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``[presets] NAME = {video = …, image = …}``: the served models behind the names of a catalogue.

    NAME is the catalogue's dialect. The default is the preview model, if that is installed.
    """

    video: str | None = None
    image: str | None = None


_UNCONFIGURED = ModelConfig()


class ServedModel(Struct, frozen=True):
    """A name that requests may use.

    Attributes:
        name: The name.
        spec: What the model can do under it; ``spec.id`` is the model that really runs.
        plan: The plan that a key needs to use it; empty for none.
        catalogue: The dialect whose catalogue has the name; empty for none.
        kind: What the name is for, where its catalogue says so.
        running_limits: The groups that its jobs count in while they run, each with the most that may run at
            once.
        timeout: How many seconds its jobs may run; 0 if the config doesn't say.
    """

    name: str
    spec: ModelSpec
    plan: str = ""
    catalogue: str = ""
    kind: MediaKind | None = None
    running_limits: Mapping[str, int] = {}
    timeout: float = 0.0

    def makes(self, kind: MediaKind) -> bool:
        """Return whether this is a name for images, or for videos."""
        return self.kind in (None, kind) and any(task.output == kind for task in self.spec.tasks)


def timeout_setting(model: str) -> str:
    """Return the name of the setting that limits how long jobs of a served model may run."""
    return f"models.{model}.timeout"


class Registry:
    """Every model name of this server.

    ``catalogues`` are those of the installed dialects, by the dialects' names. Without any, as on a host that
    only runs workers, the config about their names is ignored. ``offered_now`` is called at most every
    `REFRESH_SECONDS`; when the plugins offer other models than before, all names are built again.

    What is wrong in the config is added to ``found``, and the names that it concerns are left out.

    Raises:
        ConfigError: The config names a model, backend, preset or catalogue that does not exist, and there is
            no ``found`` to add that to.
    """

    def __init__(
        self,
        offered: Mapping[str, ModelSpec],
        *,
        models: Mapping[str, ModelConfig] | None = None,
        aliases: Mapping[str, AliasConfig] | None = None,
        presets: Mapping[str, CatalogueConfig] | None = None,
        catalogues: _Catalogues | None = None,
        offered_now: Callable[[], Mapping[str, ModelSpec]] | None = None,
        found: ErrorCollector | None = None,
    ) -> None:
        self._config = models or {}, aliases or {}, presets or {}, catalogues or {}
        self._offered_now = offered_now
        self._asked_at = time.monotonic()
        self._last_failure = ""
        self._offered = offered
        self._table = _NameTable(offered, *self._config)
        if found is None:
            self._table.found.raise_errors()
        else:
            found.errors += self._table.found.errors

    @property
    def specs(self) -> Mapping[str, ModelSpec]:
        """The served models by their ids."""
        return self._current().specs

    @property
    def names(self) -> Mapping[str, ServedModel]:
        """What requests may name, by name."""
        return self._current().names

    def resolve(self, name: str) -> ServedModel:
        """Return what ``name`` stands for.

        Raises:
            ModelNotFound: There is no such name; the message suggests the nearest ones.
        """
        names = self.names
        try:
            return names[name]
        except KeyError:
            matches = difflib.get_close_matches(name[:100], names, n=3)
            hint = f" Did you mean {' or '.join(matches)}?" if matches else ""
            raise ModelNotFound(f"There is no model {name[:100]!r}.{hint}", param="model") from None

    def _current(self) -> "_NameTable":
        now = time.monotonic()
        if self._offered_now is not None and now - self._asked_at >= REFRESH_SECONDS:
            self._asked_at = now
            try:
                offered = self._offered_now()
                if offered != self._offered:
                    table = _NameTable(offered, *self._config)
                    table.found.raise_errors()
                    self._table, self._offered = table, offered
                    log.info("models_changed", models=sorted(self._table.specs))
                self._last_failure = ""
            except Exception as error:  # keep serving the previous models
                reason = f"{type(error).__name__}: {error}"
                if reason != self._last_failure:
                    log.warning("models_not_reloaded", reason=reason)
                self._last_failure = reason
        return self._table


class _NameTable:
    """The names that follow from what plugins offer and from the config; what is wrong in it is ``found``."""

    def __init__(
        self,
        offered: Mapping[str, ModelSpec],
        models: Mapping[str, ModelConfig],
        aliases: Mapping[str, AliasConfig],
        presets: Mapping[str, CatalogueConfig],
        catalogues: _Catalogues,
    ) -> None:
        self.found = ErrorCollector()
        self._offered = offered
        self.specs = self._serve(offered, models)
        self.names = {
            name: ServedModel(
                name,
                spec,
                running_limits=_limited({}, f"model:{name}", config.max_running),
                timeout=float(config.timeout),
            )
            for name, spec in self.specs.items()
            for config in (models.get(name, _UNCONFIGURED),)
        }
        self._has_catalogues = bool(catalogues)
        # Names that the config has, but of which nothing can be made: who refers to them is not wrong too.
        self._broken = {str(error.key[1]) for error in self.found.errors}
        if catalogues:
            self._add_catalogues(catalogues, presets)
        self._add_aliases(aliases)

    def _serve(
        self, offered: Mapping[str, ModelSpec], configured: Mapping[str, ModelConfig]
    ) -> dict[str, ModelSpec]:
        served = {spec.id: spec for spec in offered.values() if spec.source or not spec.needs_source}
        for name, config in configured.items():
            backend = config.backend or name
            if backend not in offered:
                self.found.add(
                    f"no installed plugin has a backend {backend!r}{suggest(backend, sorted(offered))} "
                    "Install the plugin that provides it, or correct `backend`.",
                    *("models", name),
                    *(("backend",) if config.backend else ()),
                )
                continue
            spec = offered[backend]
            if config.preset:
                try:
                    spec = spec.with_preset(config.preset)
                except ConfigError as error:
                    self.found.add(error.reason, "models", name, "preset")
            served[name] = replace(
                spec,
                id=name,
                source=spec.source if config.source is None else config.source,
                options={**spec.options, **config.options},
                defaults=config.defaults.over(spec.defaults),
                unload_after=None if config.unload_after is None else float(config.unload_after),
            )
            if spec.needs_source and not served[name].source:
                del served[name]
                self.found.add(
                    f"give the backend {backend!r} a source, a folder or a hub id.", "models", name, "source"
                )
        return served

    def _add_catalogues(self, catalogues: _Catalogues, configured: Mapping[str, CatalogueConfig]) -> None:
        for name in configured.keys() - catalogues.keys():
            self.found.add(f"there is no catalogue {name!r}{suggest(name, catalogues)}", "presets", name)
        for name, config in configured.items():
            for kind, target in (("video", config.video), ("image", config.image)):
                if target is not None and target not in self.specs:
                    self._add_unknown(target, self.specs, "presets", name, kind)
        for catalogue, entries in catalogues.items():
            config = configured.get(catalogue, CatalogueConfig())
            for entry in entries:
                if entry.name not in self.names:  # else a model has this very name
                    self._add_catalogue_name(catalogue, entry, config)

    def _add_catalogue_name(self, catalogue: str, entry: CatalogueName, config: CatalogueConfig) -> None:
        configured = config.video if entry.kind == MediaKind.VIDEO else config.image
        target = configured or FALLBACK_MODEL
        if target not in self.specs:
            if configured is not None:
                self._broken.add(entry.name)
            return  # a server without the preview plugin has only what it was configured for
        spec = self.specs[target].narrow(
            entry.sizes, entry.frames, entry.defaults, entry.max_duration, entry.tasks
        )
        served = self.names[target]
        limits = _limited(served.running_limits, f"name:{entry.name}", entry.max_running)
        self.names[entry.name] = ServedModel(
            entry.name, spec, entry.plan, catalogue, entry.kind, limits, served.timeout
        )

    def _add_unknown(self, target: str, known: Iterable[str], *key: str) -> None:
        if target in self._broken:
            return
        if target in self._offered:
            self.found.add(
                f"the model {target!r} is served only once the config says where its weights are, as in "
                f'[models.{target}] source = "/models/{target}" (a folder or a hub id).',
                *key,
            )
            return
        self.found.add(f"unknown model {target!r}{suggest(target, known)} {_WHERE_NAMES_ARE}", *key)

    def _add_aliases(self, configured: Mapping[str, AliasConfig]) -> None:
        waiting = dict(configured)
        while waiting:
            # An alias of an alias may stand before it in the file, and one may redefine a catalogue's name.
            ready = {
                name: alias
                for name, alias in waiting.items()
                if alias.model == name or alias.model not in waiting
            }
            if not ready:
                self.found.add(
                    f"the aliases {' and '.join(waiting)} refer to each other.",
                    "aliases",
                    next(iter(waiting)),
                )
                return
            for name, alias in ready.items():
                self._add_alias(name, alias)
                del waiting[name]

    def _add_alias(self, name: str, alias: AliasConfig) -> None:
        if name in self.specs:
            self.found.add("a served model already has this name.", "aliases", name)
            return
        target = self.names.get(alias.model)
        if target is None:
            if self._has_catalogues:  # else it may be a name of a dialect that other hosts have
                self._add_unknown(alias.model, self.names, "aliases", name, "model")
                self._broken.add(name)
            return
        spec = target.spec.narrow(None, None, alias.defaults)
        limits = _limited(target.running_limits, f"name:{name}", alias.max_running)
        self.names[name] = ServedModel(
            name,
            spec,
            alias.plan or target.plan,
            target.catalogue,
            target.kind,
            limits,
            target.timeout,
        )


def _limited(limits: Mapping[str, int], group: str, maximum: int | None) -> Mapping[str, int]:
    """Return ``limits`` with that of ``group`` set to ``maximum``, where given; 0 removes it."""
    if maximum is None:
        return limits
    others = {name: limit for name, limit in limits.items() if name != group}
    return {**others, group: maximum} if maximum else others
