"""The parent of several API processes: it runs Valkey, the workers and the work beside requests."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import structlog

from framegate.cli.app_context import AppContext, open_connections
from framegate.cli.garbage import resume_collection
from framegate.cli.hangup import Hangups
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.concurrency import cancel_and_wait
from framegate.core.errors import ConfigError, Unavailable
from framegate.server.api_processes.supervisor import ApiSupervisor
from framegate.server.api_server import check_start
from framegate.server.auth.key_checks import require_keys
from framegate.server.auth.key_ring import KeyRing
from framegate.server.background import keep_running
from framegate.server.host_config import HostConfig
from framegate.server.host_work import announce_stop, keep_valkey_running, sweep, valkey_is_up
from framegate.server.listening import SharedPort, url_of
from framegate.server.reloading import Reloader
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore

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
        config = HostConfig(context, connections, keys, workers, read_context=read_context)
        stop = _Stop(api, workers, connections.jobs, delay=settings.shutdown_delay)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.receive, number)
        config.start()
        stack.push_async_callback(config.close)
        stack.push_async_callback(workers.stop)
        stack.push_async_callback(api.stop)
        workers.start()
        api.start()
        reloader = Reloader(partial(config.reload, api))
        hangups.follow(lambda: loop.call_soon_threadsafe(reloader.request))
        running: list[Callable[[], Awaitable[None]]] = [partial(sweep, connections.jobs), reloader.run]
        if valkey is not None:
            running.append(partial(keep_valkey_running, valkey))
        tasks = [asyncio.create_task(keep_running(run)) for run in running]
        stack.push_async_callback(cancel_and_wait, tasks)
        await _first(api.started, api.failed, api.failing, stop.requested)
        resume_collection()
        if api.started.is_set():
            url = url_of(port.host, port.port)
            log.info("listening", url=url, docs=f"{url}/docs", api_processes=api.count)
        elif not stop.requested.is_set():
            workers.end_now()  # a job that one has begun isn't waited for
            error = ConfigError if api.misconfigured.is_set() else Unavailable
            raise error("The API processes can't start; they have said why.")
        # With a config that can't be right, as a queue that has come up late shows, no start will help; what
        # else ends processes that have worked before may pass.
        await _first(api.misconfigured, stop.requested)
        if not stop.requested.is_set():
            stop.wind_down()
        await api.stop()
        await stop.finish()
        if api.misconfigured.is_set():
            raise ConfigError("An API process can't work with this config; it has said why.")


class _Stop:
    """The signals to stop, as one API process alone would take them."""

    def __init__(
        self, api: ApiSupervisor, workers: WorkerSupervisor, jobs: ValkeyJobStore, *, delay: float
    ) -> None:
        self._api = api
        self._workers = workers
        self._jobs = jobs
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
                asyncio.get_running_loop().call_later(self._delay, self.wind_down)
        elif self._announcement is None:
            self._api.wind_down(number)
            if not is_first:
                self._api.pass_on(number)  # the delay is cut short
            self.wind_down()
        elif number == signal.SIGINT:
            self._api.pass_on(number)
            self._workers.end_now()

    def wind_down(self) -> None:
        """Let the workers take no more jobs, and log what is waited for."""
        if self._announcement is None:
            self._workers.wind_down()  # running jobs may finish while calls still wait for them
            self._announcement = asyncio.create_task(announce_stop(self._jobs, self._workers))

    async def finish(self) -> None:
        """Wait for what has been begun."""
        self.wind_down()
        if self._announcement is not None:
            await self._announcement


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """Return the first of the events that is set, of several at the same time the first in their order."""
    waiting = {asyncio.create_task(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return next(event for task, event in waiting.items() if task in done)
    finally:
        await cancel_and_wait(waiting)
