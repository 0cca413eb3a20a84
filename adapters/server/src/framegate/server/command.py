"""``framegate serve``."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from framegate.cli.config_file import Config, require_valid
from framegate.cli.devices import CPU, GpuProbe, choose_devices, find_gpus, spread
from framegate.cli.garbage import pause_collection
from framegate.cli.log import configure_logging
from framegate.cli.options import (
    checked_context_from,
    config_from,
    config_options,
    devices_option,
    forwarded_options,
    log_level_arguments,
    log_level_option,
    read_checked_context,
)
from framegate.cli.output import print_line
from framegate.cli.worker_supervisor import require_worker
from framegate.core.errors import ConfigError


def _refuse(_context: click.Context, _option: click.Parameter, number: int | None) -> None:
    if number is not None:
        raise click.UsageError(
            f"--processes is ambiguous: write --workers {number} for the processes that run jobs, or "
            f"--api-processes {number} for those that answer requests."
        )


@click.command()
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=int, help="The port to listen on.")
@click.option("--no-worker", is_flag=True, help="Start no worker; workers on other hosts serve the queue.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Worker processes, which run the jobs: in turn on the devices (default: one each).",
)
@click.option(
    "--api-processes",
    type=click.IntRange(1, 64),
    help="API processes, which answer the requests on the one port (default: 1).",
)
@click.option("--processes", type=click.IntRange(min=1), hidden=True, expose_value=False, callback=_refuse)
@click.option("--with-parent", is_flag=True, hidden=True)
@click.option("--listener", type=int, hidden=True)
@devices_option
@log_level_option
@config_options
def serve(
    host: str | None,
    port: int | None,
    no_worker: bool,
    workers: int | None,
    api_processes: int | None,
    with_parent: bool,
    listener: int | None,
    devices: str,
    log_level: int,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Start the server with its queue and a worker for each GPU, or one on the CPU."""
    pause_collection()
    configure_logging(level=log_level)
    overrides: dict[str, Any] = {
        "server__host": host,
        "server__port": port,
        "server__api_processes": api_processes,
    }
    if with_parent and listener is not None:
        _serve_as_child(listener, partial(config_from, config_file, data_dir, **overrides))
        return
    if not no_worker:
        require_worker("start with --no-worker and let workers on other hosts serve the queue")
    read_context = partial(read_checked_context, config_file, data_dir, as_server=True, **overrides)
    chosen: Sequence[str] = ()
    with ExitStack() as stack:
        # The drivers are asked while the config is checked: each takes some tenths of a second.
        probe = None if no_worker or devices == CPU else stack.enter_context(GpuProbe())
        context = checked_context_from(config_file, data_dir, as_server=True, **overrides)
        if not no_worker:
            chosen = choose_devices(devices, probe.find if probe else find_gpus)
            chosen = spread(chosen, workers or len(chosen))
    from framegate.server import serve as server

    worker_arguments = [*forwarded_options(config_file, data_dir), *log_level_arguments(log_level)]
    given = {"--host": host, "--port": port, "--api-processes": api_processes}
    own = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    with context.origins.locating():
        server.serve(
            context,
            devices=chosen,
            worker_arguments=worker_arguments,
            api_arguments=[*worker_arguments, *own],
            read_context=read_context,
        )


def _serve_as_child(listener: int, read: Callable[..., Config]) -> None:
    """Be one of several API processes; an error of the config ends it with a status of its own."""
    from framegate.server.api_processes.channel import ParentChannel
    from framegate.server.api_processes.child import context_of, serve_as_child
    from framegate.server.listening import inherit

    def read_config(text: str) -> Config:
        return require_valid(read(text=text))

    channel = ParentChannel()
    start = channel.start()
    try:
        context = context_of(start, read_config)
        with inherit(listener) as port, context.origins.locating():
            serve_as_child(context, channel, start, port, read_config=read_config)
    except ConfigError as error:
        for each in error.errors:
            print_line(f"Error: {each.message}", error=True, keep_lines=True)
        raise SystemExit(os.EX_CONFIG) from None
