"""The config that a server works by, until another one replaces it on SIGHUP."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from framegate.cli.app_context import AppContext, Connections
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.errors import Unavailable
from framegate.server.auth.key_ring import KeyRing
from framegate.server.background_work import BackgroundWork
from framegate.server.reloading import adopt_settings, log_reloaded, read_reload, require_usable_keys


class ReloadingApi(Protocol):
    """What answers the requests by the config: the app of this process, or the API processes."""

    async def prepare(self, context: AppContext) -> None:
        """Get ready to serve by another config; nothing changes yet.

        Raises:
            FramegateError: That isn't possible; `discard` is to be called then, too.
        """
        ...

    def apply(self) -> None:
        """Serve by the prepared config."""
        ...

    async def discard(self) -> None:
        """Forget what was prepared, or has been begun to be."""
        ...


class HostConfig:
    """The config of a server and the work beside its requests, which its host's process does by that config.

    Raises:
        ConfigError: A secret of the webhooks can't be read, or the storage's settings can't be right.
    """

    def __init__(
        self,
        context: AppContext,
        connections: Connections,
        keys: KeyRing,
        workers: WorkerSupervisor,
        *,
        read_context: Callable[[], AppContext],
    ) -> None:
        self._context = context
        self._connections = connections
        self._keys = keys
        self._workers = workers
        self._read_context = read_context
        self._work = BackgroundWork(context, connections)
        self._replaced: list[BackgroundWork] = []

    def start(self) -> None:
        """Start the work beside requests; call it where an event loop runs."""
        self._work.start()

    async def close(self) -> None:
        """Stop it, and what is left of earlier configs."""
        await asyncio.gather(*(work.close() for work in (*self._replaced, self._work)))

    async def reload(self, api: ReloadingApi) -> None:
        """Read the config again, and let ``api``, workers and the work beside requests go by it.

        Raises:
            FramegateError: Something is wrong with the config; everything stays as it was.
        """
        found = await asyncio.to_thread(self._read_context)
        old = self._context.settings
        reload, context = await asyncio.to_thread(read_reload, old, found.settings, found.origins)
        if reload.changed:
            with context.origins.locating():
                await self._replace(context, api)
        self._workers.pass_on(signal.SIGHUP)
        log_reloaded(reload)

    async def _replace(self, context: AppContext, api: ReloadingApi) -> None:
        with suppress(Unavailable):
            await self._keys.load()  # the parent of API processes doesn't follow their changes
        require_usable_keys(self._keys, context.settings)
        work = BackgroundWork(context, self._connections)
        try:
            await api.prepare(context)
            adopt_settings(self._keys, context.settings)
        except BaseException:
            await api.discard()
            raise
        api.apply()
        self._work.replace()
        self._replaced = [earlier for earlier in (*self._replaced, self._work) if not earlier.closed]
        self._work, self._context = work, context
        work.start()
