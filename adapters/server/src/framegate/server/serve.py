"""Run ``framegate serve``: the API and, by default, Valkey and workers."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial

import structlog

from framegate.cli.app_context import AppContext, open_connections
from framegate.cli.hangup import Hangups
from framegate.cli.log import require_audit_log
from framegate.cli.supervisor import WorkerSupervisor
from framegate.core.audit import Actor, acting_as
from framegate.core.concurrency import cancel_and_wait
from framegate.core.errors import ConfigError, FramegateError, Unavailable
from framegate.core.jobs import Job, JobState
from framegate.core.ports import WorkerInfo
from framegate.core.settings import Settings
from framegate.core.wiring import CoreServices
from framegate.server.auth.key_checks import require_keys
from framegate.server.auth.key_ring import KeyRing
from framegate.server.background import keep_running
from framegate.server.banner import show_banner
from framegate.server.connections.accept_errors import AcceptErrors
from framegate.server.connections.file_limit import raise_file_limit
from framegate.server.connections.protocol import ServerConfig
from framegate.server.http_server import HttpServer
from framegate.server.limits.limiter import RateLimiter
from framegate.server.listening import listen
from framegate.server.process_state import ProcessState
from framegate.server.reloading import ReloadingApp
from framegate.storage.data_folder import secure_data_folder
from framegate.storage.embedded import DataFolderLock, EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import SWEEP_SECONDS

log = structlog.get_logger(__name__)

_CHECK_SECONDS = 2.0
_MOST_RUNNING = 10_000
_ANNOUNCE_SECONDS = 1.0
"""How long a server that stops waits to learn which jobs run."""
_VALKEY_LONGEST_PAUSE, _VALKEY_STABLE_SECONDS = 15.0, 5.0
_SWITCH_SECONDS = 0.001
"""How long a thread that parses may keep the event loop waiting, at each of its turns."""


def serve(
    context: AppContext,
    *,
    devices: Sequence[str],
    worker_arguments: list[str],
    read_settings: Callable[[], Settings],
) -> None:
    """Run until SIGTERM or SIGINT, with a worker on each of the ``devices``. Call it from the main thread.

    On SIGHUP the settings are read again.

    Raises:
        ConfigError, Unavailable: The server can't start.
    """
    hangups = Hangups()
    server = context.settings.server
    secure_data_folder(server.data_path)
    require_audit_log(context.settings.audit.path)
    max_files = raise_file_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with ExitStack() as stack:
        stack.enter_context(acting_as(Actor("server")))
        valkey: EmbeddedValkey | None = None
        if context.embedded:
            lock = DataFolderLock(server.data_path)
            stack.callback(lock.release)
            valkey = EmbeddedValkey(server.data_path)
            valkey.start()
            stack.callback(valkey.stop)
        asyncio.run(
            _serve(
                context,
                valkey,
                devices,
                worker_arguments,
                max_files,
                hangups=hangups,
                read_settings=read_settings,
                checked=_check(context),
            )
        )


def _check(context: AppContext) -> bool:
    """Return False if queue or storage can't be reached, which is not an error: they may be started later."""
    try:
        context.check_start(adopt_files=True)
    except Unavailable as error:
        log.warning("start_check_postponed", reason=error.message)
        return False
    return True


