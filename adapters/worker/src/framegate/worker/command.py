"""The command ``framegate worker``."""

import importlib.metadata
from functools import partial
from pathlib import Path

import click

from framegate.cli.hangup import Hangups
from framegate.cli.log import configure_logging
from framegate.cli.options import (
    checked_context_from,
    checked_settings_from,
    config_options,
    log_level_option,
)
from framegate.storage.data_folder import secure_data_folder
from framegate.worker.config import WorkerConfig
from framegate.worker.host_memory import limit_host_memory


@click.command()
@click.option("--device", default="auto", show_default=True, help='"cpu", "cuda:0", …')
@click.option("--models", "model_list", default="", help="Serve only these models (comma-separated ids).")
@click.option("--with-parent", is_flag=True, hidden=True)
@log_level_option
@config_options
def worker(
    device: str,
    model_list: str,
    with_parent: bool,
    log_level: int,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Run jobs from the queue on this host's device."""
    configure_logging(level=log_level)
    hangups = Hangups()
    if with_parent:
        from framegate.worker.parent import end_with_parent

        end_with_parent()
    context = checked_context_from(config_file, data_dir, as_server=False)
    config = WorkerConfig(context, [name.strip() for name in model_list.split(",") if name.strip()])
    hangups.follow(
        partial(config.reload, partial(checked_settings_from, config_file, data_dir, as_server=False))
    )
    context.require_queue()
    secure_data_folder(context.settings.server.data_path)
    settings = context.settings.worker
    limit_host_memory(settings.host_memory)

    from framegate.worker.health_monitor import HealthMonitor
    from framegate.worker.model_cache import ModelCache
    from framegate.worker.process import WorkerProcess

    WorkerProcess(
        queue_url=context.queue_url,
        prefix=context.settings.queue.prefix,
        check_start=partial(context.check_start, adopt_files=False),
        artifacts=context.open_artifacts(),
        models=ModelCache(config.specs, _device(device), budget=settings.memory),
        version=importlib.metadata.version("framegate-worker"),
        shutdown_grace=context.settings.server.shutdown_grace,
        load_timeout=settings.load_timeout,
        job_timeout=settings.job_timeout,
        cancel_grace=settings.cancel_grace,
        health=HealthMonitor(config.health_findings),
    ).run()


def _device(requested: str) -> str:
    if requested != "auto":
        return requested
    return "cuda:0" if Path("/dev/nvidia0").exists() else "cpu"
