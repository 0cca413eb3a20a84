"""Assembly of what the processes work with, as the settings say.

Most commands only look at settings and plugins. What talks to the queue, the storage and the network is
imported in `open_services`, so that those commands, and the workers, start without it.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, field

from framegate.cli.config_origins import Origins
from framegate.core.availability import OwnWorkers
from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.errors import ConfigError, Unavailable
from framegate.core.models import ModelSpec
from framegate.core.options import EnvSecret
from framegate.core.plugins import Plugins, discover
from framegate.core.ports import ArtifactStore
from framegate.core.registry import Registry
from framegate.core.results import LINK_SECONDS
from framegate.core.settings import EMBEDDED_QUEUE, FILE_STORAGE, Settings
from framegate.core.styles import STYLES, Style, with_prompts
from framegate.core.webhooks import NoWebhooks, WebhookPolicy
from framegate.core.wiring import CoreServices, create_services
from framegate.storage import embedded

if TYPE_CHECKING:
    from framegate.media.decoding.pool import DecoderPool
    from framegate.storage.characters import ValkeyCharacterStore
    from framegate.storage.jobs.store import ValkeyJobStore
    from framegate.storage.keys import ValkeyKeyStore
    from framegate.storage.rates import ValkeyRateStore
    from framegate.storage.retention import Retention
    from framegate.storage.secrets import ValkeySecretStore

log = structlog.get_logger(__name__)


class AppContext(Struct, frozen=True):
    """What every process knows without a connection: settings, plugins, models, styles, webhooks.

    ``origins`` say what set the settings, for errors.
    """

    settings: Settings
    plugins: Plugins
    registry: Registry
    styles: Mapping[str, Style]
    webhooks: WebhookPolicy
    origins: Origins = field(default_factory=Origins)

    @property
    def queue_url(self) -> str:
        """The URL of the job queue; that of the embedded one is a socket of the data folder."""
        url = self.settings.queue.url
        return embedded.socket_url(self.settings.server.data_path) if url == EMBEDDED_QUEUE else url

    @property
    def embedded(self) -> bool:
        """Whether the server runs the queue itself."""
        return self.settings.queue.url == EMBEDDED_QUEUE

    @property
    def user_agent(self) -> str:
        """The User-Agent of requests to the URLs that clients name."""
        from framegate.media.network.client import default_user_agent

        return self.settings.fetch.user_agent or default_user_agent(self.settings.server.public_url)

    def open_artifacts(self) -> ArtifactStore:
        """Return the storage of inputs and results: a folder, or a bucket with a cache in the data folder.

        Raises:
            ConfigError: The storage is a bucket, and obstore isn't installed or the settings can't be right.
        """
        storage, folder = self.settings.storage, self.settings.server.data_path
        if storage.url == FILE_STORAGE:
            from framegate.storage.artifacts.folder import FolderStore

            return FolderStore(folder)
        try:
            from framegate.storage.artifacts.bucket import BucketAccess, BucketStore
        except ModuleNotFoundError:
            raise ConfigError(
                f"{storage.url} needs the package obstore, which is not installed. Install it with: "
                "pip install 'framegate-storage[s3]'",
                key=("storage", "url"),
            ) from None
        access = BucketAccess(
            endpoint=storage.endpoint,
            region=storage.region,
            access_key_id=_reveal(storage.access_key_id, "access_key_id"),
            secret_access_key=_reveal(storage.secret_access_key, "secret_access_key"),
        )
        return BucketStore(
            storage.url,
            access,
            folder,
            cache_bytes=storage.cache_bytes,
            redirect=storage.downloads == "redirect",
        )

    @property
    def storage_place(self) -> str:
        """Where inputs and results are, for messages."""
        url = self.settings.storage.url
        return str(self.settings.server.data_path / "files") if url == FILE_STORAGE else url

    def check_start(self, *, adopt_files: bool) -> None:
        """Check that the queue's server can be used, and that the storage is the one of its other hosts.

        ``adopt_files`` is what `Installation.claim_files` calls ``adopt``.

        Raises:
            ConfigError: The server or the storage can never be used as they are set up.
            Unavailable: One of them can't be reached; the check may be repeated.
        """
        from framegate.storage.connections import connect_once, outages_as_unavailable
        from framegate.storage.installation import Installation
        from framegate.storage.server_check import check_server

        prefix = self.settings.queue.prefix
        with outages_as_unavailable(), connect_once(self.queue_url) as client:
            server = check_server(client, prefix)
            for warning in server.warnings:
                log.warning("queue_server_warning", server=server.name, warning=warning)
            Installation(client, prefix).claim_files(
                self.open_artifacts(), place=self.storage_place, adopt=adopt_files
            )

    def require_queue(self) -> None:
        """Raise if the embedded queue is not running; a remote queue is not checked.

        Raises:
            Unavailable: The queue is the embedded one, and no server runs with this data folder.
        """
        folder = self.settings.server.data_path
        if self.embedded and not embedded.is_running(folder):
            raise Unavailable(
                f"No framegate server runs with the data folder {folder}. Start `framegate serve`, or set "
                "queue.url."
            )

    def models_for(self, names: Collection[str]) -> Callable[[], Mapping[str, ModelSpec]]:
        """Return a function that returns the specs of the named models (all, if none is named) by id.

        Its result changes when a plugin's models do.

        Raises:
            ConfigError: A name is not the id of a served model.
        """
        specs = self.registry.specs
        if unknown := set(names) - specs.keys():
            name = min(unknown)
            raise ConfigError(f"--models: unknown model {name!r}{suggest(name, sorted(specs))}")
        if not names:
            return lambda: self.registry.specs
        return lambda: {name: spec for name, spec in self.registry.specs.items() if name in names}


def create_context(
    settings: Settings, origins: Origins | None = None, *, found: ErrorCollector | None = None
) -> AppContext:
    """Discover the plugins and bring them together with the settings.

    What the settings have wrong is added to ``found`` and left out.

    Raises:
        ConfigError: The config names a plugin, model, style or URL that can't be used, and there is no
            ``found`` to add that to.
    """
    collected = found or ErrorCollector()
    plugins = discover(configs=settings.plugins.tables, disabled=settings.plugins.disabled, found=collected)
    registry = Registry(
        plugins.models,
        models=settings.models,
        aliases=settings.aliases,
        presets=settings.presets,
        catalogues=plugins.catalogues,
        offered_now=plugins.models_now,
        found=collected,
    )
    if not registry.specs and not collected.errors:
        collected.add(f"No model is served: {_what_to_add(plugins)}.")
    styles: Mapping[str, Style] = STYLES
    with collected.catching():
        styles = with_prompts(settings.styles)
    for table, configs in (("models", settings.models), ("aliases", settings.aliases)):
        for name, config in configs.items():
            if (style := config.defaults.style) and style not in styles:
                reason = f"unknown style {style!r}{suggest(style, styles)}"
                collected.add(reason, table, name, "defaults", "style")
    webhooks: WebhookPolicy = NoWebhooks()
    with collected.catching():
        webhooks = _webhook_policy(settings)
    if found is None:
        collected.raise_errors()
    return AppContext(settings, plugins, registry, styles, webhooks, origins or Origins())


def _what_to_add(plugins: Plugins) -> str:
    """Return what would make a model available, for a message."""
    unconfigured = sorted(spec.id for spec in plugins.models.values() if spec.needs_source)
    if not unconfigured:
        return "install a backend plugin, such as framegate-preview"
    return (
        f"{', '.join(unconfigured)} can be, once the config says where the weights are, as in "
        f'[models.{unconfigured[0]}] source = "/models/{unconfigured[0]}" (a folder or a hub id)'
    )


class Connections(Struct, frozen=True):
    """The stores in Valkey, and the decoder processes: what a process has one set of while it runs."""

    jobs: "ValkeyJobStore"
    characters: "ValkeyCharacterStore"
    secrets: "ValkeySecretStore"
    keys: "ValkeyKeyStore"
    rates: "ValkeyRateStore"
    decoders: "DecoderPool"


class Services(Struct, frozen=True):
    """The services over their connections, as one config has them."""

    core: CoreServices
    connections: Connections


@asynccontextmanager
async def open_connections(
    context: AppContext, *, processes: int = 1, answers_alone: bool = False
) -> AsyncGenerator[Connections]:
    """Open the connections; they are made when they are first used and closed at the end.

    This is one of as many ``processes`` that share the decoders. ``answers_alone`` says that no other process
    answers clients for the same Valkey.
    """
    from framegate.media.decoding.pool import open_decoders
    from framegate.media.decoding.tasks import DecoderLimits
    from framegate.storage.characters import ValkeyCharacterStore
    from framegate.storage.connections import connect_async
    from framegate.storage.jobs.store import ValkeyJobStore
    from framegate.storage.keys import ValkeyKeyStore
    from framegate.storage.rates import ValkeyRateStore
    from framegate.storage.secrets import ValkeySecretStore

    decoding, prefix = context.settings.decoding, context.settings.queue.prefix
    jobs = ValkeyJobStore(connect_async(context.queue_url), prefix=prefix, holds_jobs=answers_alone)
    characters = ValkeyCharacterStore(connect_async(context.queue_url), prefix=prefix)
    secrets = ValkeySecretStore(connect_async(context.queue_url), prefix=prefix)
    keys = ValkeyKeyStore(connect_async(context.queue_url), prefix=prefix)
    rates = ValkeyRateStore(connect_async(context.queue_url), prefix=prefix)
    limits = DecoderLimits(timeout=float(decoding.timeout), memory=decoding.memory)
    async with open_decoders(max(2, -(-decoding.processes // processes)), limits) as decoders:
        try:
            yield Connections(jobs, characters, secrets, keys, rates, decoders)
        finally:
            for store in (rates, secrets, keys, characters, jobs):
                await store.close()


def build_services(
    context: AppContext, connections: Connections, *, own_workers: OwnWorkers | None = None
) -> Services:
    """Build the services over open connections. ``own_workers`` are the workers that this process runs.

    Raises:
        ConfigError: The storage's settings can't be right.
    """
    from framegate.media.ingest import MediaIngest
    from framegate.media.network.fetch import UrlFetcher
    from framegate.media.variants import MediaVariants

    settings = context.settings
    artifacts = context.open_artifacts()
    fetcher = UrlFetcher(
        settings.fetch.allow,
        max_bytes=settings.fetch.max_bytes,
        timeout=settings.fetch.timeout,
        user_agent=context.user_agent,
    )
    core = create_services(
        registry=context.registry,
        store=connections.jobs,
        artifacts=artifacts,
        media=MediaIngest(fetcher, artifacts, connections.decoders, max_bytes=settings.fetch.max_bytes),
        variants=MediaVariants(connections.decoders),
        characters=connections.characters,
        secrets=connections.secrets,
        keys=connections.keys,
        max_queued=settings.queue.max_queued,
        worker_grace=settings.queue.worker_grace,
        own_workers=own_workers,
        styles=context.styles,
        webhooks=context.webhooks,
        link_seconds=min(LINK_SECONDS, settings.links.expiry),
        configured_keys={key.name: key for key in settings.auth.keys},
        dialects=context.plugins.dialects,
        job_timeout=float(settings.worker.job_timeout),
    )
    return Services(core, connections)


def build_retention(context: AppContext, connections: Connections) -> "Retention":
    """Build what removes files and records once their time is over.

    Raises:
        ConfigError: The storage's settings can't be right.
    """
    from framegate.storage.retention import Retention

    storage = context.settings.storage
    return Retention(
        connections.jobs,
        connections.characters,
        context.open_artifacts(),
        files_for=storage.retention,
        records_for=storage.record_retention,
        max_bytes=storage.max_bytes,
    )


@asynccontextmanager
async def open_services(
    context: AppContext, *, own_workers: OwnWorkers | None = None
) -> AsyncGenerator[Services]:
    """Open connections of its own and build the services over them; see `build_services`."""
    async with open_connections(context) as connections:
        yield build_services(context, connections, own_workers=own_workers)


def _webhook_policy(settings: Settings) -> WebhookPolicy:
    if not settings.webhooks.secrets and not settings.webhooks.url:
        return NoWebhooks()
    from framegate.cli.webhook_policy import make_policy

    return make_policy(settings)


def _reveal(secret: EnvSecret | None, setting: str) -> str:
    return secret.reveal("storage", setting) if secret else ""
