"""One of several API processes: it answers requests, and its parent does everything else."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

import structlog

from framegate.cli.app_context import AppContext, create_context
from framegate.cli.log import configure_audit_log
from framegate.cli.own_workers import OwnWorkersReport, ReportedWorkers
from framegate.core.audit import Actor, acting_as
from framegate.core.concurrency import cancel_and_wait
from framegate.core.reloading import FIXED_IN_SERVER, plan_reload
from framegate.core.settings import Settings
from framegate.server import event_loop
from framegate.server.api_processes.channel import ParentChannel
from framegate.server.api_processes.messages import (
    FAILED,
    PREPARED,
    STARTED,
    Conclude,
    Message,
    Prepare,
    Start,
)
from framegate.server.api_server import EarlyStop, ServerEvents, check_resources, open_resources, run_api
from framegate.server.banner import show_banner
from framegate.server.connections.file_limit import raise_file_limit
from framegate.server.http_server import SWITCH_SECONDS
from framegate.server.reloading import PreparedConfig, ReloadingApp, log_not_reloaded

log = structlog.get_logger(__name__)


def context_of(start: Start, read_settings: Callable[[str], Settings]) -> AppContext:
    """Return the context that the other processes work with; the audit log is sent where it says.

    Raises:
        ConfigError: Something is wrong with the config.
    """
    settings = read_settings(start.config)
    if start.reloaded is not None:
        settings = plan_reload(settings, read_settings(start.reloaded), fixed=FIXED_IN_SERVER).settings
    configure_audit_log(settings.audit.path)
    return create_context(settings)


def serve_as_child(
    context: AppContext,
    channel: ParentChannel,
    start: Start,
    listener: socket.socket,
    *,
    read_settings: Callable[[str], Settings],
) -> None:
    """Serve on ``listener`` until SIGTERM, SIGINT or the parent's end. Call it from the main thread.

    ``read_settings`` returns the settings for a text of the config file.

    Raises:
        ConfigError, Unavailable: The process can't start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent says when there is another config
    sys.setswitchinterval(SWITCH_SECONDS)
    with acting_as(Actor("server")):
        event_loop.run(
            _serve(
                context,
                channel,
                start,
                listener,
                raise_file_limit(),
                read_settings=read_settings,
            )
        )


async def _serve(
    context: AppContext,
    channel: ParentChannel,
    start: Start,
    listener: socket.socket,
    max_files: int,
    *,
    read_settings: Callable[[str], Settings],
) -> None:
    early, workers = EarlyStop(), ReportedWorkers()
    workers.update(start.workers)
    async with open_resources(context) as resources:
        await check_resources(context, resources)
        app = ReloadingApp(
            context,
            connections=resources.connections,
            keys=resources.keys,
            process=resources.process,
            workers=workers,
        )
        configs: asyncio.Queue[Prepare | Conclude] = asyncio.Queue()
        notices: list[asyncio.Task[None]] = []

        def receive(message: Message) -> None:
            if isinstance(message, OwnWorkersReport):
                workers.update(message)
            elif not isinstance(message, Start):
                configs.put_nowait(message)

        def report_start() -> None:
            channel.reply(STARTED)
            if start.shows_banner:
                port = listener.getsockname()[1]
                banner = show_banner(context, app.services, workers, port=port, paths=app.paths)
                notices.append(asyncio.create_task(banner))

        def nothing() -> None:
            """Leave it to the parent, which does what it takes for the host."""

        channel.follow(receive)
        try:
            await run_api(
                context,
                resources,
                app,
                listener,
                ServerEvents(report_start, nothing, nothing, nothing),
                max_files=max_files,
                early=early,
                beside=[lambda: _follow_configs(configs, app, channel, read_settings)],
            )
        finally:
            await cancel_and_wait(notices)


async def _follow_configs(
    configs: "asyncio.Queue[Prepare | Conclude]",
    app: ReloadingApp,
    channel: ParentChannel,
    read_settings: Callable[[str], Settings],
) -> None:
    """Prepare the configs that the parent names, and serve by those that it says all processes can use."""
    prepared: PreparedConfig | None = None
    while True:
        message = await configs.get()
        if isinstance(message, Prepare):
            try:
                prepared = await app.prepare(partial(read_settings, message.config))
            except Exception as error:
                log_not_reloaded(error)
                channel.reply(FAILED)
            else:
                channel.reply(PREPARED)
        elif prepared is not None:
            if message.apply:
                app.apply(prepared)
            else:
                await app.discard(prepared)
            prepared = None
