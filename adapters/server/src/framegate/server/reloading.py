"""Serve the config that is read again on SIGHUP, without losing a request."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import structlog
from litestar.types import Receive, Scope, Send

from framegate.cli.app_context import AppContext, Connections, create_context
from framegate.cli.config_origins import Origins
from framegate.cli.log import configure_audit_log, require_audit_log
from framegate.core.availability import OwnWorkers
from framegate.core.errors import FramegateError
from framegate.core.reloading import FIXED_IN_SERVER, Reload, plan_reload
from framegate.core.settings import Settings
from framegate.core.wiring import CoreServices
from framegate.server.auth.key_checks import require_keys_left
from framegate.server.auth.key_ring import KeyRing
from framegate.server.configured_app import ConfiguredApp
from framegate.server.process_state import ProcessState

log = structlog.get_logger(__name__)


class ReloadingApp:
    """The ASGI app of the process, which passes each request to the app of the config in force."""

    def __init__(
        self,
        context: AppContext,
        *,
        connections: Connections,
        keys: KeyRing,
        process: ProcessState,
        workers: OwnWorkers,
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._process = process
        self._workers = workers
        self._current = self._build(context)
        self._prepared: ConfiguredApp | None = None
        self._replaced: list[ConfiguredApp] = []

    def _build(self, context: AppContext) -> ConfiguredApp:
        return ConfiguredApp(context, self._connections, self._keys, self._process, self._workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request by the config that is in force when it comes."""
        await self._current(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Keep the app open in the block, and at its end close it and what is left of other configs."""
        try:
            await self._current.open()
            yield
        finally:
            await self.discard()
            await asyncio.gather(*(app.close() for app in (*self._replaced, self._current)))

    @property
    def services(self) -> CoreServices:
        """The services by the config that is in force."""
        return self._current.services

    @property
    def paths(self) -> Collection[str]:
        """The paths that are served."""
        return self._current.paths

    async def prepare(self, context: AppContext) -> None:
        """Get ready to serve by another config; nothing changes yet.

        Raises:
            ConfigError: It can't be served; `discard` closes what was opened.
        """
        gc.unfreeze()  # so that earlier apps can be collected
        try:
            self._prepared = await asyncio.to_thread(self._build, context)  # it takes some tenths of a second
            await self._prepared.open()
        finally:
            gc.freeze()

    def apply(self) -> None:
        """Serve by the prepared config. Nothing fails, and no request sees half of it."""
        assert self._prepared is not None
        self._current.replace()
        self._replaced = [earlier for earlier in (*self._replaced, self._current) if not earlier.closed]
        self._current, self._prepared = self._prepared, None

    async def discard(self) -> None:
        """Forget a prepared config, which doesn't take effect."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await prepared.close()


class Reloader:
    """Call ``reload`` whenever that is requested; if it is during a reload, once more after it.

    What is wrong with the config is logged, and changes nothing.
    """

    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        self._reload = reload
        self._wanted = asyncio.Event()

    def request(self) -> None:
        """Ask for a reload. Call it in the event loop's thread."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload on request until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._reload()
            except Exception as error:
                log_not_reloaded(error)


def read_reload(old: Settings, new: Settings, origins: Origins) -> tuple[Reload, AppContext]:
    """Return what becomes of a config that was read again in a server that runs with ``old`` settings.

    Raises:
        FramegateError: Something is wrong with the config.
    """
    reload = plan_reload(old, new, fixed=FIXED_IN_SERVER)
    with origins.locating():
        require_audit_log(reload.settings.audit.path)
        return reload, create_context(reload.settings, origins)


def require_usable_keys(keys: KeyRing, settings: Settings) -> None:
    """Check that the process can go on with the keys of other settings.

    Raises:
        ConfigError: One of them can't be used, or none is left where there have to be keys.
    """
    require_keys_left(keys, settings)
    KeyRing(settings.auth.keys)  # raises what is wrong with them


def adopt_settings(keys: KeyRing, settings: Settings) -> None:
    """Let keys and audit log of this process be those of other settings, which were checked."""
    keys.reconfigure(settings.auth.keys, defaults=settings.key_defaults)
    configure_audit_log(settings.audit.path)


def log_reloaded(reload: Reload) -> None:
    """Log that the server serves by another config from now on."""
    log.info("config_reloaded", changed=list(reload.changed))
    if reload.needs_restart:
        log.warning("config_needs_restart", settings=list(reload.needs_restart))


def log_not_reloaded(error: Exception) -> None:
    """Log why the server goes on as it was."""
    if isinstance(error, FramegateError):
        for line in error.message.splitlines():
            log.error("config_not_reloaded", reason=line)
    else:  # a plugin's, for example
        log.error("config_not_reloaded", exc_info=error)
