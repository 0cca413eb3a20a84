"""``framegate worker``."""

import importlib.metadata
from functools import partial
from pathlib import Path

import click

from framegate.cli.log import configure_logging
from framegate.cli.options import config_options, log_level_option, parts_from


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
    if with_parent:
        from framegate.worker.parent import end_with_parent

        end_with_parent()
    parts = parts_from(config_file, data_dir)
    specs = parts.models_for([name.strip() for name in model_list.split(",") if name.strip()])
    parts.require_queue()

    from framegate.worker.health_monitor import ProblemWatch
    from framegate.worker.model_cache import LoadedModels
    from framegate.worker.process import WorkerProcess

    WorkerProcess(
        queue_url=parts.queue_url,
        artifacts=parts.open_artifacts(),
        models=LoadedModels(specs, _device(device), budget=parts.settings.worker.memory),
        version=importlib.metadata.version("framegate-worker"),
        shutdown_grace=parts.settings.server.shutdown_grace,
        problems=ProblemWatch(partial(parts.plugins.problems, reach=True)),
    ).run()


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    return "cuda:0" if Path("/dev/nvidia0").exists() else "cpu"
