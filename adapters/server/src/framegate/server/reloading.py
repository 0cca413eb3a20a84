"""Serve the config that is read again on SIGHUP, without losing a request."""

import asyncio
import signal
from collections.abc import Callable, Collection

import structlog
from litestar.types import Receive, Scope, Send

from framegate.cli.app_context import AppContext, Connections, create_context
from framegate.cli.log import configure_audit_log, require_audit_log
from framegate.cli.supervisor import WorkerSupervisor
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
    """The ASGI app of the process, which passes each request to the app of the config in force.

    ``read_settings`` reads file and environment again. A config that is wrong changes nothing.
    """

    def __init__(
        self,
        context: AppContext,
        read_settings: Callable[[], Settings],
        *,
        connections: Connections,
        keys: KeyRing,
        process: ProcessState,
        workers: WorkerSupervisor,
    ) -> None:
        self._context = context
        self._read_settings = read_settings
        self._connections = connections
        self._keys = keys
        self._process = process
        self._workers = workers
        self._current = self._build(context)
        self._wanted = asyncio.Event()
        self._replaced: list[ConfiguredApp] = []

    def _build(self, context: AppContext) -> ConfiguredApp:
        return ConfiguredApp(context, self._connections, self._keys, self._process, self._workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request by the config that is in force when it comes."""
        await self._current(scope, receive, send)

    async def open(self) -> None:
        """Start what runs beside the requests.

        Raises:
            ConfigError: A secret can't be read.
        """
        await self._current.open()

    async def close(self) -> None:
        """Stop it, and what is left of earlier configs."""
        await asyncio.gather(*(app.close() for app in (*self._replaced, self._current)))

    @property
    def services(self) -> CoreServices:
        """The services by the config that is in force."""
        return self._current.services

    @property
    def paths(self) -> Collection[str]:
        """The paths that are served."""
        return self._current.paths

    def request(self) -> None:
        """Ask for a reload. Call it in the event loop's thread."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload whenever that is requested; if during a reload, once more after it."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._reload()
            except FramegateError as error:
                for line in error.message.splitlines():
                    log.error("config_not_reloaded", reason=line)
            except Exception as error:  # a plugin's, for example: the server goes on as it was
                log.error("config_not_reloaded", exc_info=error)

    async def _reload(self) -> None:
        reload, context = await asyncio.to_thread(self._read, self._context.settings)
        if reload.changed:
            await self._replace(context)
        self._workers.pass_on(signal.SIGHUP)
        log.info("config_reloaded", changed=list(reload.changed))
        if reload.needs_restart:
            log.warning("config_needs_restart", settings=list(reload.needs_restart))

    def _read(self, old: Settings) -> tuple[Reload, AppContext]:
        reload = plan_reload(old, self._read_settings(), fixed=FIXED_IN_SERVER)
        require_audit_log(reload.settings.audit.path)
        return reload, create_context(reload.settings)

    async def _replace(self, context: AppContext) -> None:
        settings = context.settings
        require_keys_left(self._keys, settings)
        KeyRing(settings.auth.keys)  # raises what is wrong with them
        app = await asyncio.to_thread(self._build, context)  # it takes some tenths of a second
        await app.open()
        # From here on nothing fails, and no request comes in between: nobody sees half of a config.
        self._keys.reconfigure(settings.auth.keys, defaults=settings.key_defaults)
        configure_audit_log(settings.audit.path)
        self._current.replace()
        self._replaced = [earlier for earlier in (*self._replaced, self._current) if not earlier.closed]
        self._current, self._context = app, context
