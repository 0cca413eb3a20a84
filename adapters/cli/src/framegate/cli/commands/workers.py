"""``framegate workers``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from framegate.cli.app_context import open_services
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import format_time, print_json, print_line, print_table
from framegate.core.operation_service import OperationService
from framegate.core.workers import WorkerState, WorkerStatus

Answer = TypeVar("Answer")


@click.group(invoke_without_command=True)
@json_option
@config_options
@click.pass_context
def workers(context: click.Context, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """List the workers that are alive, drain them, or let them take jobs again."""
    if context.invoked_subcommand is not None:
        given = {"as_json": as_json, "config_file": config_file, "data_dir": data_dir}
        context.default_map = {
            context.invoked_subcommand: {name: value for name, value in given.items() if value}
        }
        return
    found, drained = call_operations(config_file, data_dir, _list)
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "STATE", "PID", "SINCE", "JOB", "ENCODER", "MODELS"),
        [
            (
                worker.name,
                worker.state.value,
                worker.pid,
                format_time(worker.started_at),
                worker.job or "-",
                worker.video_encoder or "-",
                ", ".join(worker.models),
            )
            for worker in found
        ],
        empty="No worker is alive.",
    )
    for worker in found:
        for problem in worker.problems:
            print_line(f"{worker.name}: {problem}", error=True)
    used = {name for worker in found for name in worker.drained_by}
    for name, since in sorted(drained.items()):
        if name not in used:
            print_line(f"{name} is drained since {format_time(since)}, and has no live worker.")


@workers.command()
@click.argument("name")
@json_option
@config_options
def drain(name: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Let workers finish their jobs and take no more.

    NAME is that of one worker, or HOST/DEVICE or HOST for all workers there, those to come among them.
    """
    found = call_operations(config_file, data_dir, lambda operations: operations.drain(name))
    if as_json:
        print_json(found)
        return
    for worker in found:
        busy = worker.state == WorkerState.DRAINING
        print_line(
            f"{worker.name} {f'ends its job {worker.job}, and takes no more' if busy else 'is drained'}."
        )


@workers.command()
@click.argument("name")
@json_option
@config_options
def resume(name: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Let drained workers take jobs again."""
    found = call_operations(config_file, data_dir, lambda operations: operations.resume(name))
    if as_json:
        print_json(found)
        return
    for worker in found:
        print_line(f"{worker.name} takes jobs.")
    if not found:
        print_line(f"{name} is no longer drained; no worker there is alive.")


def call_operations(
    config_file: Path | None,
    data_dir: Path | None,
    operation: Callable[[OperationService], Awaitable[Answer]],
) -> Answer:
    """Call the `OperationService` of the queue that the settings name, and return its answer.

    Raises:
        Unavailable: The queue is the embedded one, and no server runs.
    """
    context = context_from(config_file, data_dir)
    context.require_queue()

    async def call() -> Answer:
        async with open_services(context) as services:
            return await operation(services.core.operations)

    return asyncio.run(call())


async def _list(operations: OperationService) -> tuple[Sequence[WorkerStatus], Mapping[str, float]]:
    return await operations.workers(), await operations.drained()
