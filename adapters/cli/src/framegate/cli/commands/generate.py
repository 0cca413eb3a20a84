"""``framegate generate``."""

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from pathlib import Path

import click

from framegate.cli.app_context import AppContext, open_services
from framegate.cli.devices import AUTO, choose_devices
from framegate.cli.job_report import describe_changes
from framegate.cli.options import (
    Target,
    complete_file,
    complete_model,
    context_from,
    forwarded_options,
    json_option,
    server_options,
)
from framegate.cli.output import print_json, print_line
from framegate.cli.output_file import check_output, open_output
from framegate.cli.progress import JobProgressBar
from framegate.cli.servers.local import LocalServer
from framegate.cli.servers.opening import run_on_server
from framegate.cli.servers.protocol import InputFile, Server
from framegate.cli.servers.views import JobView
from framegate.cli.single_reads import StandardInput, open_input
from framegate.cli.worker_supervisor import WorkerSupervisor, require_worker
from framegate.core.errors import FramegateError, GenerationFailed, InvalidRequest
from framegate.core.jobs import JobState
from framegate.core.ports import BytesSource, UrlSource
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.storage import embedded

_IMAGE_SUFFIXES = (".png",)
_VIDEO_SUFFIXES = (".mp4",)
_STANDARD_OUTPUT = Path("-")