async def _serve(
    context: AppContext,
    valkey: EmbeddedValkey | None,
    devices: Sequence[str],
    worker_arguments: list[str],
    max_files: int,
    *,
    hangups: Hangups,
    read_settings: Callable[[], Settings],
    checked: bool,
) -> None:
    # Signals that come before the server is there end it as soon as it is: in order, as at any other time.
    early = asyncio.Event()

    def stop_early(*_: object) -> None:
        early.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_early)
    settings = context.settings.server
    async with AsyncExitStack() as stack:
        supervisor = WorkerSupervisor(worker_arguments, devices, grace=settings.shutdown_grace)
        connections = await stack.enter_async_context(open_connections(context))
        process = ProcessState(RateLimiter(connections.rates))
        process.start_checked = checked
        keys = KeyRing(context.settings.auth.keys, connections.keys, defaults=context.settings.key_defaults)
        await require_keys(keys, settings.host)
        app = ReloadingApp(
            context,
            read_settings,
            connections=connections,
            keys=keys,
            process=process,
            workers=supervisor,
        )
        asyncio.get_running_loop().set_exception_handler(AcceptErrors())
        listener = listen(settings.host, settings.port)
        await app.open()
        stack.push_async_callback(supervisor.stop)
        stack.push_async_callback(app.close)
        config = ServerConfig(app, settings, max_files, lifespan="off")
        notices: list[asyncio.Task[None]] = []

        def announce_start() -> None:
            banner = show_banner(context, app.services, supervisor, port=port, paths=app.paths)
            notices.append(asyncio.create_task(banner))

        def wind_down() -> None:
            supervisor.wind_down()  # running jobs may finish while calls still wait for them
            notices.append(asyncio.create_task(_announce_stop(app.services, supervisor)))

        http_server = HttpServer(
            config,
            process,
            delay=settings.shutdown_delay,
            on_started=announce_start,
            on_stop=wind_down,
            on_interrupt=supervisor.end_now,
        )
        errors: list[ConfigError] = []

        def fail(error: ConfigError) -> None:
            errors.append(error)
            end()

        def end(*_: object) -> None:
            http_server.should_exit = True
            supervisor.wind_down()

        supervisor.start()
        running: list[Callable[[], Awaitable[None]]] = [
            partial(_sweep, connections.jobs),
            keys.follow,
            connections.decoders.warm,
            app.run,
        ]
        if valkey is not None:
            running.append(partial(_keep_running, valkey))
        if not checked:
            running.append(partial(_check_later, context, process, fail))
        tasks = [asyncio.create_task(keep_running(run)) for run in running]
        stack.push_async_callback(cancel_and_wait, tasks)
        loop = asyncio.get_running_loop()
        hangups.follow(lambda: loop.call_soon_threadsafe(app.request))
        host, port = listener.getsockname()[:2]
        log.info("listening", url=f"http://{host}:{port}", docs=f"http://{host}:{port}/docs")
        # After it has shut down, uvicorn raises the signals that it received for the previous handlers: with
        # the default ones this process would die before Valkey and the workers are stopped.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        if early.is_set():
            end()
        await http_server.serve(sockets=[listener])
        await cancel_and_wait(notices)
        for error in errors:
            raise error


async def _announce_stop(services: CoreServices, supervisor: WorkerSupervisor) -> None:
    """Log what is waited for before the server ends."""
    workers: Sequence[WorkerInfo] = ()
    running: Sequence[Job] = ()
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_ANNOUNCE_SECONDS):
            workers = await services.jobs.workers()
            running = await services.jobs.list(states=(JobState.RUNNING,), limit=_MOST_RUNNING)
    supervisor.announce_stop(workers, {job.worker for job in running})


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


async def _sweep(store: ValkeyJobStore) -> None:
    """Requeue or fail the jobs whose workers' leases have expired.

    Every worker does so too, but the only one may be restarting, or dead.
    """
    while True:
        with suppress(Unavailable):
            if lost := await store.sweep(interval=SWEEP_SECONDS):
                log.warning("expired_leases_reclaimed", count=lost)
        await asyncio.sleep(SWEEP_SECONDS)


async def _keep_running(valkey: EmbeddedValkey) -> None:
    """Restart Valkey if it ends; meanwhile clients get 503, and workers wait."""
    pause, started = 0.0, time.monotonic()
    while True:
        await asyncio.sleep(0.5)
        if not valkey.ended:
            continue
        if time.monotonic() - started > _VALKEY_STABLE_SECONDS:
            pause = 0.0
        log.error("valkey_ended", restart_in=pause)
        await asyncio.sleep(pause)
        pause = min(max(pause * 2, 1.0), _VALKEY_LONGEST_PAUSE)
        started = time.monotonic()
        try:
            valkey.launch()
            while not valkey.is_up():  # noqa: ASYNC110  # only its answer shows that it is up
                await asyncio.sleep(0.05)
        except FramegateError as error:
            log.error("valkey_start_failed", reason=error.message)
