"""``framegate jobs``."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from framegate.cli.app_context import AppContext, open_services
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import format_time, print_json, print_line, print_table
from framegate.cli.progress import JobProgressBar
from framegate.core.jobs import Job, JobState


@click.group()
def jobs() -> None:
    """List, show, watch and cancel jobs."""


def _running_context(config_file: Path | None, data_dir: Path | None) -> AppContext:
    context = context_from(config_file, data_dir)
    context.require_queue()
    return context


@jobs.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in JobState]))
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@config_options
def list_jobs(
    states: tuple[str, ...], limit: int, as_json: bool, config_file: Path | None, data_dir: Path | None
) -> None:
    """List jobs, newest first."""
    context = _running_context(config_file, data_dir)

    async def read() -> list[Job]:
        async with open_services(context) as services:
            return list(
                await services.core.jobs.list(states=[JobState(name) for name in states], limit=limit)
            )

    found = asyncio.run(read())
    if as_json:
        print_json([as_dict(job) for job in found])
        return
    print_table(
        ("ID", "STATE", "PROGRESS", "MODEL", "DIALECT", "CREATED", "PROMPT"),
        [
            (
                job.id,
                job.state,
                f"{job.progress:.0%}",
                job.model,
                job.dialect,
                format_time(job.created_at),
                _short(job.request.prompt),
            )
            for job in found
        ],
        empty="No jobs.",
    )


@jobs.command()
@click.argument("job_id")
@json_option
@config_options
def show(job_id: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Show everything about one job."""
    context = _running_context(config_file, data_dir)

    async def read() -> Job:
        async with open_services(context) as services:
            return await services.core.jobs.get(job_id)

    _print_job(asyncio.run(read()), as_json)


@jobs.command()
@click.argument("job_id")
@json_option
@config_options
def watch(job_id: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Follow a job until it has finished; with --json a line for every change. Fails if the job did."""
    context = _running_context(config_file, data_dir)

    async def follow() -> Job | None:
        job: Job | None = None
        async with open_services(context) as services, aclosing(services.core.jobs.watch(job_id)) as changes:
            with JobProgressBar(hidden=as_json) as bar:
                async for job in changes:
                    bar.show(job)
                    if as_json:
                        print_json(as_dict(job), one_line=True)
        return job

    job = asyncio.run(follow())
    if job is not None and not as_json:
        print_line(f"{job.id} {job.state}{f': {job.error.message}' if job.error else ''}")
    if job is None or job.state != JobState.SUCCEEDED:
        raise SystemExit(1)


@jobs.command()
@click.argument("job_id")
@json_option
@config_options
def cancel(job_id: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Cancel a job: at once while it is queued, within a step while it runs."""
    context = _running_context(config_file, data_dir)

    async def stop() -> Job:
        async with open_services(context) as services:
            return await services.core.jobs.cancel(job_id)

    job = asyncio.run(stop())
    if as_json:
        print_json(as_dict(job))
    elif job.state == JobState.RUNNING:
        print_line(f"{job.id} is being cancelled.")
    else:
        print_line(f"{job.id} is {job.state}.")


def as_dict(job: Job) -> dict[str, Any]:
    """Return the job for programs: every field, defaults included, and the seed that was used."""
    fields: dict[str, Any] = {name: getattr(job, name) for name in job.__struct_fields__}
    return {**fields, "seed": job.seed}


def _print_job(job: Job, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(job))
        return
    shot = job.shots[0]
    rows: list[tuple[str, object]] = [
        ("id", job.id),
        ("state", job.state),
        ("progress", f"{job.progress:.0%} {job.message}".rstrip()),
        ("model", f"{job.model} (served by {job.served_by})"),
        ("task", job.request.task),
        ("dialect", job.dialect),
        ("owner", job.owner or "-"),
        ("prompt", _short(job.request.prompt, 200)),
        ("size", f"{shot.width}×{shot.height}"),
        (
            "frames",
            f"{sum(shot.frames_kept for shot in job.shots)} at {shot.fps:g} fps, {len(job.shots)} shot(s)",
        ),
        ("seed", job.seed),
        ("share id", job.share_id or "-"),
        ("attempt", job.attempt),
        ("created", format_time(job.created_at)),
        ("started", format_time(job.started_at)),
        ("finished", format_time(job.finished_at)),
    ]
    rows += [("changed", f"{c.field}: {c.requested:g} → {c.used:g} ({c.why})") for c in job.changes]
    rows += [("result", f"{a.content_type}, {a.width}×{a.height}, {a.size:,} bytes") for a in job.artifacts]
    if job.error:
        rows.append(("error", f"{job.error.code}: {job.error.message}"))
    print_table(("FIELD", "VALUE"), rows, empty="")


def _short(text: str, length: int = 48) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
