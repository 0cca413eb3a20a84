"""From shots to files, with backends of every kind that the contract allows."""

import errno
import os
import threading
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from msgspec.structs import replace

from framegate.core.backend import Audio, Backend, FinishedFile, FrameStream, GenerationContext, Output
from framegate.core.errors import GenerationFailed, JobCancelled, Unavailable
from framegate.core.types import Artifact, MediaKind, Shot, Task
from framegate.media.video.encode import VideoEncoder
from framegate.media.video.frames import read_frames
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.jobs.worker_store import LeaseStatus
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.job_runner import JobRunner
from tests.support.sample_jobs import make_job

if TYPE_CHECKING:
    from framegate.core.backend import Frame

WIDTH, HEIGHT, FPS = 64, 48, 8.0


def shot(num_frames: int, **changes: object) -> Shot:
    plain = Shot(
        Task.TEXT_TO_VIDEO, "a boat", WIDTH, HEIGHT, num_frames, FPS, 1, 4, 5.0, keep_frames=num_frames
    )
    return replace(plain, **changes)


def continued(num_frames: int) -> Shot:
    return shot(
        num_frames + 1, task=Task.IMAGE_TO_VIDEO, continues=True, drop_first=1, keep_frames=num_frames
    )


def run(backend: Backend, folder: Path, *shots: Shot) -> tuple[Path, Artifact]:
    """The only result of a job with these shots."""
    store = FolderStore(folder)
    job = replace(make_job("job"), shots=shots)
    if shots[0].task.output == MediaKind.IMAGE:
        job = replace(job, request=replace(job.request, task=Task.TEXT_TO_IMAGE))
    runner = JobRunner(store, threading.Event())
    [artifact] = runner.run(ActiveJob(job), backend)
    path = store.path(artifact.key)
    assert path is not None
    assert path.stat().st_size == artifact.size
    assert list((folder / "work").iterdir()) == []
    return path, artifact


def brightness(path: Path) -> list[int]:
    return [round(float(frame.mean())) for frame in read_frames(path)]


class Brightening(Backend):
    """Grey frames, each 10 levels brighter; a continued shot begins as bright as its picture."""

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        return FrameStream(self.frames(shot, context))

    def frames(self, shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
        level = 20
        if shot.continues:
            assert context.image is not None
            with av.open(context.image) as picture:
                level = round(float(next(picture.decode(video=0)).to_ndarray(format="rgb24").mean()))
        for index in range(shot.num_frames):
            context.report(index, shot.num_frames)
            yield np.full((shot.height, shot.width, 3), level + 10 * index, np.uint8)


class Filing(Brightening):
    """The same, as files that it encoded itself, half of them with sound."""

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        path = context.workdir / "own.mp4"
        with VideoEncoder(path, width=shot.width, height=shot.height, fps=shot.fps) as encoder:
            for frame in self.frames(shot, context):
                encoder.write(frame)
            tone = np.full((2, 48000), 0.25, np.float32)
            encoder.finish(None if shot.continues else Audio(tone, 48000))
        return [FinishedFile(path, MediaKind.VIDEO)]


class Sounding(Brightening):
    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        rate = 16_000
        time = np.arange(round(rate * shot.num_frames / shot.fps)) / rate
        tone = np.sin(2 * np.pi * 440 * time, dtype=np.float32)[None]
        return FrameStream(self.frames(shot, context), audio=lambda: Audio(tone, rate))


@pytest.mark.parametrize("backend", [Brightening(), Filing()], ids=["frames", "files"])
def test_shots_go_on_without_a_repeated_or_missing_frame(backend: Backend, tmp_path: Path) -> None:
    path, artifact = run(backend, tmp_path, shot(5), continued(4), continued(3))
    assert (artifact.num_frames, artifact.fps, artifact.duration) == (12, FPS, 12 / FPS)
    assert (artifact.width, artifact.height, artifact.content_type) == (WIDTH, HEIGHT, "video/mp4")
    steps = np.diff(brightness(path))
    assert steps.min() >= 8, "no frame stands twice"
    assert steps.max() <= 12, "none is left out"


def test_frames_beyond_those_to_keep_are_cut(tmp_path: Path) -> None:
    _, artifact = run(Brightening(), tmp_path, shot(9, keep_frames=6))
    assert artifact.num_frames == 6


def test_a_finished_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path, artifact = run(Filing(), tmp_path, shot(8))
    assert artifact.num_frames == 8
    with av.open(path) as video:
        assert [stream.type for stream in video.streams] == ["video", "audio"]


class Littering(Brightening):
    """Keeps files of its own, named like the worker's."""

    def frames(self, shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
        for index, frame in enumerate(super().frames(shot, context)):
            for name in ("video.mp4", "video.mp4.silent", f"image-{index}.png"):
                (context.workdir / name).write_bytes(b"mine")
            yield frame


@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE])
def test_a_backend_may_name_its_files_as_it_likes(task: Task, tmp_path: Path) -> None:
    path, _ = run(Littering(), tmp_path, shot(1, task=task))
    assert path.read_bytes() != b"mine"


