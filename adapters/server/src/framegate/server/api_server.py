"""Serve the API in this process, whatever else it does."""

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog
from msgspec import Struct

from framegate.cli.app_context import AppContext, Connections, open_connections
from framegate.cli.garbage import resume_collection
from framegate.core.concurrency import cancel_and_wait
from framegate.core.errors import ConfigError, Unavailable
from framegate.server.auth.key_checks import require_keys
from framegate.server.auth.key_ring import KeyRing
from framegate.server.background import keep_running
from framegate.server.connections.server_config import ServerConfig
from framegate.server.http_server import HttpServer
from framegate.server.limits.limiter import RateLimiter
from framegate.server.process_state import ProcessState
from framegate.server.reloading import ReloadingApp

log = structlog.get_logger(__name__)

_CHECK_SECONDS = 2.0
_SETTLE_SECONDS = 1.0
"""How long the first requests of a server are spared the garbage of its start."""


class ApiResources(Struct, frozen=True):
    """What an API process has for as long as it runs."""

    connections: Connections
    keys: KeyRing
    process: ProcessState


class EarlyStop:
    """A signal to stop that comes before the server is there: it ends as soon as it is, in order.

    It also takes the signals that uvicorn raises again once it has shut down. Make it in the main thread.
    """

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, *_: object) -> None:
        self.requested = True


def check_start(context: AppContext) -> bool:
    """Return False if queue or storage can't be reached, which is not an error: they may be started later.

    Raises:
        ConfigError: They can never be used as they are set up.
    """
    try:
        context.check_start(adopt_files=True)
    except Unavailable as error:
        log.warning("start_check_postponed", reason=error.message)
        return False
    return True


async def check_resources(context: AppContext, resources: ApiResources) -> None:
    """Check that queue and storage can be used, as far as they can be reached, and read the keys.

    Raises:
        ConfigError, Unavailable: They can never be used as they are set up, or there have to be keys, and
            there are none.
    """
    resources.process.start_checked = check_start(context)
    await require_keys(resources.keys, context.settings.server.host)


@asynccontextmanager
async def open_resources(context: AppContext) -> AsyncGenerator[ApiResources]:
    """Open the connections, which are made when they are first used."""
    processes = context.settings.server.api_processes
    alone = context.embedded and processes == 1  # nobody else has the socket of the embedded one
    async with open_connections(context, processes=processes, answers_alone=alone) as connections:
        process = ProcessState(RateLimiter(connections.rates), api_processes=processes)
        keys = KeyRing(context.settings.auth.keys, connections.keys, defaults=context.settings.key_defaults)
        yield ApiResources(connections, keys, process)


def _leave_it_to_the_parent() -> None:
    """Do nothing: the workers are the parent's."""


async def run_api(
    context: AppContext,
    resources: ApiResources,
    app: ReloadingApp,
    listener: socket.socket,
    *,
    on_started: Callable[[], None],
    on_stop: Callable[[], None] = _leave_it_to_the_parent,
    on_interrupt: Callable[[], None] = _leave_it_to_the_parent,
    max_files: int,
    early: EarlyStop,
    beside: Sequence[Callable[[], Awaitable[None]]] = (),
) -> None:
    """Serve ``app``, which is open, until a signal to stop, and run what is to run ``beside`` it.

    ``on_started`` is called when requests are taken, ``on_stop`` once, when the server begins to stop for
    whatever reason, and ``on_interrupt`` at each SIGINT after the signal to stop.

    Raises:
        ConfigError: Queue or storage turn out to be unusable.
    """
    settings, process = context.settings.server, resources.process
    errors: list[ConfigError] = []

    def started() -> None:
        on_started()
        asyncio.get_running_loop().call_later(_SETTLE_SECONDS, resume_collection)
        if early.requested:  # from here on the server takes the signals
            end()

    http_server = HttpServer(
        ServerConfig(app, settings, max_files, lifespan="off"),
        process,
        delay=settings.shutdown_delay,
        on_started=started,
        on_stop=on_stop,
        on_interrupt=on_interrupt,
    )

    def end() -> None:
        if not http_server.should_exit:
            http_server.should_exit = True
            on_stop()

    def fail(error: ConfigError) -> None:
        errors.append(error)
        end()

    running = [resources.keys.follow, resources.connections.decoders.warm, *beside]
    if not process.start_checked:
        running.append(partial(_check_later, context, process, fail))
    tasks = [asyncio.create_task(keep_running(run)) for run in running]
    try:
        await http_server.serve(sockets=[listener])
    finally:
        await cancel_and_wait(tasks)
    for error in errors:
        raise error


async def _check_later(
    context: AppContext, process: ProcessState, fail: Callable[[ConfigError], None]
) -> None:
    """Repeat the start check until queue and storage can be reached; ``fail`` ends the server."""
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        try:
            await asyncio.to_thread(context.check_start, adopt_files=True)
        except Unavailable:
            continue
        except ConfigError as error:
            fail(error)
        else:
            process.start_checked = True
        return
