"""Model names: the served models, the names of the dialects' catalogues, and the aliases onto them."""

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import structlog
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from framegate.core.dialect import CatalogueName
from framegate.core.errors import ConfigError, ModelNotFound
from framegate.core.models import Defaults, ModelSpec
from framegate.core.types import MediaKind

REFRESH_SECONDS = 1.0
"""How long the models that the plugins offer are cached."""
FALLBACK_MODEL = "preview"
"""The model that serves the names of a catalogue unless the config names another."""
log = structlog.get_logger(__name__)

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
    """

    backend: str | None = None
    source: str | None = None
    preset: str = ""
    options: dict[str, Any] = {}
    defaults: Defaults = field(default_factory=Defaults)
    max_running: _MaxRunning = 0


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
    """

    name: str
    spec: ModelSpec
    plan: str = ""
    catalogue: str = ""
    kind: MediaKind | None = None
    running_limits: Mapping[str, int] = {}

    def makes(self, kind: MediaKind) -> bool:
        """Return whether this is a name for images, or for videos."""
        return self.kind in (None, kind) and any(task.output == kind for task in self.spec.tasks)


class Registry:
    """Every model name of this server.

    ``catalogues`` are those of the installed dialects, by the dialects' names. Without any, as on a host that
    only runs workers, the config about their names is ignored. ``offered_now`` is called at most every
    `REFRESH_SECONDS`; when the plugins offer other models than before, all names are built again.

    Raises:
        ConfigError: The config names a model, backend, preset or catalogue that does not exist.
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
    ) -> None:
        self._config = models or {}, aliases or {}, presets or {}, catalogues or {}
        self._offered_now = offered_now
        self._asked_at = time.monotonic()
        self._last_failure = ""
        self._offered = offered
        self._table = _NameTable(offered, *self._config)

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
                    self._table, self._offered = _NameTable(offered, *self._config), offered
                    log.info("models_changed", models=sorted(self._table.specs))
                self._last_failure = ""
            except Exception as error:  # keep serving the previous models
                reason = f"{type(error).__name__}: {error}"
                if reason != self._last_failure:
                    log.warning("models_not_reloaded", reason=reason)
                self._last_failure = reason
        return self._table


class _NameTable:
    """The names that follow from what plugins offer and from the config."""

    def __init__(
        self,
        offered: Mapping[str, ModelSpec],
        models: Mapping[str, ModelConfig],
        aliases: Mapping[str, AliasConfig],
        presets: Mapping[str, CatalogueConfig],
        catalogues: _Catalogues,
    ) -> None:
        self.specs = self._serve(offered, models)
        limits = {name: config.max_running for name, config in models.items()}
        self.names = {
            name: ServedModel(name, spec, running_limits=_limited({}, f"model:{name}", limits.get(name)))
            for name, spec in self.specs.items()
        }
        self._has_catalogues = bool(catalogues)
        if catalogues:
            self._add_catalogues(catalogues, presets)
        self._add_aliases(aliases)

    @staticmethod
    def _serve(
        offered: Mapping[str, ModelSpec], configured: Mapping[str, ModelConfig]
    ) -> dict[str, ModelSpec]:
        served = {spec.id: spec for spec in offered.values() if spec.source or not spec.needs_source}
        for name, config in configured.items():
            backend = config.backend or name
            if backend not in offered:
                raise ConfigError(
                    f"models.{name}: no installed plugin has a backend {backend!r}; available: "
                    f"{', '.join(sorted(offered)) or 'none'}; install the plugin that provides it, or "
                    "correct `backend`."
                )
            spec = offered[backend]
            if config.preset:
                try:
                    spec = spec.with_preset(config.preset)
                except ConfigError as error:
                    raise ConfigError(f"models.{name}: {error.message}.") from None
            served[name] = replace(
                spec,
                id=name,
                source=spec.source if config.source is None else config.source,
                options={**spec.options, **config.options},
                defaults=config.defaults.over(spec.defaults),
            )
            if spec.needs_source and not served[name].source:
                raise ConfigError(
                    f"models.{name}: give the backend {backend!r} a source, a folder or a hub id."
                )
        return served

    def _add_catalogues(self, catalogues: _Catalogues, configured: Mapping[str, CatalogueConfig]) -> None:
        if unknown := configured.keys() - catalogues.keys():
            raise ConfigError(
                f"presets: there is no catalogue {min(unknown)!r}; available: {', '.join(catalogues)}."
            )
        for catalogue, entries in catalogues.items():
            config = configured.get(catalogue, CatalogueConfig())
            for entry in entries:
                if entry.name not in self.names:  # else a model has this very name
                    self._add_catalogue_name(catalogue, entry, config)

    def _add_catalogue_name(self, catalogue: str, entry: CatalogueName, config: CatalogueConfig) -> None:
        configured = config.video if entry.kind == MediaKind.VIDEO else config.image
        target = configured or FALLBACK_MODEL
        if target not in self.specs:
            if configured is None:
                return  # a server without the preview plugin has only what it was configured for
            raise ConfigError(
                f"presets.{catalogue}: unknown model {target!r}; run `framegate models` for the names."
            )
        spec = self.specs[target].narrow(
            entry.sizes, entry.frames, entry.defaults, entry.max_duration, entry.tasks
        )
        limits = _limited(self.names[target].running_limits, f"name:{entry.name}", entry.max_running)
        self.names[entry.name] = ServedModel(entry.name, spec, entry.plan, catalogue, entry.kind, limits)

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
                raise ConfigError(f"aliases: the aliases {' and '.join(waiting)} refer to each other.")
            for name, alias in ready.items():
                self._add_alias(name, alias)
                del waiting[name]

    def _add_alias(self, name: str, alias: AliasConfig) -> None:
        if name in self.specs:
            raise ConfigError(f"aliases.{name}: a served model already has this name.")
        target = self.names.get(alias.model)
        if target is None:
            if self._has_catalogues:
                raise ConfigError(
                    f"aliases.{name}: unknown model {alias.model!r}; run `framegate models` for the names."
                )
            return  # it may be a name of a dialect that other hosts have
        spec = target.spec.narrow(None, None, alias.defaults)
        limits = _limited(target.running_limits, f"name:{name}", alias.max_running)
        self.names[name] = ServedModel(
            name, spec, alias.plan or target.plan, target.catalogue, target.kind, limits
        )


def _limited(limits: Mapping[str, int], group: str, maximum: int | None) -> Mapping[str, int]:
    """Return ``limits`` with that of ``group`` set to ``maximum``, where given; 0 removes it."""
    if maximum is None:
        return limits
    others = {name: limit for name, limit in limits.items() if name != group}
    return {**others, group: maximum} if maximum else others
