"""The command ``framegate worker``."""

import importlib.metadata
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from framegate.cli.app_context import AppContext
from framegate.cli.devices import choose_devices
from framegate.cli.garbage import pause_collection, resume_collection
from framegate.cli.hangup import Hangups
from framegate.cli.log import configure_logging
from framegate.cli.options import (
    checked_context_from,
    config_options,
    devices_option,
    forwarded_options,
    log_level_arguments,
    log_level_option,
    read_checked_context,
)
from framegate.cli.output import print_line
from framegate.core.errors import ConfigError
from framegate.storage.data_folder import secure_data_folder


@click.command()
@devices_option
@click.option("--models", "model_list", default="", help="Serve only these models (comma-separated ids).")
@click.option("--with-parent", is_flag=True, hidden=True)
@log_level_option
@config_options
def worker(
    devices: str,
    model_list: str,
    with_parent: bool,
    log_level: int,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Run jobs from the queue on this host's devices, with a process for each that is kept running."""
    pause_collection()
    configure_logging(level=log_level)
    hangups = Hangups()
    models = [name.strip() for name in model_list.split(",") if name.strip()]
    if with_parent:
        read_context = partial(read_checked_context, config_file, data_dir, as_server=False)
        try:
            _run(
                checked_context_from(config_file, data_dir, as_server=False),
                models,
                devices,
                hangups,
                read_context,
            )
        except ConfigError as error:
            for each in error.errors:
                print_line(f"Error: {each.message}", error=True, keep_lines=True)
            raise SystemExit(os.EX_CONFIG) from None
        return
    context = checked_context_from(config_file, data_dir, as_server=False)
    context.models_for(models)
    context.require_queue()
    chosen = choose_devices(devices)
    from framegate.worker.supervised import supervise_workers

    resume_collection()

    arguments = [
        *forwarded_options(config_file, data_dir),
        *log_level_arguments(log_level),
        *(("--models", model_list) if models else ()),
    ]
    if not supervise_workers(
        arguments, chosen, grace=context.settings.server.shutdown_grace, hangups=hangups
    ):
        raise SystemExit(1)


def _run(
    context: AppContext,
    models: Sequence[str],
    device: str,
    hangups: Hangups,
    read_context: Callable[[], AppContext],
) -> None:
    """Run one worker, in this process, until it receives a stop signal."""
    from framegate.cli.parent import end_with_parent, report_start
    from framegate.worker.config import WorkerConfig
    from framegate.worker.heartbeat.child import HeartbeatLauncher
    from framegate.worker.host_memory import limit_host_memory

    launcher = HeartbeatLauncher(end_with_parent())
    config = WorkerConfig(context, models)
    hangups.follow(partial(config.reload, read_context))
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
        models=ModelCache(
            config.specs, device, budget=settings.memory, unload_after=float(settings.unload_after)
        ),
        version=importlib.metadata.version("framegate-worker"),
        shutdown_grace=context.settings.server.shutdown_grace,
        load_timeout=settings.load_timeout,
        job_timeout=settings.job_timeout,
        cancel_grace=settings.cancel_grace,
        video_encoder=settings.video_encoder,
        health=HealthMonitor(config.health_findings),
        launcher=launcher,
        on_start=report_start,
    ).run()
