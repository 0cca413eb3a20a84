"""One of several API processes: it answers requests, and its parent does everything else."""

import asyncio
import signal
import socket
from collections.abc import Callable

from framegate.cli.app_context import AppContext, create_context
from framegate.cli.config_file import Config
from framegate.cli.log import configure_audit_log
from framegate.cli.own_workers import OwnWorkersReport, ReportedWorkers
from framegate.core.audit import Actor, acting_as
from framegate.core.concurrency import cancel_and_wait
from framegate.core.reloading import FIXED_IN_SERVER, plan_reload
from framegate.server import event_loop
from framegate.server.api_processes.channel import ParentChannel
from framegate.server.api_processes.config_follower import ConfigFollower
from framegate.server.api_processes.messages import (
    STARTED,
    Conclude,
    Message,
    Prepare,
    ShowBanner,
    Start,
    encode,
)
from framegate.server.api_server import EarlyStop, check_resources, open_resources, run_api
from framegate.server.banner import show_banner
from framegate.server.connections.file_limit import raise_file_limit
from framegate.server.reloading import ReloadingApp


def context_of(start: Start, read_config: Callable[[str], Config]) -> AppContext:
    """Return the context that the other processes work with; the audit log is sent where it says.

    Raises:
        ConfigError: Something is wrong with the config.
    """
    config = read_config(start.config)
    settings, origins = config.settings, config.origins
    if start.reloaded is not None:
        latest = read_config(start.reloaded)
        settings = plan_reload(settings, latest.settings, fixed=FIXED_IN_SERVER).settings
        origins = latest.origins
    configure_audit_log(settings.audit.path)
    with origins.locating():
        return create_context(settings, origins)


def serve_as_child(
    context: AppContext,
    channel: ParentChannel,
    start: Start,
    listener: socket.socket,
    *,
    read_config: Callable[[str], Config],
) -> None:
    """Serve on ``listener`` until SIGTERM, SIGINT or the parent's end. Call it from the main thread.

    ``read_config`` reads a text of the config file.

    Raises:
        ConfigError, Unavailable: The process can't start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent says when there is another config
    with acting_as(Actor("server")):
        event_loop.run(_serve(context, channel, start, listener, raise_file_limit(), read_config=read_config))


async def _serve(
    context: AppContext,
    channel: ParentChannel,
    start: Start,
    listener: socket.socket,
    max_files: int,
    *,
    read_config: Callable[[str], Config],
) -> None:
    early, workers = EarlyStop(), ReportedWorkers()
    port = listener.getsockname()[1]  # messages also come once the server has closed it
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
        configs = ConfigFollower(
            context,
            app,
            resources.keys,
            read_config=read_config,
            reply=lambda answer: channel.reply(encode(answer)),
        )
        notices: list[asyncio.Task[None]] = []

        def receive(message: Message) -> None:
            match message:
                case OwnWorkersReport():
                    workers.update(message)
                case Prepare() | Conclude():
                    configs.receive(message)
                case ShowBanner():
                    banner = show_banner(context, app.services, workers, port=port, paths=app.paths)
                    notices.append(asyncio.create_task(banner))
                case Start():
                    raise AssertionError("the first message comes once")

        channel.follow(receive)
        try:
            async with app.lifespan():
                await configs.catch_up()  # no request is served by a config that no longer is in force
                await run_api(
                    context,
                    resources,
                    app,
                    listener,
                    on_started=lambda: channel.reply(STARTED),
                    max_files=max_files,
                    early=early,
                    beside=[configs.run],
                )
        finally:
            await cancel_and_wait(notices)
