"""Remixes and characters on a real server: submitted beside it, run by its worker."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from framegate.cli.app_context import Services, create_context, open_services
from framegate.cli.config_file import load_settings
from framegate.core.characters import Character
from framegate.core.errors import ArtifactGone, InvalidMedia, NotFound
from framegate.core.jobs import Job, JobState
from framegate.core.ports import BytesSource
from framegate.core.submission import Client, Submission
from framegate.core.types import GenerationRequest, StoryboardShot, Task
from framegate.media.video.encode import VideoEncoder
from framegate.media.video.frames import frame_at, read_frames
from tests.support.listing import entries_of
from tests.support.running import PATIENCE, RunningServer, eventually
from tests.support.tasks import kept_files

StartServer = Callable[..., RunningServer]
ASTRONAUT = Path(__file__).parents[2] / "adapters" / "media" / "tests" / "astronaut.jpg"
SIZE: dict[str, Any] = {"width": 128, "height": 96, "fps": 8.0}


@asynccontextmanager
async def beside(server: RunningServer) -> AsyncGenerator[Services]:
    """The services in this process, with the server's queue and files."""
    context = create_context(load_settings(environ={}, overrides={"server.data_dir": str(server.data_dir)}))
    async with asyncio.timeout(PATIENCE), open_services(context) as services:
        yield services


async def make(services: Services, prompt: str = "a boat", **values: Any) -> Job:
    """A finished job."""
    request = {name: values.pop(name) for name in list(values) if name in GenerationRequest.__struct_fields__}
    wanted: dict[str, Any] = {
        "model": "preview",
        "task": Task.TEXT_TO_VIDEO,
        "prompt": prompt,
        **SIZE,
        **request,
    }
    submission = Submission(dialect="test", request=GenerationRequest(**wanted), **values)
    submitted = await services.core.jobs.submit(submission)
    job = await services.core.jobs.wait(submitted.id)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


async def frames_of(services: Services, job: Job) -> list["np.typing.NDArray[np.uint8]"]:
    return list(read_frames(await services.core.results.path(job.artifacts[0])))


async def test_a_remix_runs_though_its_source_was_cleaned_up(start_server: StartServer) -> None:
    server = start_server()
    async with beside(server) as services:
        service = services.core.jobs
        source = await make(services, duration=2.0, seed=1)
        original = (await frames_of(services, source))[0]
        request = GenerationRequest("preview", Task.TEXT_TO_VIDEO, "at night", duration=2.0, seed=2, **SIZE)
        waiting = await service.submit(
            Submission(dialect="test", request=request, remix_of=source.share_id, client=Client("bob"))
        )
        (await services.core.results.path(source.artifacts[0])).unlink()
        with pytest.raises(ArtifactGone, match="source video was cleaned up"):
            await services.core.results.find_shared(source.share_id)
        remix = await service.wait(waiting.id)
        assert remix.state == JobState.SUCCEEDED, remix.error
        assert (remix.request.task, remix.artifacts[0].num_frames) == (Task.VIDEO_TO_VIDEO, 16)
        changed = np.abs((await frames_of(services, remix))[0].astype(int) - original).mean()
        assert 2 < changed < 80, "the same scene in another light"
    shown = await asyncio.to_thread(server.run, "jobs", "list", "--json")
    assert remix.share_id in shown.stdout
    server.kill()
    await asyncio.to_thread(server.restart)
    async with beside(server) as services:
        found = await services.core.results.find_shared(remix.share_id)
    assert found.share_id == remix.share_id, "it survives a restart"


async def test_the_same_storyboard_and_seed_give_the_same_bytes(server: RunningServer) -> None:
    async with beside(server) as services:
        board = tuple(StoryboardShot(f"scene {number}", 1.0) for number in range(3))
        jobs = [await make(services, storyboard=board, seed=3, style="comic") for _ in range(2)]
        one, other = [(await services.core.results.path(job.artifacts[0])).read_bytes() for job in jobs]
        assert one == other
        assert jobs[0].artifacts[0].duration == 3.0


@pytest.fixture
def film(tmp_path: Path) -> BytesSource:
    """Three seconds of somebody, slowly coming nearer."""
    with Image.open(ASTRONAUT) as picture:
        large = picture.convert("RGB").resize((512, 512))
    path = tmp_path / "film.mp4"
    with VideoEncoder(path, width=320, height=240, fps=10) as encoder:
        for number in range(30):
            box = (number, number, 512 - number, 512 - number * 2)
            encoder.write(np.asarray(large.resize((320, 240), box=box)))
        encoder.finish()
    return BytesSource(path.read_bytes())


async def test_a_character_from_a_video_to_a_video(server: RunningServer, film: BytesSource) -> None:
    files = server.data_dir / "files"
    async with beside(server) as services:
        made = await services.core.characters.create(
            film, start=0.0, end=3.0, client=Client(), display_name="Eileen C."
        )
        assert [path.name for path in entries_of((files / made.avatar).parent)] == [
            "avatar.png",
            "reference.png",
        ]
        job = await make(services, "@x waves", characters=(made.username,), duration=1.0)
        assert job.request.image is not None
        first = frame_at(await services.core.results.path(job.artifacts[0]), 0.0)
        with Image.open(files / made.reference.key) as reference:
            expected = np.asarray(reference.resize((128, 96)))
        assert np.abs(first.astype(int) - expected).mean() < 12, "it begins with the reference frame"
    await asyncio.to_thread(assert_character_can_be_looked_at_and_deleted, server, made)
    assert not (files / made.avatar).parent.exists()


def assert_character_can_be_looked_at_and_deleted(server: RunningServer, made: Character) -> None:
    listed = json.loads(server.run("characters", "list", "--json").stdout)
    assert [entry["username"] for entry in listed] == [made.username]
    assert f"@{made.username}" in server.run("characters", "list").stdout
    shown = server.run("characters", "show", f"@{made.username}").stdout
    assert "Eileen C." in shown
    assert "320×240" in shown
    assert server.run("characters", "delete", made.username).returncode == 0
    assert server.run("characters", "list").stdout == "No characters.\n"
    unknown = server.run("characters", "show", made.username)
    assert (unknown.returncode, f"There is no character @{made.username}" in unknown.stderr) == (1, True)


async def test_nothing_is_left_of_a_character_that_failed(server: RunningServer, film: BytesSource) -> None:
    def kept() -> set[Path]:
        return set(kept_files(server))

    async with beside(server) as services:
        before = kept()
        for source, start in ((film, 3.0), (film, -1.0), (BytesSource(b"no video"), 0.0)):
            with pytest.raises(InvalidMedia):
                await services.core.characters.create(source, start=start, end=9.0, client=Client())
        for delay in (0.0, 0.02, 0.1, 0.3):  # each lets it come to another point, or to its end
            creating = asyncio.create_task(
                services.core.characters.create(film, start=0.0, end=3.0, client=Client())
            )
            await asyncio.sleep(delay)
            creating.cancel()
            with suppress(asyncio.CancelledError):
                await services.core.characters.delete((await creating).username)
            await asyncio.to_thread(eventually, lambda: kept() == before, what="the folder as it was")
        with pytest.raises(NotFound):
            await services.core.characters.get("nobody123")