def _finite(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no number in JSON either."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


@click.command()
@click.argument("prompt")
@click.option(
    "--image",
    shell_complete=complete_file,
    help="An image to start from: a file, an http(s) URL, or - for standard input.",
)
@click.option(
    "--video",
    shell_complete=complete_file,
    help="A video to work on: a file, an http(s) URL, or - for standard input.",
)
@click.option(
    "--model",
    default="",
    help="A name that `framegate models` lists.",
    show_default="preview; with --url, that server's own",
    shell_complete=complete_model,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where to save it: .mp4 makes a video, .png an image, - is standard output.",
    show_default="out.mp4, or out.png",
)
@click.option(
    "--task",
    type=click.Choice([task.value for task in Task]),
    help="What to make from what, where the output's name and the inputs don't say it.",
)
@click.option("--negative-prompt", help="What not to show; the model's own if omitted.")
@click.option("--width", type=click.IntRange(min=1))
@click.option("--height", type=click.IntRange(min=1))
@click.option("--num-frames", type=click.IntRange(min=1))
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), callback=_finite, help="Seconds.")
@click.option("--fps", type=click.FloatRange(min=1), callback=_finite)
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.")
@click.option("--guidance-scale", type=float, callback=_finite)
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--style")
@json_option
@server_options
def generate(
    prompt: str,
    image: str | None,
    video: str | None,
    model: str,
    output: Path | None,
    task: str | None,
    negative_prompt: str | None,
    width: int | None,
    height: int | None,
    num_frames: int | None,
    duration: float | None,
    fps: float | None,
    steps: int | None,
    guidance_scale: float | None,
    seed: int | None,
    style: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Make one image or video and save it. A PROMPT of - is read from standard input.

    Uses the server at --url, or else the one that runs with the same data folder or queue. If there is none,
    starts what this one job needs.
    """
    stdin = StandardInput()
    chosen = _task(output, image, video, task)
    if output is None:
        output = Path("out.png" if chosen.output == MediaKind.IMAGE else "out.mp4")
    request: GenerationRequest[InputFile] = GenerationRequest(
        model=model,
        task=chosen,
        prompt=stdin.read_text("PROMPT") if prompt == "-" else prompt,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        num_frames=num_frames,
        duration=duration,
        fps=fps,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        seed=seed,
        style=style,
        image=_input("image", image, stdin) if image else None,
        video=_input("video", video, stdin) if video else None,
    )
    check_output(_file_of(output))

    async def make(server: Server) -> JobView:
        return await _finish(server, await server.submit(request), output, quiet=as_json)

    alone = None if target.url else _context_alone(target)
    job = (
        _generate_alone(alone, target, request, output, quiet=as_json)
        if alone
        else run_on_server(target, make)
    )
    _report(job, output, as_json=as_json)


def _task(output: Path | None, image: str | None, video: str | None, named: str | None) -> Task:
    """Return the task that is named, or follows from the inputs and the output's name.

    Raises:
        InvalidRequest: The output's name is one of neither a video nor an image, or of the other.
    """
    suffixes = {MediaKind.VIDEO: _VIDEO_SUFFIXES, MediaKind.IMAGE: _IMAGE_SUFFIXES}
    name = "" if output in (None, _STANDARD_OUTPUT) else str(output)
    suffix = Path(name).suffix.lower()
    if named:
        task = Task(named)
    elif suffix in _IMAGE_SUFFIXES and not video:
        task = Task.IMAGE_TO_IMAGE if image else Task.TEXT_TO_IMAGE
    elif video:
        task = Task.VIDEO_TO_VIDEO
    else:
        task = Task.IMAGE_TO_VIDEO if image else Task.TEXT_TO_VIDEO
    if name and suffix not in suffixes[task.output]:
        either = " or .png" if not (named or video) else ""
        raise InvalidRequest(f"-o: {name} must end in {suffixes[task.output][0]}{either}.")
    return task


def _file_of(output: Path) -> Path | None:
    return None if output == _STANDARD_OUTPUT else output


def _input(name: str, text: str, stdin: StandardInput) -> InputFile:
    if text == "-":
        return BytesSource(stdin.read_bytes(f"--{name}"))
    if text.startswith(("http://", "https://")):
        return UrlSource(text)
    return open_input(f"--{name}", Path(text))


def _context_alone(target: Target) -> AppContext | None:
    """Return the context if no server runs with its data folder."""
    context = context_from(target.config_file, target.data_dir)
    alone = context.embedded and not embedded.is_running(context.settings.server.data_path)
    return context if alone else None


def _generate_alone(
    context: AppContext, target: Target, request: GenerationRequest[InputFile], output: Path, *, quiet: bool
) -> JobView:
    """Make it with a queue and a worker of its own."""
    require_worker("start a server that has one and use its data folder or queue")
    folder = context.settings.server.data_path
    with ExitStack() as stack:
        stack.callback(embedded.DataFolderLock(folder).release)
        valkey = embedded.EmbeddedValkey(folder)
        valkey.start()
        stack.callback(valkey.stop)
        arguments = [*forwarded_options(target.config_file, target.data_dir), "--log-level", "warning"]
        return asyncio.run(_with_own_worker(context, arguments, request, output, quiet=quiet))


async def _with_own_worker(
    context: AppContext,
    worker_arguments: Sequence[str],
    request: GenerationRequest[InputFile],
    output: Path,
    *,
    quiet: bool,
) -> JobView:
    async with AsyncExitStack() as stack:
        supervisor = WorkerSupervisor(
            worker_arguments, choose_devices(AUTO)[:1], grace=context.settings.server.shutdown_grace
        )
        services = await stack.enter_async_context(open_services(context, own_workers=supervisor.workers))
        server = LocalServer(services.core)
        job = await server.submit(request)  # before the worker starts: a wrong request is said at once
        supervisor.start()
        stack.push_async_callback(supervisor.stop)
        stack.callback(asyncio.create_task(_cancel_if_failing(supervisor, server, job)).cancel)
        try:
            return await _finish(server, job, output, quiet=quiet)
        except GenerationFailed:
            if supervisor.failing.is_set():
                raise GenerationFailed("The worker exits at startup; its error is above.") from None
            raise


async def _cancel_if_failing(supervisor: WorkerSupervisor, server: Server, job: JobView) -> None:
    await supervisor.failing.wait()
    await server.cancel_job(job.id)


async def _finish(server: Server, job: JobView, output: Path, *, quiet: bool) -> JobView:
    """Follow the job, and save its result.

    Raises:
        GenerationFailed: It ended without one.
    """
    if not quiet:
        for change in describe_changes(job):
            print_line(change, error=True)
    try:
        job = await _follow(server, job, hidden=quiet)
    except asyncio.CancelledError:
        await server.cancel_job(job.id)
        raise
    except FramegateError as error:
        hint = f"The job may go on: `framegate jobs watch {job.id}` follows it."
        raise GenerationFailed(f"{error.message} {hint}") from None
    if job.state != JobState.SUCCEEDED:
        raise GenerationFailed(job.error.message if job.error else f"The job was {job.state}.")
    with open_output(_file_of(output)) as file:
        await server.save_result(job, 0, file)
    return job


async def _follow(server: Server, job: JobView, *, hidden: bool) -> JobView:
    with JobProgressBar(hidden=hidden) as bar:
        async with aclosing(server.watch_job(job.id)) as changes:
            async for job in changes:
                bar.show(job)
    return job


def _report(job: JobView, output: Path, *, as_json: bool) -> None:
    """Say what was made; on standard error if the result is on standard output."""
    error = output == _STANDARD_OUTPUT
    result, seed = job.results[0], job.request.get("seed")
    if as_json:
        report = {
            "job_id": job.id,
            "output": str(output),
            "seed": seed,
            "artifacts": job.document["artifacts" if "artifacts" in job.document else "results"],
            "changes": job.changes,
        }
        print_json(report, error=error)
        return
    length = f", {result.duration:.2f} s" if result.kind == MediaKind.VIDEO else ""
    print_line(f"{output} ({result.width}×{result.height}{length}, seed {seed})", error=error)
