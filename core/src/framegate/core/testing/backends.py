"""The contract of every backend, as tests to inherit."""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from framegate.core import planning
from framegate.core.backend import Backend, FrameStream
from framegate.core.errors import JobCancelled
from framegate.core.fitting import fit
from framegate.core.models import ModelSpec
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Shot, Task

if TYPE_CHECKING:
    from framegate.core.backend import Frame


class RecordingContext:
    """A `GenerationContext` that records reports and partial images.

    It is cancelled after ``cancel_after`` reports.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        image: Path | None = None,
        last_image: Path | None = None,
        video: Path | None = None,
        num_partial_images: int = 3,
        cancel_after: int | None = None,
    ) -> None:
        self.reports: list[tuple[int, int, str]] = []
        self.partial_images: list[Frame] = []
        self.workdir = workdir
        self.image = image
        self.last_image = last_image
        self.video = video
        self.num_partial_images = num_partial_images
        self._cancel_after = cancel_after

    def report(self, step: int, total: int, message: str = "") -> None:
        """Record the report."""
        self.reports.append((step, total, message))
        self.check_cancelled()

    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        """Render and record a partial image, as long as some are wanted."""
        if len(self.partial_images) < self.num_partial_images:
            self.partial_images.append(render())

    def check_cancelled(self) -> None:
        """Raise `JobCancelled` once there were enough reports."""
        if self._cancel_after is not None and len(self.reports) >= self._cancel_after:
            raise JobCancelled


def gradient_png(path: Path, width: int = 96, height: int = 64) -> Path:
    """Write a small image without an image library, and return its path."""
    rows = b"".join(
        b"\0" + b"".join(bytes((255 * x // width, 255 * y // height, 128)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


class BackendContract:
    """What every backend promises.

    A subclass sets ``spec`` and has a fixture ``backend`` (not loaded); one for video-to-video also overrides
    `source_video`. ``request_values`` keep the tests small and fast.
    """

    spec: ClassVar[ModelSpec]
    device: ClassVar[str] = "cpu"
    request_values: ClassVar[Mapping[str, Any]] = {"width": 96, "height": 64, "num_inference_steps": 2}

    def source_video(self, folder: Path) -> Path:
        """Write a video into ``folder`` for video-to-video to start from, and return its path."""
        raise AssertionError("video-to-video is among the tasks: override source_video")

    def test_gives_what_the_shot_asks_for(self, backend: Backend, tmp_path: Path) -> None:
        """Check the number, the shape and the type of the frames of every task."""
        backend.load(self.device)
        for task in sorted(self.spec.tasks):
            shot = self.shot(task)
            frames = self.frames(backend, shot, tmp_path)
            assert len(frames) == shot.num_frames, task
            for frame in frames:
                assert frame.shape == (shot.height, shot.width, 3), task
                assert frame.dtype == "uint8", task

    def test_the_same_seed_gives_the_same(self, backend: Backend, tmp_path: Path) -> None:
        """Check that a shot can be made again."""
        import numpy as np

        backend.load(self.device)
        for task in sorted(self.spec.tasks):
            first, again = (self.frames(backend, self.shot(task, seed=7), tmp_path) for _ in range(2))
            assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True)), task

    def test_another_seed_gives_something_else(self, backend: Backend, tmp_path: Path) -> None:
        """Check that the seed matters."""
        import numpy as np

        backend.load(self.device)
        for task in sorted(self.spec.tasks & {Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO}):
            one, other = (self.frames(backend, self.shot(task, seed=seed), tmp_path) for seed in (1, 2))
            assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)), task

    def test_a_cancelled_job_is_left(self, backend: Backend, tmp_path: Path) -> None:
        """Check that `JobCancelled` passes through every task."""
        import pytest

        backend.load(self.device)
        for task in sorted(self.spec.tasks):
            with pytest.raises(JobCancelled):
                self.frames(backend, self.shot(task), tmp_path, cancel_after=1)

    def test_loads_again_after_unloading(self, backend: Backend, tmp_path: Path) -> None:
        """Check that an unloaded model can be loaded and used."""
        backend.load(self.device)
        backend.unload()
        backend.load(self.device)
        shot = self.shot(min(self.spec.tasks))
        assert len(self.frames(backend, shot, tmp_path)) == shot.num_frames

    def shot(self, task: Task, seed: int = 0) -> Shot:
        """Return the first shot of a small request for ``task``."""
        still = MediaRef(MediaKind.IMAGE, "image", 96, 64)
        film = MediaRef(MediaKind.VIDEO, "video", 96, 64, num_frames=9, fps=8.0)
        request = GenerationRequest(
            model=self.spec.id,
            task=task,
            prompt="a red ball on a green field",
            num_frames=self.spec.frames.at_least(9) if task.output == MediaKind.VIDEO else None,
            image=still if task in (Task.IMAGE_TO_IMAGE, Task.IMAGE_TO_VIDEO) else None,
            video=film if task == Task.VIDEO_TO_VIDEO else None,
            **self.request_values,
        )
        return planning.plan(self.spec, fit(self.spec, request), seed)[0]

    def frames(
        self, backend: Backend, shot: Shot, folder: Path, cancel_after: int | None = None
    ) -> "list[Frame]":
        """Return all frames that the backend makes of ``shot``.

        Override this for a backend that returns finished files, to decode them.
        """
        context = RecordingContext(
            folder,
            image=gradient_png(folder / "image.png") if "image-to" in shot.task else None,
            video=self.source_video(folder) if shot.task == Task.VIDEO_TO_VIDEO else None,
            cancel_after=cancel_after,
        )
        output = backend.generate(shot, context)
        assert isinstance(output, FrameStream), "override frames() to decode finished files"
        return list(output.frames)
