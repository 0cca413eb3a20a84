"""``framegate serve``."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from framegate.cli.devices import choose_devices, spread
from framegate.cli.log import configure_logging
from framegate.cli.options import (
    checked_context_from,
    checked_settings_from,
    config_options,
    devices_option,
    forwarded_options,
    log_level_arguments,
    log_level_option,
)
from framegate.cli.supervisor import require_worker


@click.command()
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=int, help="The port to listen on.")
@click.option("--no-worker", is_flag=True, help="Start no worker; workers on other hosts serve the queue.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Workers to start, in turn on the devices (default: one each).",
)
@click.option("--processes", "workers", type=click.IntRange(min=1), hidden=True)
@devices_option
@log_level_option
@config_options
def serve(
    host: str | None,
    port: int | None,
    no_worker: bool,
    workers: int | None,
    devices: str,
    log_level: int,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Start the server with its queue and a worker for each GPU, or one on the CPU."""
    configure_logging(level=log_level)
    if not no_worker:
        require_worker("start with --no-worker and let workers on other hosts serve the queue")
    overrides = {"server__host": host, "server__port": port}
    context = checked_context_from(config_file, data_dir, as_server=True, **overrides)
    chosen: Sequence[str] = ()
    if not no_worker:
        chosen = choose_devices(devices)
        chosen = spread(chosen, workers or len(chosen))
    from framegate.server import serve as server

    with context.origins.locating():
        server.serve(
            context,
            devices=chosen,
            worker_arguments=[*forwarded_options(config_file, data_dir), *log_level_arguments(log_level)],
            read_settings=partial(checked_settings_from, config_file, data_dir, as_server=True, **overrides),
        )
