"""``framegate serve``."""

from functools import partial
from pathlib import Path

import click

from framegate.cli.log import configure_logging
from framegate.cli.options import (
    checked_context_from,
    checked_settings_from,
    config_options,
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
    "--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Workers to start."
)
@log_level_option
@config_options
def serve(
    host: str | None,
    port: int | None,
    no_worker: bool,
    processes: int,
    log_level: int,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Start the server with its queue and a worker."""
    configure_logging(level=log_level)
    if not no_worker:
        require_worker("start with --no-worker and let workers on other hosts serve the queue")
    overrides = {"server__host": host, "server__port": port}
    context = checked_context_from(config_file, data_dir, as_server=True, **overrides)
    from framegate.server import serve as server

    with context.origins.locating():
        server.serve(
            context,
            workers=0 if no_worker else processes,
            worker_arguments=[*forwarded_options(config_file, data_dir), *log_level_arguments(log_level)],
            read_settings=partial(checked_settings_from, config_file, data_dir, as_server=True, **overrides),
        )
