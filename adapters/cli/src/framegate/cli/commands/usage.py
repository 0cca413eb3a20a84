"""``framegate usage``."""

import asyncio
from datetime import datetime
from pathlib import Path

import click

from framegate.cli.app_context import open_services
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import print_json, print_table
from framegate.core.usage import KEPT_DAYS, DailyUsage, Usage, UsageReport


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, KEPT_DAYS),
    default=1,
    show_default=True,
    help="The last days, today among them.",
)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="One day in UTC, such as 2030-01-31.")
@click.option("--key", help='One key; "" for clients that needed none (default: every key).')
@json_option
@config_options
@click.pass_context
def usage(
    context: click.Context,
    days: int,
    day: datetime | None,
    key: str | None,
    as_json: bool,
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Show what each key has used on each day, in UTC: jobs, GPU seconds, bytes of inputs and results."""
    if day is not None and context.get_parameter_source("days") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("Give one of --day and --days.")
    app = context_from(config_file, data_dir)
    app.require_queue()

    async def read() -> UsageReport:
        async with open_services(app) as services:
            return await services.core.usage.report(days=days, day=day.date() if day else None, owner=key)

    report = asyncio.run(read())
    if as_json:
        print_json(report)
        return
    rows = [(item.day.isoformat(), item.owner or "-", *_cells(item)) for item in report.items]
    print_table(
        ("DAY", "KEY", "JOBS", "SUCCEEDED", "FAILED", "CANCELLED", "GPU SECONDS", "BYTES"),
        [*rows, ("total", "", *_cells(report.total))] if rows else [],
        empty="Nothing was used.",
    )


def _cells(used: Usage | DailyUsage) -> tuple[str, ...]:
    counts = (used.jobs, used.succeeded, used.failed, used.cancelled)
    return (*map(str, counts), f"{used.gpu_seconds:,.1f}", f"{used.bytes:,}")
