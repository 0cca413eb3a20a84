"""``framegate jobs``."""

from collections.abc import Sequence
from contextlib import aclosing

import click

from framegate.cli.job_report import print_job, print_jobs
from framegate.cli.options import Target, json_option, server_options
from framegate.cli.output import print_json, print_line
from framegate.cli.progress import JobProgressBar
from framegate.cli.servers.opening import run_on_server
from framegate.cli.servers.protocol import Server
from framegate.cli.servers.views import JobView
from framegate.core.jobs import JobState


@click.group()
def jobs() -> None:
    """List, show, watch, cancel, retry and delete jobs."""


@jobs.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in JobState]))
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@server_options
def list_jobs(states: Sequence[str], limit: int, as_json: bool, target: Target) -> None:
    """List jobs, newest first. A remote server lists those of your key."""
    chosen = [JobState(name) for name in states]
    print_jobs(
        run_on_server(target, lambda server: server.list_jobs(states=chosen, limit=limit)), as_json=as_json
    )


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def show(job_id: str, as_json: bool, target: Target) -> None:
    """Show everything about one job: also the values that were used, and what was changed."""
    print_job(run_on_server(target, lambda server: server.get_job(job_id)), as_json=as_json)


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def watch(job_id: str, as_json: bool, target: Target) -> None:
    """Follow a job until it has finished; with --json a line for every change. Fails if the job did."""

    async def follow(server: Server) -> JobView | None:
        job: JobView | None = None
        async with aclosing(server.watch_job(job_id)) as changes:
            with JobProgressBar(hidden=as_json) as bar:
                async for job in changes:
                    bar.show(job)
                    if as_json:
                        print_json(job.document, one_line=True)
        return job

    job = run_on_server(target, follow)
    if job is not None and not as_json:
        print_line(f"{job.id} {job.state}{f': {job.error.message}' if job.error else ''}")
    if job is None or job.state != JobState.SUCCEEDED:
        raise SystemExit(1)


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def cancel(job_id: str, as_json: bool, target: Target) -> None:
    """Cancel a job: at once while it is queued, within a step while it runs."""
    job = run_on_server(target, lambda server: server.cancel_job(job_id))
    if as_json:
        print_json(job.document)
    elif job.state == JobState.RUNNING:
        print_line(f"{job.id} is being cancelled.")
    else:
        print_line(f"{job.id} is {job.state}.")


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def retry(job_id: str, as_json: bool, target: Target) -> None:
    """Submit the request of a job again, as a new job."""
    job = run_on_server(target, lambda server: server.retry_job(job_id))
    if as_json:
        print_json(job.document)
    else:
        print_line(f"{job.id} is {job.state}: {job_id} again.")


@jobs.command()
@click.argument("job_id")
@json_option
@server_options
def delete(job_id: str, as_json: bool, target: Target) -> None:
    """Delete a job with its files; one that has not finished is cancelled first."""
    run_on_server(target, lambda server: server.delete_job(job_id))
    if as_json:
        print_json({"deleted": job_id})
    else:
        print_line(f"{job_id} is deleted.")