def test_what_an_earlier_attempt_left_is_removed(tmp_path: Path) -> None:
    job = replace(make_job("job"), seq=7, attempt=2, worker="second", shots=(shot(1),))
    left = ["job-7-1-first", "job-7-2-other", "job-70-1-first", "input-7"]
    for name in left:
        (tmp_path / "work" / name).mkdir(parents=True)
    JobRunner(FolderStore(tmp_path), threading.Event()).run(ActiveJob(job), Brightening())
    assert {path.name for path in (tmp_path / "work").iterdir()} == set(left[2:]), "another job's stay"


def test_sound_lasts_as_long_as_the_picture(tmp_path: Path) -> None:
    path, artifact = run(Sounding(), tmp_path, shot(8), continued(8))
    with av.open(path) as video:
        [audio] = video.streams.audio
        assert audio.codec_context.name == "aac"
        samples = sum(frame.samples for frame in video.decode(audio))
        assert samples / audio.codec_context.sample_rate == pytest.approx(artifact.duration, abs=0.05)


def test_pictures_are_png(tmp_path: Path) -> None:
    path, artifact = run(Brightening(), tmp_path, shot(1, task=Task.TEXT_TO_IMAGE, fps=0.0))
    assert (artifact.kind, artifact.content_type) == (MediaKind.IMAGE, "image/png")
    assert path.read_bytes().startswith(b"\x89PNG")


class Miscounting(Brightening):
    def __init__(self, off_by: int) -> None:
        super().__init__()
        self.off_by = off_by

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        return FrameStream(self.frames(replace(shot, num_frames=shot.num_frames + self.off_by), context))


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_wrong_number_of_frames_fails_the_job(off_by: int, tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="8 frames were planned"):
        run(Miscounting(off_by), tmp_path, shot(8))
    assert not list(tmp_path.rglob("*.mp4"))


class Cancelled(Brightening):
    def frames(self, shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
        yield np.zeros((shot.height, shot.width, 3), np.uint8)
        raise JobCancelled


def test_a_cancelled_job_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(JobCancelled):
        run(Cancelled(), tmp_path, shot(8))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Away(FolderStore):
    """A store that can't be reached the first times that a result comes."""

    times = 2

    def put(self, source: Path, key: str, *, sync: bool = True) -> int:
        if self.times:
            self.times -= 1
            raise Unavailable("The storage can't be reached right now; try again shortly.")
        return super().put(source, key, sync=sync)


def test_a_result_waits_for_its_store(tmp_path: Path) -> None:
    store = Away(tmp_path)
    job = replace(make_job("job"), shots=(shot(8),))
    [artifact] = JobRunner(store, threading.Event()).run(ActiveJob(job), Brightening())
    assert store.path(artifact.key)


class Broken(FolderStore):
    """A store on a disk that fails when it is told to write."""

    @contextmanager
    def syncing(self, keys: Collection[str]) -> Generator[None]:
        assert all(self.path(key) for key in keys)
        yield
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_result_that_cannot_be_synced_is_removed(tmp_path: Path) -> None:
    job = replace(make_job("job"), shots=(shot(8),))
    with pytest.raises(OSError, match="error"):
        JobRunner(Broken(tmp_path), threading.Event()).run(ActiveJob(job), Brightening())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_job_that_waits_for_the_store_can_be_cancelled(tmp_path: Path) -> None:
    store, active = Away(tmp_path), ActiveJob(replace(make_job("job"), shots=(shot(8),)))
    store.times = 1000

    class Cancelling(Brightening):
        def frames(self, shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
            yield from super().frames(shot, context)
            threading.Timer(0.5, active.update_status, [LeaseStatus.CANCEL]).start()

    with pytest.raises(JobCancelled):
        JobRunner(store, threading.Event()).run(active, Cancelling())
    assert store.times < 1000, "it was tried"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
