"""``framegate pause`` and ``framegate resume``."""

from pathlib import Path

import click

from framegate.cli.commands.workers import call_operations
from framegate.cli.options import complete_model, config_options, json_option
from framegate.cli.output import print_json, print_line


@click.command()
@click.argument("model", shell_complete=complete_model)
@json_option
@config_options
def pause(model: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Let no worker start jobs of MODEL until it is resumed.

    Its jobs are accepted and wait; those that run go on. An alias stands for the model that serves it.
    """
    status = call_operations(config_file, data_dir, lambda operations: operations.pause(model))
    if as_json:
        print_json(status)
    else:
        print_line(f"{status.id} is paused; its jobs wait until `framegate resume {status.id}`.")


@click.command()
@click.argument("model", shell_complete=complete_model)
@json_option
@config_options
def resume(model: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Let workers start jobs of MODEL again."""
    status = call_operations(config_file, data_dir, lambda operations: operations.resume_model(model))
    if as_json:
        print_json(status)
    else:
        print_line(f"{status.id} is resumed.")
