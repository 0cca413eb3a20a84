"""Puts the parts together as the settings say."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import structlog
from msgspec import Struct

from framegate.cli.webhook_policy import make_policy
from framegate.core.errors import ConfigError, Unavailable
from framegate.core.models import ModelSpec
from framegate.core.options import EnvSecret
from framegate.core.plugins import Plugins, discover
from framegate.core.ports import ArtifactStore
from framegate.core.registry import Registry
from framegate.core.settings import EMBEDDED_QUEUE, FILE_STORAGE, Settings
from framegate.core.styles import Style, with_prompts
from framegate.core.webhooks import WebhookPolicy
from framegate.core.wiring import CoreServices, create_services
from framegate.media.ingest import MediaIngest
from framegate.media.network.fetch import UrlFetcher
from framegate.storage import embedded
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.retention import Retention

log = structlog.get_logger(__name__)


class AppContext(Struct, frozen=True):
    """What every process needs to know, and none needs a connection for."""

    settings: Settings
    plugins: Plugins
    registry: Registry
    styles: Mapping[str, Style]
    webhooks: WebhookPolicy

    @property
    def queue_url(self) -> str:
        url = self.settings.queue.url
        return embedded.socket_url(self.settings.server.data_path) if url == EMBEDDED_QUEUE else url

    @property
    def embedded(self) -> bool:
        return self.settings.queue.url == EMBEDDED_QUEUE

    def open_artifacts(self) -> ArtifactStore:
        """Raises:
        ConfigError: the storage is a bucket, and its settings can't be right.
        """
        storage, folder = self.settings.storage, self.settings.server.data_path
        if storage.url == FILE_STORAGE:
            return FolderStore(folder)
        try:
            from framegate.storage.artifacts.bucket import BucketAccess, BucketStore
        except ModuleNotFoundError:
            raise ConfigError(
                "storage.url: a bucket needs the package obstore; install framegate[s3]."
            ) from None
        access = BucketAccess(
            endpoint=storage.endpoint,
            region=storage.region,
            access_key_id=_read(storage.access_key_id, "storage.access_key_id"),
            secret_access_key=_read(storage.secret_access_key, "storage.secret_access_key"),
        )
        return BucketStore(
            storage.url,
            access,
            folder,
            cache_bytes=storage.cache_bytes,
            redirect=storage.downloads == "redirect",
        )

    def require_queue(self) -> None:
        """Raises:
        Unavailable: the queue is the embedded one, and no server runs with this data folder.
        """
        folder = self.settings.server.data_path
        if self.embedded and not embedded.is_running(folder):
            raise Unavailable(
                f"No framegate server runs with the data folder {folder}. Start `framegate serve`, or set "
                "queue.url."
            )

    def models_for(self, names: Collection[str]) -> Callable[[], Mapping[str, ModelSpec]]:
        """What gives the served models that a worker is to run, as they are when it is called; all of them
        when none are named.

        Raises:
            ConfigError: there is no such model.
        """
        specs = self.registry.specs
        if unknown := set(names) - specs.keys():
            known = ", ".join(sorted(specs))
            raise ConfigError(f"--models: there is no served model {min(unknown)!r}; there are {known}.")
        if not names:
            return lambda: self.registry.specs
        return lambda: {name: spec for name, spec in self.registry.specs.items() if name in names}


def create_context(settings: Settings) -> AppContext:
    """Raises:
    ConfigError: the plugins clash, or the config names what does not exist.
    """
    plugins = discover(configs=settings.plugins)
    registry = Registry(
        plugins.models,
        models=settings.models,
        aliases=settings.aliases,
        presets=settings.presets,
        catalogues=plugins.catalogues,
        offered_now=plugins.models_now,
    )
    if not registry.specs:
        raise ConfigError("No model is served: install a backend plugin, such as framegate-preview.")
    styles = with_prompts(settings.styles)
    for served in registry.names.values():
        if (style := served.spec.defaults.style) and style not in styles:
            raise ConfigError(f"{served.name}: there is no style {style!r}; there are {', '.join(styles)}.")
    return AppContext(settings, plugins, registry, styles, make_policy(settings))


class Services(CoreServices, frozen=True):
    """The services, and what works behind them."""

    store: ValkeyJobStore
    retention: Retention


@asynccontextmanager
async def open_services(context: AppContext) -> AsyncGenerator[Services]:
    settings = context.settings
    store = ValkeyJobStore(connect_async(context.queue_url))
    characters = ValkeyCharacterStore(connect_async(context.queue_url))
    artifacts = context.open_artifacts()
    fetcher = UrlFetcher(
        settings.fetch.allow, max_bytes=settings.fetch.max_bytes, timeout=settings.fetch.timeout
    )
    core = create_services(
        registry=context.registry,
        store=store,
        artifacts=artifacts,
        media=MediaIngest(fetcher, artifacts, max_bytes=settings.fetch.max_bytes),
        characters=characters,
        max_queued=settings.queue.max_queued,
        styles=context.styles,
        webhooks=context.webhooks,
    )
    retention = Retention(
        store,
        characters,
        artifacts,
        files_for=settings.storage.retention,
        records_for=settings.storage.record_retention,
    )
    try:
        yield Services(core.jobs, core.characters, core.results, store, retention)
    finally:
        await characters.close()
        await store.close()


def _read(secret: EnvSecret | None, setting: str) -> str:
    return secret.reveal(setting) if secret else ""
