import os
from pathlib import Path

import click

from framegate.adapters.cli.options import config_options, log_level_option, parts_from
from framegate.adapters.log import configure_logging


@click.command()
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=int, help="The port to listen on.")
@click.option("--no-worker", is_flag=True, help="Start no worker; others serve the queue.")
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
    """Start the server, with its queue and a worker beside it."""
    configure_logging(level=log_level)
    parts = parts_from(config_file, data_dir, server__host=host, server__port=port)
    from framegate.adapters import server

    server.serve(
        parts, workers=0 if no_worker else processes, worker_arguments=forwarded(config_file, data_dir)
    )


def forwarded(config_file: Path | None, data_dir: Path | None) -> list[str]:
    """The options that a worker needs to see the same settings."""
    options = {"--config": config_file, "--data-dir": data_dir}
    return [part for name, value in options.items() if value for part in (name, os.fspath(value))]
