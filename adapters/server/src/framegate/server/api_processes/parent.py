"""The parent of several API processes: it runs Valkey, the workers and the work beside requests."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial

import structlog

from framegate.cli.app_context import AppContext, Connections, build_services, open_connections
from framegate.cli.garbage import resume_collection
from framegate.cli.hangup import Hangups
from framegate.cli.log import configure_audit_log
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.concurrency import cancel_and_wait
from framegate.core.errors import ConfigError, Unavailable
from framegate.server.api_processes.supervisor import ApiSupervisor
from framegate.server.api_server import check_start
from framegate.server.auth.key_checks import require_keys, require_keys_left
from framegate.server.auth.key_ring import KeyRing
from framegate.server.background import keep_running
from framegate.server.background_work import BackgroundWork
from framegate.server.host_work import announce_stop, keep_valkey_running, sweep, valkey_is_up
from framegate.server.listening import SharedPort
from framegate.server.reloading import Reloader, log_reloaded, read_reload
from framegate.storage.embedded import EmbeddedValkey

log = structlog.get_logger(__name__)

_LAST_WORDS_SECONDS = 2.0
"""How long streams that are cut off have to say so, after the grace."""


async def serve_with_processes(
    context: AppContext,
    valkey: EmbeddedValkey | None,
    devices: Sequence[str],
    *,
    worker_arguments: Sequence[str],
    api_arguments: Sequence[str],
    hangups: Hangups,
    read_context: Callable[[], AppContext],
) -> None:
    """Run until SIGTERM or SIGINT; see `framegate.server.serve.serve`.

    Raises:
        ConfigError, Unavailable: The server can't start.
    """
    settings, loop = context.settings.server, asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        port = SharedPort(settings.host, settings.port)
        stack.callback(port.close)
        await valkey_is_up(valkey)
        check_start(context)
        connections = await stack.enter_async_context(open_connections(context))
        keys = KeyRing(context.settings.auth.keys, connections.keys, defaults=context.settings.key_defaults)
        await require_keys(keys, settings.host)
        api = ApiSupervisor(
            api_arguments,
            settings.api_processes,
            port,
            context.origins.text,
            grace=settings.shutdown_delay + settings.shutdown_grace + _LAST_WORDS_SECONDS,
        )
        workers = WorkerSupervisor(
            worker_arguments, devices, grace=settings.shutdown_grace, on_change=api.tell
        )
        config = _ConfigInForce(context, connections, keys, api, workers, read_context=read_context)
        stop = _Stop(api, workers, config, delay=settings.shutdown_delay)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.receive, number)
        await config.open()
        stack.push_async_callback(config.close)
        stack.push_async_callback(workers.stop)
        stack.push_async_callback(api.stop)
        workers.start()
        api.start()
        reloader = Reloader(config.reload)
        hangups.follow(lambda: loop.call_soon_threadsafe(reloader.request))
        running: list[Callable[[], Awaitable[None]]] = [partial(sweep, connections.jobs), reloader.run]
        if valkey is not None:
            running.append(partial(keep_valkey_running, valkey))
        tasks = [asyncio.create_task(keep_running(run)) for run in running]
        stack.push_async_callback(cancel_and_wait, tasks)
        first = await _first(api.misconfigured, api.failed, api.started, stop.requested)
        if first in (api.misconfigured, api.failed):
            error = ConfigError if first is api.misconfigured else Unavailable
            raise error("The API processes can't start; they have said why.")
        resume_collection()
        if api.started.is_set():
            url = f"http://{port.host}:{port.port}"
            log.info("listening", url=url, docs=f"{url}/docs", api_processes=api.count)
        await stop.requested.wait()
        await api.stop()
        await stop.finish()


class _Stop:
    """The signals to stop, as one API process alone would take them."""

    def __init__(
        self, api: ApiSupervisor, workers: WorkerSupervisor, config: "_ConfigInForce", *, delay: float
    ) -> None:
        self._api = api
        self._workers = workers
        self._config = config
        self._delay = delay
        self._announcement: asyncio.Task[None] | None = None
        self.requested = asyncio.Event()

    def receive(self, number: signal.Signals) -> None:
        """Take a signal: the processes take no more requests, after SIGTERM once the delay is over."""
        is_first = not self.requested.is_set()
        self.requested.set()
        if number == signal.SIGTERM and self._delay:
            if is_first:
                log.info("server_leaving", stops_in=self._delay)
                self._api.wind_down()  # they take requests for as long themselves
                asyncio.get_running_loop().call_later(self._delay, self._wind_down)
        elif self._announcement is None:
            self._api.wind_down(number)
            if not is_first:
                self._api.pass_on(number)  # the delay is cut short
            self._wind_down()
        elif number == signal.SIGINT:
            self._api.pass_on(number)
            self._workers.end_now()

    def _wind_down(self) -> None:
        if self._announcement is None:
            self._workers.wind_down()  # running jobs may finish while calls still wait for them
            announcing = announce_stop(self._config.services, self._workers)
            self._announcement = asyncio.create_task(announcing)

    async def finish(self) -> None:
        """Wait for what has been begun."""
        self._wind_down()
        if self._announcement is not None:
            await self._announcement


class _ConfigInForce:
    """The config by which all processes work, and the work beside requests by it."""

    def __init__(
        self,
        context: AppContext,
        connections: Connections,
        keys: KeyRing,
        api: ApiSupervisor,
        workers: WorkerSupervisor,
        *,
        read_context: Callable[[], AppContext],
    ) -> None:
        self._context = context
        self._connections = connections
        self._keys = keys
        self._api = api
        self._workers = workers
        self._read_context = read_context
        services = build_services(context, connections)
        self.services = services.core
        self._background = BackgroundWork(context, services.retention)
        self._replaced: list[BackgroundWork] = []

    async def open(self) -> None:
        """Start the work beside requests.

        Raises:
            ConfigError: A secret of the webhooks can't be read.
        """
        await self._background.open()

    async def close(self) -> None:
        """Stop it, and what is left of earlier configs."""
        await asyncio.gather(*(work.close() for work in (*self._replaced, self._background)))

    async def reload(self) -> None:
        """Read the config again, and let every process work by it if all of them can.

        Raises:
            FramegateError: Something is wrong with the config; it stays as it was.
        """
        found = await asyncio.to_thread(self._read_context)
        old, text = self._context.settings, found.origins.text
        reload, context = await asyncio.to_thread(read_reload, old, lambda: found.settings)
        if reload.changed and not await self._replace(context, text):
            return
        self._workers.pass_on(signal.SIGHUP)
        log_reloaded(reload)

    async def _replace(self, context: AppContext, text: str) -> bool:
        settings = context.settings
        with suppress(Unavailable):
            await self._keys.load()
        require_keys_left(self._keys, settings)
        services = build_services(context, self._connections)
        background = BackgroundWork(context, services.retention)
        await background.open()
        usable = await self._api.prepare(text)
        self._api.conclude(text, apply=usable)
        if not usable:
            log.error("config_not_reloaded", reason="An API process can't use it, and has logged why.")
            await background.close()
            return False
        self._keys.reconfigure(settings.auth.keys, defaults=settings.key_defaults)
        configure_audit_log(settings.audit.path)
        self._background.replace()
        self._replaced = [work for work in (*self._replaced, self._background) if not work.closed]
        self._background, self.services, self._context = background, services.core, context
        return True


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """Return the first of the events that is set, of several at the same time the first in their order."""
    waiting = {asyncio.create_task(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(event for task, event in waiting.items() if task in done)
    finally:
        await cancel_and_wait(waiting)
