"""From a claimed job to its result files."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog
from msgspec.structs import replace
from PIL import Image

from framegate.core.backend import Backend, FinishedFile, FrameStream, Output
from framegate.core.errors import GenerationFailed, Unavailable
from framegate.core.jobs import Job
from framegate.core.ports import ArtifactStore
from framegate.core.types import Artifact, MediaKind, MediaRef, Shot
from framegate.media.images.masks import MaskedPicture
from framegate.media.video.encode import VideoEncoder, encode_png
from framegate.media.video.join import Part, join_videos
from framegate.media.video.probe import describe_video
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.context import JobContext, raise_if_stopped
from framegate.worker.running.partial_images import PartialImages
from framegate.worker.running.soundtrack import Soundtrack
from framegate.worker.running.source_video import SourceVideo

if TYPE_CHECKING:
    from framegate.core.backend import Frame

Found = TypeVar("Found")

STORE_AWAY_SECONDS = 600.0
"""How long a job waits for a store of files that can't be reached."""
log = structlog.get_logger(__name__)


class JobRunner:
    """Runs the shots of a job one after the other and publishes what they make.

    ``abandon`` is set when the worker must stop before the job is done.
    """

    def __init__(self, artifacts: ArtifactStore, abandon: threading.Event) -> None:
        self._artifacts = artifacts
        self._abandon = abandon

    def run(self, active: ActiveJob, backend: Backend) -> tuple[Artifact, ...]:
        """The artifacts, already in the store but not yet part of the job.

        Raises:
            JobCancelled: nothing was stored.
            GenerationError: likewise.
        """
        job = active.job
        workdir = self._artifacts.workdir(f"{job.id}/{_attempt(job)}")
        # Those who had the job before are dead, or will find that it is not theirs any more.
        for earlier in workdir.parent.iterdir():
            if earlier != workdir:
                shutil.rmtree(earlier, ignore_errors=True)
        try:
            if job.request.task.output == MediaKind.IMAGE:
                drafts = self._make_pictures(active, backend, workdir)
            else:
                drafts = [self._make_video(active, backend, workdir)]
            raise_if_stopped(active, self._abandon)
            return tuple(
                self._publish(active, index, path, draft) for index, (path, draft) in enumerate(drafts)
            )
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
            with suppress(OSError):  # another worker has the job by now
                workdir.parent.rmdir()

    def _publish(self, active: ActiveJob, index: int, path: Path, draft: Artifact) -> Artifact:
        key = f"results/{active.job.id}/{_attempt(active.job)}-{index}{path.suffix}"
        return replace(draft, key=key, size=self._patiently(active, lambda: self._artifacts.put(path, key)))

    def _patiently(self, active: ActiveJob, use: Callable[[], Found]) -> Found:
        """What the store answers once it can be reached: what was made may have taken far longer.

        Raises:
            Unavailable: it can't be reached for `STORE_AWAY_SECONDS`.
            JobCancelled: the job was cancelled meanwhile, or can't be finished here.
        """
        deadline, pause = time.monotonic() + STORE_AWAY_SECONDS, 0.5
        while True:
            try:
                return use()
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("storage_unreachable", reason=error.message)
            pause = min(2 * pause, 10.0)
            waited = time.monotonic() + pause
            while time.monotonic() < waited:
                raise_if_stopped(active, self._abandon)
                time.sleep(0.1)

    def _context(
        self,
        active: ActiveJob,
        index: int,
        workdir: Path,
        image: Path | None = None,
        *,
        partial_images: PartialImages | None = None,
    ) -> JobContext:
        request = active.job.request
        is_last = index == len(active.job.shots) - 1
        # Of its own for each shot: a backend may use the same names every time.
        own = workdir / f"shot-{index}"
        own.mkdir(exist_ok=True)
        return JobContext(
            active=active,
            abandon=self._abandon,
            workdir=own,
            shot_index=index,
            image=image or self._input(active, request.image, workdir),
            last_image=self._input(active, request.last_image, workdir) if is_last else None,
            video=None if request.extends_video else self._input(active, request.video, workdir),
            partial_images=partial_images,
        )

    def _input(self, active: ActiveJob, ref: MediaRef | None, folder: Path) -> Path | None:
        if ref is None:
            return None
        path = self._patiently(active, lambda: self._artifacts.fetch(ref.key, folder))
        if path is None:
            raise GenerationFailed(f"The input {ref.kind} was removed before the job ran.")
        return path

    def _make_pictures(
        self, active: ActiveJob, backend: Backend, workdir: Path
    ) -> list[tuple[Path, Artifact]]:
        job, shot = active.job, active.job.shots[0]
        partial_images = PartialImages(self._artifacts, job, workdir)
        output = backend.generate(shot, self._context(active, 0, workdir, partial_images=partial_images))
        masked = self._masked(active, workdir)
        if not isinstance(output, FrameStream):
            if masked:
                for file in output:
                    masked.around_file(file.path)
            return [(file.path, _picture(shot, file.path)) for file in output]
        drafts: list[tuple[Path, Artifact]] = []
        for index, frame in enumerate(_exactly(output.frames, shot.num_frames)):
            path = workdir / f"picture-{index}.png"
            encode_png(masked.around(frame) if masked else frame, path)
            drafts.append((path, _picture(shot, path)))
        return drafts

    def _masked(self, active: ActiveJob, workdir: Path) -> MaskedPicture | None:
        """What is to stay of the input picture: models make it whole."""
        request = active.job.request
        picture = self._input(active, request.image, workdir)
        mask = self._input(active, request.mask, workdir)
        return MaskedPicture(picture, mask) if picture and mask else None

    def _source_video(self, active: ActiveJob, workdir: Path) -> SourceVideo | None:
        request = active.job.request
        path = self._input(active, request.video, workdir) if request.extends_video else None
        if path is None:
            return None
        return SourceVideo(path, active.job.shots[0], lambda: raise_if_stopped(active, self._abandon))

    def _make_video(self, active: ActiveJob, backend: Backend, workdir: Path) -> tuple[Path, Artifact]:
        shots = active.job.shots
        source_video = self._source_video(active, workdir)
        image = source_video.write_last_frame(workdir / "continue-source.png") if source_video else None
        output = backend.generate(shots[0], self._context(active, 0, workdir, image))
        if isinstance(output, FrameStream):
            path = self._encode_shots(active, backend, workdir, output, source_video)
        else:
            path = self._join_files(active, backend, workdir, output, source_video)
        info = describe_video(path)
        draft = Artifact(
            kind=MediaKind.VIDEO,
            key="",
            content_type="video/mp4",
            size=0,
            width=info.width,
            height=info.height,
            num_frames=info.num_frames,
            fps=info.fps,
            duration=info.duration,
        )
        return path, draft

    def _encode_shots(
        self,
        active: ActiveJob,
        backend: Backend,
        workdir: Path,
        first: FrameStream,
        source_video: SourceVideo | None,
    ) -> Path:
        """All shots into one file, encoded while the frames come."""
        shots = active.job.shots
        path = workdir / "video.mp4"
        soundtrack = Soundtrack()
        output: Output = first
        with VideoEncoder(path, width=shots[0].width, height=shots[0].height, fps=shots[0].fps) as encoder:
            if source_video is not None:
                for frame in source_video.frames():
                    encoder.write(frame)
                soundtrack.begin(source_video.sound(), source_video.seconds)
            for index, shot in enumerate(shots):
                if not isinstance(output, FrameStream):
                    raise GenerationFailed("The backend gave frames for one shot and a file for another.")
                last: Frame | None = None
                for number, frame in enumerate(_exactly(output.frames, shot.num_frames)):
                    if shot.drop_first <= number < shot.drop_first + shot.frames_kept:
                        encoder.write(frame)
                        last = frame
                soundtrack.add(output.audio() if output.audio else None, shot)
                if index + 1 < len(shots):
                    assert last is not None
                    image = workdir / f"continue-{index}.png"
                    encode_png(last, image)
                    output = backend.generate(
                        shots[index + 1], self._context(active, index + 1, workdir, image)
                    )
            encoder.finish(soundtrack.sound())
        return path

    def _join_files(
        self,
        active: ActiveJob,
        backend: Backend,
        workdir: Path,
        first: Sequence[FinishedFile],
        source_video: SourceVideo | None,
    ) -> Path:
        """A backend that makes files itself: one per shot, cut and joined where there are several."""
        shots = active.job.shots
        parts = [source_video.part(workdir / "source_video.mp4")] if source_video else []
        output: Output = first
        for index, shot in enumerate(shots):
            if isinstance(output, FrameStream) or len(output) != 1:
                raise GenerationFailed("The backend did not give one video file for a shot.")
            parts.append(Part(output[0].path, drop_first=shot.drop_first, keep_frames=shot.frames_kept))
            if index + 1 < len(shots):
                image = workdir / f"continue-{index}.png"
                encode_png(parts[-1].last_frame(), image)
                output = backend.generate(shots[index + 1], self._context(active, index + 1, workdir, image))
        made, only = parts[0].path, shots[0]
        # A file that is to be kept whole is what its backend made of the shot, whatever its length.
        if len(parts) == 1 and made.suffix == ".mp4" and only.frames_kept == only.num_frames:
            return made
        path = workdir / "joined.mp4"
        join_videos(parts, path, fps=describe_video(made).fps)
        return path


def _attempt(job: Job) -> str:
    """The name of an attempt: a worker that lost its lease can't touch its successor's files. The number
    alone would not do, for a Valkey that lost its last second may give it again."""
    return f"{job.attempt}-{job.worker[:8]}"


def _exactly(frames: "Iterator[Frame]", count: int) -> "Iterator[Frame]":
    """The frames, once it is sure that there are ``count`` of them.

    Raises:
        GenerationFailed: there are more or fewer.
    """
    made = 0
    for frame in frames:
        made += 1
        if made > count:
            break
        yield frame
    if made != count:
        found = "more" if made > count else f"{made}"
        raise GenerationFailed(f"{count} frames were planned; the model made {found}.")


def _picture(shot: Shot, path: Path) -> Artifact:
    width, height = shot.width, shot.height
    with suppress(OSError), Image.open(path) as picture:
        width, height = picture.size
    kinds = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
    return Artifact(
        kind=MediaKind.IMAGE,
        key="",
        content_type=kinds.get(path.suffix.lower(), "application/octet-stream"),
        size=0,
        width=width,
        height=height,
    )
