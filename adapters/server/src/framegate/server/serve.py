"""Run ``framegate serve``: the API and, by default, Valkey and workers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import structlog

from framegate.cli.app_context import AppContext
from framegate.cli.hangup import Hangups
from framegate.cli.log import require_audit_log
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.audit import Actor, acting_as
from framegate.core.concurrency import cancel_and_wait
from framegate.server import event_loop
from framegate.server.api_processes.parent import serve_with_processes
from framegate.server.api_server import EarlyStop, check_resources, open_resources, run_api
from framegate.server.banner import show_banner
from framegate.server.connections.file_limit import raise_file_limit
from framegate.server.host_config import HostConfig
from framegate.server.host_work import announce_stop, keep_valkey_running, running_valkey, sweep, valkey_is_up
from framegate.server.listening import listen, url_of
from framegate.server.reloading import Reloader, ReloadingApp
from framegate.storage.data_folder import secure_data_folder
from framegate.storage.embedded import EmbeddedValkey

log = structlog.get_logger(__name__)


def serve(
    context: AppContext,
    *,
    devices: Sequence[str],
    worker_arguments: Sequence[str],
    api_arguments: Sequence[str],
    read_context: Callable[[], AppContext],
) -> None:
    """Run until SIGTERM or SIGINT, with a worker on each of the ``devices``. Call it from the main thread.

    With ``server.api_processes`` above 1, ``framegate serve`` is started with ``api_arguments`` that many
    times. On SIGHUP the config is read again.

    Raises:
        ConfigError, Unavailable: The server can't start.
    """
    hangups = Hangups()
    server = context.settings.server
    secure_data_folder(server.data_path)
    require_audit_log(context.settings.audit.path)
    max_files = raise_file_limit()
    with acting_as(Actor("server")), running_valkey(context) as valkey:
        if server.api_processes > 1:
            asyncio.run(
                serve_with_processes(
                    context,
                    valkey,
                    devices,
                    worker_arguments=worker_arguments,
                    api_arguments=api_arguments,
                    hangups=hangups,
                    read_context=read_context,
                )
            )
            return
        event_loop.run(
            _serve(
                context,
                valkey,
                WorkerSupervisor(worker_arguments, devices, grace=server.shutdown_grace),
                max_files,
                hangups=hangups,
                read_context=read_context,
            )
        )


async def _serve(
    context: AppContext,
    valkey: EmbeddedValkey | None,
    supervisor: WorkerSupervisor,
    max_files: int,
    *,
    hangups: Hangups,
    read_context: Callable[[], AppContext],
) -> None:
    settings, loop = context.settings.server, asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(supervisor.stop)
        listener = stack.enter_context(listen(settings.host, settings.port))
        resources = await stack.enter_async_context(open_resources(context))
        jobs = resources.connections.jobs
        # In a thread: Valkey, and then the workers, come up on another core while it runs.
        building = asyncio.create_task(
            asyncio.to_thread(
                ReloadingApp,
                context,
                connections=resources.connections,
                keys=resources.keys,
                process=resources.process,
                workers=supervisor.workers,
            )
        )
        stack.push_async_callback(cancel_and_wait, [building])
        config = HostConfig(
            context, resources.connections, resources.keys, supervisor, read_context=read_context
        )
        stack.push_async_callback(config.close)
        await valkey_is_up(valkey)
        early = EarlyStop()
        await check_resources(context, resources)
        supervisor.start()
        try:
            app = await building
            await stack.enter_async_context(app.lifespan())
        except BaseException:
            supervisor.end_now()  # a job that one has begun isn't waited for
            raise
        config.start()
        notices: list[asyncio.Task[None]] = []
        stack.push_async_callback(lambda: cancel_and_wait(notices))
        reloader = Reloader(partial(config.reload, app))
        hangups.follow(lambda: loop.call_soon_threadsafe(reloader.request))
        host, port = listener.getsockname()[:2]

        def announce_start() -> None:
            banner = show_banner(context, app.services, supervisor.workers, port=port, paths=app.paths)
            notices.append(asyncio.create_task(banner))

        def wind_down() -> None:
            supervisor.wind_down()  # running jobs may finish while calls still wait for them
            notices.append(asyncio.create_task(announce_stop(jobs, supervisor)))

        beside: list[Callable[[], Awaitable[None]]] = [partial(sweep, jobs), reloader.run]
        if valkey is not None:
            beside.append(partial(keep_valkey_running, valkey))
        url = url_of(host, port)
        log.info("listening", url=url, docs=f"{url}/docs")
        await run_api(
            context,
            resources,
            app,
            listener,
            on_started=announce_start,
            on_stop=wind_down,
            on_interrupt=supervisor.end_now,
            max_files=max_files,
            early=early,
            beside=beside,
        )
