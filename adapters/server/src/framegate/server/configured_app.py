"""The app as one config has it, which the next one replaces while requests run."""

import asyncio
from contextlib import suppress

from litestar.types import Receive, Scope, Send

from framegate.cli.app_context import AppContext, Connections, build_services
from framegate.core.availability import OwnWorkers
from framegate.core.concurrency import cancel_and_wait
from framegate.server.app import create_app
from framegate.server.auth.key_ring import KeyRing
from framegate.server.process_state import ProcessState

_LONGEST_REQUEST = 86400.0
"""For how many seconds a replaced app waits for its last requests: a day, as long as a job may take."""


class ConfiguredApp:
    """The app with its services, for one config.

    ``services`` and ``paths`` are what it serves. What outlives a config comes from outside:
    ``connections``, ``keys``, ``process`` and ``own_workers``.

    Raises:
        ConfigError: The config can't be served; see `create_app`.
    """

    def __init__(
        self,
        context: AppContext,
        connections: Connections,
        keys: KeyRing,
        process: ProcessState,
        own_workers: OwnWorkers,
    ) -> None:
        services = build_services(context, connections, own_workers=own_workers)
        self.services = services.core
        self._app = create_app(
            services=services.core,
            settings=context.settings,
            dialects=context.plugins.dialects,
            process=process,
            keys=keys,
            third_party=context.plugins.third_party_dialects,
            plugin_problems=context.plugins.problems,
        )
        self.paths = frozenset(route.path for route in self._app.routes)
        self._running: list[asyncio.Task[None]] = []
        self._replaced = asyncio.Event()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Start what the app and its plugins have beside the requests."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running.append(asyncio.create_task(self._run(opened)))
        await opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        self._requests += 1
        self._idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    def replace(self) -> None:
        """Let it close once its requests have ended: another app gets the next ones."""
        self._replaced.set()

    @property
    def closed(self) -> bool:
        """Whether it has been open, and is no longer."""
        return all(task.done() for task in self._running)

    async def close(self) -> None:
        """Close it at once."""
        await cancel_and_wait(self._running)

    async def _run(self, opened: asyncio.Future[None]) -> None:
        # In one task from beginning to end, as Litestar's lifespan wants it.
        try:
            async with self._app.lifespan():
                opened.set_result(None)
                await self._replaced.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_REQUEST):
                        await self._idle.wait()
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)
