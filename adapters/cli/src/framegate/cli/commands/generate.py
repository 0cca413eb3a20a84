"""``framegate generate``."""

import asyncio
import shutil
from contextlib import AsyncExitStack, ExitStack, aclosing
from pathlib import Path

import click

from framegate.cli.app_context import AppContext, open_services
from framegate.cli.options import config_options, context_from, forwarded_options, json_option
from framegate.cli.output import print_json, print_line
from framegate.cli.progress import JobProgressBar
from framegate.cli.supervisor import WorkerSupervisor, require_worker
from framegate.core.errors import GenerationFailed, InvalidRequest
from framegate.core.jobs import Job, JobState
from framegate.core.ports import BytesSource, MediaSource, UrlSource
from framegate.core.service import JobService
from framegate.core.submission import Submission
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.storage import embedded

_IMAGE_SUFFIXES = (".png",)
_VIDEO_SUFFIXES = (".mp4",)


@click.command()
@click.argument("prompt")
@click.option("--image", help="An image to start from: a file or an http(s) URL.")
@click.option("--video", help="A video to work on: a file or an http(s) URL.")
@click.option("--model", default="preview", show_default=True, help="A name that `framegate models` lists.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("out.mp4"),
    show_default=True,
    help="Where to save it: .mp4 makes a video, .png an image.",
)
@click.option("--negative-prompt", default="")
@click.option("--width", type=click.IntRange(min=1))
@click.option("--height", type=click.IntRange(min=1))
@click.option("--num-frames", type=click.IntRange(min=1))
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds.")
@click.option("--fps", type=click.FloatRange(min=1))
@click.option("--steps", type=click.IntRange(min=1), help="Denoising steps.")
@click.option("--guidance-scale", type=float)
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--style")
@json_option
@config_options
def generate(
    prompt: str,
    image: str | None,
    video: str | None,
    model: str,
    output: Path,
    negative_prompt: str,
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
    config_file: Path | None,
    data_dir: Path | None,
) -> None:
    """Make one image or video and save it.

    Uses the server that runs with the same data folder or queue. If there is none, starts what this one job
    needs.
    """
    context = context_from(config_file, data_dir)
    request: GenerationRequest[MediaSource] = GenerationRequest(
        model=model,
        task=_task(output, image, video),
        prompt=prompt,
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
        image=_source("image", image) if image else None,
        video=_source("video", video) if video else None,
    )
    if not output.parent.is_dir():
        raise InvalidRequest(f"-o: there is no folder {output.parent}.")
    with ExitStack() as stack:
        alone = context.embedded and not embedded.is_running(context.settings.server.data_path)
        if alone:
            require_worker("start a server that has one and use its data folder or queue")
            lock = embedded.DataFolderLock(context.settings.server.data_path)
            stack.callback(lock.release)
            valkey = embedded.EmbeddedValkey(context.settings.server.data_path)
            valkey.start()
            stack.callback(valkey.stop)
        arguments = [*forwarded_options(config_file, data_dir), "--log-level", "warning"] if alone else None
        submission = Submission(dialect="cli", request=request)
        job = asyncio.run(_generate(context, submission, output, arguments, quiet=as_json))
    if as_json:
        print_json({"job_id": job.id, "output": str(output), "seed": job.seed, "artifacts": job.artifacts})
    else:
        artifact = job.artifacts[0]
        length = f", {artifact.duration:.2f} s" if artifact.kind == MediaKind.VIDEO else ""
        print_line(f"{output} ({artifact.width}×{artifact.height}{length}, seed {job.seed})")


def _task(output: Path, image: str | None, video: str | None) -> Task:
    suffix = output.suffix.lower()
    if suffix in _IMAGE_SUFFIXES and not video:
        return Task.IMAGE_TO_IMAGE if image else Task.TEXT_TO_IMAGE
    if suffix not in _VIDEO_SUFFIXES:
        raise InvalidRequest(f"-o: {output.name} must end in .mp4{'' if video else ' or .png'}.")
    if video:
        return Task.VIDEO_TO_VIDEO
    return Task.IMAGE_TO_VIDEO if image else Task.TEXT_TO_VIDEO


def _source(name: str, text: str) -> MediaSource:
    if text.startswith(("http://", "https://")):
        return UrlSource(text)
    try:
        return BytesSource(Path(text).read_bytes())
    except OSError as error:
        raise InvalidRequest(f"--{name}: {text} can't be read: {error.strerror}.") from None


async def _generate(
    context: AppContext,
    submission: Submission,
    output: Path,
    worker_arguments: list[str] | None,
    *,
    quiet: bool,
) -> Job:
    async with AsyncExitStack() as stack:
        supervisor = None
        if worker_arguments is not None:
            supervisor = WorkerSupervisor(worker_arguments, 1, grace=context.settings.server.shutdown_grace)
        services = await stack.enter_async_context(open_services(context, own_workers=supervisor))
        service = services.core.jobs
        job = await service.submit(submission)
        if supervisor is not None:
            supervisor.start()
            stack.push_async_callback(supervisor.stop)
            stack.callback(asyncio.create_task(_cancel_if_failing(supervisor, service, job)).cancel)
        try:
            job = await _follow(service, job, hidden=quiet)
        except asyncio.CancelledError:
            await service.cancel(job.id)
            raise
        if supervisor is not None and supervisor.failing.is_set():
            raise GenerationFailed("The worker exits at startup; its error is above.")
        if job.state != JobState.SUCCEEDED:
            raise GenerationFailed(job.error.message if job.error else f"The job was {job.state}.")
        shutil.copyfile(await services.core.results.path(job.artifacts[0]), output)
        return job


async def _follow(service: JobService, job: Job, *, hidden: bool) -> Job:
    with JobProgressBar(hidden=hidden) as bar:
        async with aclosing(service.watch(job.id)) as changes:
            async for job in changes:
                bar.show(job)
    return job


async def _cancel_if_failing(supervisor: WorkerSupervisor, service: JobService, job: Job) -> None:
    await supervisor.failing.wait()
    await service.cancel(job.id)
